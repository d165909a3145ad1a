"""A real Supabase project for the contract: its three people, and how it is emptied between tests. Knows no test.

What people have goes at each test, but only that of these three, who are made at the beginning and removed at the end. What
stays behind is the audit trail of their jobs, which nobody can remove: take a project that is there for tests.
"""

import os
import secrets
import time
from collections.abc import Mapping

from lora_core.errors import ConfigError, NotFound
from lora_core.schema.base import new_id
from lora_core.secrets import TokenKind, new_token, token_sha256
from lora_core.store.accounts import AuthSession
from lora_core.store.supabase.about import Project, check_version
from lora_core.store.supabase.auth import ROLE_CLAIM, SupabaseAuth
from lora_core.store.supabase.files import StorageFiles
from tests.contracts.samples import ANNE, BEN, CLEO

NEEDED = ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_SECRET_KEY")
EMAILS = {ANNE: "anne@studio.example.com", BEN: "ben@studio.example.com", CLEO: "cleo@studio.example.com"}
BUCKETS = ("lora-datasets", "training-files", "model-artifacts")
TABLES = ("training_jobs", "datasets", "tasks", "notifications", "runner_registrations", "quotas")
"""What people have, in an order in which it may go; the rest goes with it."""

FRESH_SECONDS = 900
"""A session that ends sooner is replaced: there are tests that take ten minutes."""


class HostedProject:
    """The project that the environment names.

    Raises:
        ConfigError: The environment does not name one.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        missing = [name for name in NEEDED if not environment.get(name)]
        if missing:
            raise ConfigError(
                f"The hosted tests need {', '.join(missing)}.", "Set them to those of a project for tests."
            )
        self.url, self.key, secret_key = (environment[name] for name in NEEDED)
        headers = {"apikey": secret_key, "authorization": f"Bearer {secret_key}"}
        self._project = Project(self.url, secret_key)
        self._files = StorageFiles(self.url, lambda: headers)
        self._accounts = SupabaseAuth(self.url, self.key)
        self._password = secrets.token_urlsafe(24)
        self._sessions: dict[str, AuthSession] = {}

    def begin(self) -> None:
        """Make the people; what an earlier run has left of them goes first."""
        check_version(self._project.about().version)
        self.empty()
        self._remove_people()
        for user_id, email in EMAILS.items():
            self._add_person(user_id, email)

    def empty(self) -> None:
        """Remove what the people have."""
        for table in TABLES:
            self._project.request("DELETE", f"/rest/v1/{table}?user_id=in.({','.join(EMAILS)})")
        for bucket in BUCKETS:
            for user_id in EMAILS:
                self._files.remove_folder(bucket, user_id)

    def end(self) -> None:
        """Remove the people and let go of connections."""
        self.empty()
        self._remove_people()
        self._project.close()
        self._files.close()
        self._accounts.close()

    def token_of(self, user_id: str) -> str:
        """Return an access token of a person that is good for a while."""
        session = self._sessions.get(user_id)
        if session is None or session.expires_at < time.time() + FRESH_SECONDS:
            session = self._accounts.sign_in(EMAILS[user_id], self._password)
            self._sessions[user_id] = session
        return session.access_token.reveal()

    def _add_person(self, user_id: str, email: str) -> None:
        """Make an account as the set-up does: with an invitation that is there for a moment."""
        code = new_token(TokenKind.INVITATION)
        invitation = {
            "p_id": new_id(),
            "p_email": email,
            "p_code_sha256": token_sha256(code.reveal()),
            "p_valid_days": 1,
        }
        self._project.call("setup_invite", invitation)
        account = {
            "id": user_id,
            "email": email,
            "password": self._password,
            "email_confirm": True,
            "user_metadata": {"invitation": code.reveal()},
            "app_metadata": {"role": ROLE_CLAIM} if user_id == CLEO else {},
        }
        made = self._project.request("POST", "/auth/v1/admin/users", account)
        assert made["id"] == user_id, "this project's Auth takes no ids: it is too old for these tests"

    def _remove_people(self) -> None:
        for user_id in EMAILS:
            try:
                self._project.request("DELETE", f"/auth/v1/admin/users/{user_id}")
            except NotFound:
                continue
