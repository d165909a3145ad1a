"""What a team's store does about runners, handouts and people, in memory: small, but it keeps the contracts of base.py."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from lora_core.actions.workspace import Workspace
from lora_core.errors import Conflict, Forbidden, NotAllowed, NotFound
from lora_core.schema.base import utc_now
from lora_core.schema.job import JobStatus
from lora_core.schema.people import Invitation, PersonTotals, Quota
from lora_core.schema.runner import RunnerInfo, RunnerRegistration, RunnerScope
from lora_core.settings import Settings

URL, KEY = "https://team.example.org", "sb_publishable_test"


class FakeRegistry:
    """RunnerRegistry of one person."""

    def __init__(self, *, operator: bool) -> None:
        self._operator = operator
        self.tokens: dict[str, str] = {}
        self.rows: dict[str, RunnerRegistration] = {}

    def register(self, registration_id: str, name: str, scope: RunnerScope, token_sha256: str) -> None:
        if scope is RunnerScope.TEAM and not self._operator:
            raise Forbidden("Only the operator registers runners for the team.")
        if self.tokens.get(token_sha256) == registration_id:
            return
        if registration_id in self.rows or token_sha256 in self.tokens:
            raise Conflict("This registration exists already.")
        self.tokens[token_sha256] = registration_id
        self.rows[registration_id] = RunnerRegistration(
            id=registration_id, name=name, scope=scope, created_at=utc_now()
        )

    def list(self) -> Sequence[RunnerRegistration]:
        return list(reversed(self.rows.values()))

    def revoke(self, registration_id: str) -> None:
        row = self.rows.get(registration_id)
        if row is None:
            raise NotFound("There is no such runner.")
        self.tokens = {token: owner for token, owner in self.tokens.items() if owner != registration_id}
        self.rows[registration_id] = row.model_copy(update={"revoked_at": utc_now(), "machines": ()})

    def show_up(self, registration_id: str, machine: RunnerInfo) -> None:
        """Let a machine run with a registration's token."""
        row = self.rows[registration_id]
        self.rows[registration_id] = row.model_copy(update={"machines": (machine,)})


class FakeHandout:
    """JobHandout over the jobs of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.tokens: dict[str, str] = {}

    def hand_out(self, job_id: str, token_sha256: str, *, wait_seconds: float) -> int:
        job = self._workspace.jobs.get(job_id)
        if job.status is not JobStatus.QUEUED or job_id in self.tokens.values():
            raise NotAllowed("Only a queued job can be handed out.")
        self.tokens[token_sha256] = job_id
        return job.attempt + 1


class FakeOperator:
    """OperatorStore of a team of two."""

    def __init__(self) -> None:
        began = utc_now() - timedelta(days=20)
        self.people = {
            "ada": PersonTotals(
                user_id="ada",
                email="ada@example.org",
                operator=True,
                created_at=began,
                last_sign_in_at=utc_now(),
            ),
            "bob": PersonTotals(
                user_id="bob",
                email="bob@example.org",
                created_at=began,
                live_jobs=1,
                jobs=7,
                gpu_hours=3.25,
                storage_bytes=2_500_000_000,
                usd=1.5,
                quota=Quota(user_id="bob", gpu_hours_per_month=5.0),
            ),
        }
        self.invited: dict[str, Invitation] = {}
        self.codes: dict[str, str] = {}
        self.open = False

    def totals(self) -> Sequence[PersonTotals]:
        return sorted(self.people.values(), key=lambda person: person.email)

    def set_quota(self, quota: Quota) -> None:
        if quota.user_id not in self.people:
            raise NotFound("There is no such person.")
        person = self.people[quota.user_id]
        self.people[quota.user_id] = person.model_copy(update={"quota": quota})

    def invitations(self) -> Sequence[Invitation]:
        return list(reversed(self.invited.values()))

    def invite(self, invitation_id: str, email: str, code_sha256: str, *, valid_days: int = 7) -> None:
        now = utc_now()
        self.codes[code_sha256] = invitation_id
        self.invited[invitation_id] = Invitation(
            id=invitation_id, email=email, created_at=now, expires_at=now + timedelta(days=valid_days)
        )

    def withdraw(self, invitation_id: str) -> None:
        if invitation_id in self.invited and self.invited[invitation_id].accepted_at is None:
            del self.invited[invitation_id]

    def sign_up_is_open(self) -> bool:
        return self.open

    def open_sign_up(self, *, is_open: bool) -> None:
        self.open = is_open


def team_workspace(workspace: Workspace, home: Path, *, operator: bool = False) -> Workspace:
    """Make a workspace of the embedded studio one of a team, with the fakes above."""
    return replace(
        workspace,
        settings=Settings(home=home, supabase_url=URL, supabase_key=KEY),
        registry=FakeRegistry(operator=operator),
        handout=FakeHandout(workspace),
        operator=FakeOperator() if operator else None,
        email="ada@example.org",
    )
