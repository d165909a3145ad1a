"""What the store of a team must do beside: let runners in, hand jobs out, and serve its operator."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lora_core.errors import Conflict, Forbidden, NotAllowed, NotFound, SignedOut
from lora_core.schema.base import new_id
from lora_core.schema.job import EndOfAttempt, JobFilter, JobStatus, Outcome, WaitReason
from lora_core.schema.people import Quota
from lora_core.schema.runner import RunnerScope
from lora_core.secrets import TokenKind, new_token, token_sha256
from tests.contracts.samples import ANNE, BEN, CLEO, START, Studio, dataset_of, job_of, runner_of, submitted
from tests.contracts.store_contract.stage import StoreContract
from tests.contracts.team import Team


def new_sha256(kind: TokenKind = TokenKind.RUNNER) -> str:
    return token_sha256(new_token(kind).reveal())


class TeamContract(StoreContract):
    @pytest.fixture
    def team(self) -> Team:
        """Return Anne, Ben and the operator Cleo."""
        raise NotImplementedError


class RunnerRegistryContract(TeamContract):
    def test_a_registered_runner_is_listed_with_its_machines(self, team: Team) -> None:
        registration_id, token = team.register(ANNE)
        port, _ = team.ports(token)
        port.announce(runner_of("desk"))
        port.announce(runner_of("shelf"))
        (listed,) = team.store_for(ANNE).registry.list()
        assert (listed.id, listed.name, listed.scope, listed.revoked_at) == (
            registration_id,
            "Workshop",
            RunnerScope.MINE,
            None,
        )
        assert {machine.name for machine in listed.machines} == {"desk", "shelf"}

    def test_registrations_are_newest_first(self, team: Team) -> None:
        made = [team.register(ANNE)[0] for _ in range(3)]
        assert [listed.id for listed in team.store_for(ANNE).registry.list()] == made[::-1]

    def test_registering_the_same_again_changes_nothing(self, team: Team) -> None:
        registry, registration_id, sha256 = team.store_for(ANNE).registry, new_id(), new_sha256()
        for _ in range(2):
            registry.register(registration_id, "Desk", RunnerScope.MINE, sha256)
        assert len(registry.list()) == 1

    def test_an_id_or_token_that_is_taken_is_a_conflict(self, team: Team) -> None:
        registry, registration_id, sha256 = team.store_for(ANNE).registry, new_id(), new_sha256()
        registry.register(registration_id, "Desk", RunnerScope.MINE, sha256)
        with pytest.raises(Conflict):
            registry.register(registration_id, "Desk", RunnerScope.MINE, new_sha256())
        with pytest.raises(Conflict):
            registry.register(new_id(), "Desk", RunnerScope.MINE, sha256)
        with pytest.raises(Conflict):
            team.store_for(BEN).registry.register(registration_id, "Desk", RunnerScope.MINE, sha256)

    def test_only_the_operator_lets_a_runner_in_for_the_team(self, team: Team) -> None:
        with pytest.raises(Forbidden):
            team.register(ANNE, RunnerScope.TEAM)
        team.register(CLEO, RunnerScope.TEAM)

    def test_another_persons_registration_is_not_there(self, team: Team) -> None:
        registration_id, _ = team.register(ANNE)
        assert not team.store_for(BEN).registry.list()
        for unknown in (registration_id, new_id(), "x"):
            with pytest.raises(NotFound):
                team.store_for(BEN).registry.revoke(unknown)

    def test_a_revoked_token_is_refused_and_its_machines_are_gone(self, team: Team) -> None:
        registration_id, token = team.register(ANNE)
        port, task_port = team.ports(token)
        port.announce(runner_of())
        for _ in range(2):
            team.store_for(ANNE).registry.revoke(registration_id)
        calls: list[Callable[[], object]] = [
            lambda: port.announce(runner_of()),
            lambda: port.claim(runner_of(), lease_seconds=30),
            lambda: task_port.claim_task(runner_of(), lease_seconds=30),
        ]
        for call in calls:
            with pytest.raises(SignedOut):
                call()
        (listed,) = team.store_for(ANNE).registry.list()
        assert listed.revoked_at is not None
        assert not listed.machines
        assert not team.store_for(ANNE).runners.list()

    def test_a_revoked_runner_loses_its_job(self, team: Team, pass_time: Callable[[float], None]) -> None:
        registration_id, token = team.register(ANNE)
        studio = Studio(team.store_for(ANNE), team.store_for(BEN), team.ports(token)[0])
        claim, _ = studio.running()
        team.store_for(ANNE).registry.revoke(registration_id)
        with pytest.raises(Conflict):
            studio.port.renew(claim.job.id, claim.attempt, lease_seconds=30)
        pass_time(31)
        again = team.ports(team.register(ANNE)[1])[0].claim(runner_of("other"), lease_seconds=30)
        assert again is not None
        assert (again.job.id, again.attempt) == (claim.job.id, 2)
        assert studio.anne.jobs.attempts(claim.job.id)[0].outcome is Outcome.LOST

    def test_a_runner_of_ones_own_leaves_other_peoples_jobs(self, team: Team) -> None:
        port, _ = team.ports(team.register(ANNE)[1])
        ben = team.store_for(BEN)
        job = submitted(ben, BEN)
        port.announce(runner_of())
        assert port.claim(runner_of(), lease_seconds=30) is None
        assert not ben.runners.list()
        port, _ = team.ports(team.register(CLEO, RunnerScope.TEAM)[1])
        port.announce(runner_of("hall"))
        claim = port.claim(runner_of("hall"), lease_seconds=30)
        assert claim is not None
        assert (claim.job.id, claim.job.user_id) == (job.id, BEN)
        assert [runner.id for runner in ben.runners.list()] == ["hall"]


class JobHandoutContract(TeamContract):
    @pytest.fixture
    def studio(self, team: Team) -> Studio:
        return Studio(team.store_for(ANNE), team.store_for(BEN), team.ports(team.register(ANNE)[1])[0])

    def test_a_job_that_was_handed_out_waits_for_its_machine(self, team: Team, studio: Studio) -> None:
        job = studio.submit()
        assert team.store_for(ANNE).handout.hand_out(job.id, new_sha256(TokenKind.JOB), wait_seconds=60) == 1
        assert studio.anne.jobs.get(job.id).status is JobStatus.INITIALIZING
        assert studio.port.claim(runner_of(), lease_seconds=30) is None

    def test_the_same_token_again_is_the_same_attempt(self, team: Team, studio: Studio) -> None:
        job, sha256 = studio.submit(), new_sha256(TokenKind.JOB)
        handout = team.store_for(ANNE).handout
        assert [handout.hand_out(job.id, sha256, wait_seconds=60) for _ in range(2)] == [1, 1]

    def test_only_a_queued_job_can_be_handed_out(self, team: Team, studio: Studio) -> None:
        job = studio.submit()
        studio.anne.jobs.move(job.id, JobStatus.PAUSED)
        with pytest.raises(NotAllowed):
            team.store_for(ANNE).handout.hand_out(job.id, new_sha256(TokenKind.JOB), wait_seconds=60)

    def test_somebody_elses_job_is_not_found(self, team: Team, studio: Studio) -> None:
        job = studio.submit()
        for unknown in (job.id, new_id(), "x"):
            with pytest.raises(NotFound):
                team.store_for(BEN).handout.hand_out(unknown, new_sha256(TokenKind.JOB), wait_seconds=60)

    def test_a_machine_that_does_not_show_up_gives_the_job_back(
        self, team: Team, studio: Studio, pass_time: Callable[[float], None]
    ) -> None:
        job = studio.submit()
        team.store_for(ANNE).handout.hand_out(job.id, new_sha256(TokenKind.JOB), wait_seconds=60)
        pass_time(61)
        claim = studio.claim()
        assert (claim.job.id, claim.attempt) == (job.id, 2)


class OperatorStoreContract(TeamContract):
    def test_totals_are_of_everybody_by_e_mail(self, team: Team) -> None:
        anne = team.store_for(ANNE)
        dataset = dataset_of(ANNE, bytes=1234)
        anne.datasets.add(dataset)
        anne.jobs.submit(job_of(ANNE, dataset.id))
        totals = [
            person for person in team.store_for(CLEO).operator.totals() if person.user_id in {ANNE, BEN, CLEO}
        ]
        assert [(person.user_id, person.operator) for person in totals] == [
            (ANNE, False),
            (BEN, False),
            (CLEO, True),
        ]
        assert (totals[0].jobs, totals[0].live_jobs, totals[0].storage_bytes) == (1, 1, 1234)
        assert (totals[1].jobs, totals[1].storage_bytes, totals[1].quota) == (0, 0, None)

    def test_a_quota_is_kept_until_it_is_taken_away(self, team: Team) -> None:
        operator = team.store_for(CLEO).operator
        quota = Quota(
            user_id=BEN, max_live_jobs=2, running_jobs=1, gpu_hours_per_month=1.5, storage_bytes=10**9
        )
        operator.set_quota(quota)
        assert [person.quota for person in operator.totals() if person.user_id == BEN] == [quota]
        operator.set_quota(Quota(user_id=BEN))
        assert [person.quota for person in operator.totals() if person.user_id == BEN] == [Quota(user_id=BEN)]

    def test_a_quota_of_nobody_is_not_found(self, team: Team) -> None:
        with pytest.raises(NotFound):
            team.store_for(CLEO).operator.set_quota(Quota(user_id=new_id()))

    def test_a_person_at_the_limit_starts_nothing_more(self, team: Team) -> None:
        team.store_for(CLEO).operator.set_quota(Quota(user_id=ANNE, max_live_jobs=1))
        anne = team.store_for(ANNE)
        dataset = dataset_of(ANNE)
        anne.datasets.add(dataset)
        first, second = (job_of(ANNE, dataset.id) for _ in range(2))
        anne.jobs.submit(first)
        with pytest.raises(NotAllowed):
            anne.jobs.submit(second)
        anne.jobs.move(first.id, JobStatus.PAUSED)
        anne.jobs.submit(second)
        with pytest.raises(NotAllowed):
            anne.jobs.move(first.id, JobStatus.QUEUED)
        assert len(anne.jobs.list(JobFilter(statuses=(JobStatus.QUEUED,))).items) == 1

    def test_what_a_person_has_beyond_the_jobs_at_work_waits(self, team: Team) -> None:
        operator = team.store_for(CLEO).operator
        operator.set_quota(Quota(user_id=ANNE, running_jobs=1))
        port, _ = team.ports(team.register(CLEO, RunnerScope.TEAM)[1])
        port.announce(runner_of(slots=4))
        studio = Studio(team.store_for(ANNE), team.store_for(BEN), port)
        held = studio.claimed(estimated_seconds=1200.0)
        waiting = studio.submit()
        place = studio.anne.jobs.queue_place(waiting.id)
        assert place is not None
        assert (place.reason, place.position) == (WaitReason.LIMIT, 0)
        wait = (place.expected_start or START) - studio.anne.jobs.get(waiting.id).updated_at
        assert 1200 <= wait.total_seconds() < 1260
        theirs = submitted(studio.ben, BEN)
        behind = studio.ben.jobs.queue_place(theirs.id)
        assert behind is not None
        assert (behind.reason, behind.position) == (WaitReason.NEXT, 0)
        assert studio.claim().job.id == theirs.id
        assert port.claim(runner_of(), lease_seconds=30) is None
        studio.port.end(held.job.id, 1, EndOfAttempt(outcome=Outcome.COMPLETED))
        assert studio.claim().job.id == waiting.id

    def test_a_job_beyond_those_at_work_is_not_handed_out(self, team: Team) -> None:
        anne = team.store_for(ANNE)
        jobs = [submitted(anne, ANNE) for _ in range(2)]
        team.store_for(CLEO).operator.set_quota(Quota(user_id=ANNE, running_jobs=1))
        anne.handout.hand_out(jobs[0].id, new_sha256(TokenKind.JOB), wait_seconds=60)
        with pytest.raises(NotAllowed, match="at work"):
            anne.handout.hand_out(jobs[1].id, new_sha256(TokenKind.JOB), wait_seconds=60)

    def test_a_data_set_beyond_the_storage_is_refused(self, team: Team) -> None:
        team.store_for(CLEO).operator.set_quota(Quota(user_id=ANNE, storage_bytes=100))
        team.store_for(ANNE).datasets.add(dataset_of(ANNE, bytes=90))
        with pytest.raises(NotAllowed):
            team.store_for(ANNE).datasets.add(dataset_of(ANNE, bytes=11))

    def test_invitations_are_listed_until_they_are_taken_back(self, team: Team) -> None:
        operator = team.store_for(CLEO).operator
        first, second, sha256 = new_id(), new_id(), new_sha256(TokenKind.INVITATION)
        operator.invite(first, "Dora@Studio.test", sha256)
        operator.invite(first, "Dora@Studio.test", sha256)
        operator.invite(second, "emil@studio.test", new_sha256(TokenKind.INVITATION), valid_days=1)
        listed = {invited.id: invited for invited in operator.invitations()}
        assert {first, second} <= listed.keys()
        assert listed[first].email.lower() == "dora@studio.test"
        assert (listed[second].expires_at - listed[second].created_at).days == 1
        for invitation_id in (first, second, second, "x"):
            operator.withdraw(invitation_id)
        assert not {first, second} & {invited.id for invited in operator.invitations()}

    def test_sign_up_opens_and_closes(self, team: Team) -> None:
        operator = team.store_for(CLEO).operator
        for is_open in (True, False):
            operator.open_sign_up(is_open=is_open)
            assert operator.sign_up_is_open() is is_open

    def test_everybody_else_is_refused(self, team: Team) -> None:
        operator = team.store_for(ANNE).operator
        calls: list[Callable[[], object]] = [
            operator.totals,
            operator.invitations,
            operator.sign_up_is_open,
            lambda: operator.open_sign_up(is_open=True),
            lambda: operator.set_quota(Quota(user_id=ANNE)),
            lambda: operator.invite(new_id(), "x@studio.test", new_sha256(TokenKind.INVITATION)),
            lambda: operator.withdraw(new_id()),
        ]
        for call in calls:
            with pytest.raises(Forbidden):
                call()
