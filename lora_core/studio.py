"""The composition root: from settings to a workspace. The only place that knows which store is behind the ports."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from lora_core.actions.sessions import Sessions, SignedIn
from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError, NotFound
from lora_core.settings import LOCAL_USER, Settings
from lora_core.store.base import DispatchPort, RunnerPort, TaskPort
from lora_core.store.local import LocalStore
from lora_core.store.transfer import HistorySource, HistoryTarget


class Studio:
    """The embedded studio: one person, SQLite and a folder. Safe to share between threads.

    Raises:
        ConfigError: The settings name a Supabase project: then this person's rows are there, not here.
    """

    sessions: None = None
    """Nobody signs in."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        if self.settings.team:
            raise ConfigError(
                "This works on the embedded studio, and this machine is set up for a team.",
                "Do it on the pages, or unset SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY.",
            )
        self._store = LocalStore(self.settings)

    def workspace(self, user_id: str = LOCAL_USER) -> Workspace:
        """Return one person's view."""
        return Workspace.over(self._store.for_user(user_id), user_id, self.settings)

    def runner_port(self) -> RunnerPort:
        """Return what a runner on this machine works with."""
        return self._store.runner_port()

    def task_port(self) -> TaskPort:
        """Return what a runner's tasks work with."""
        return self._store.task_port()

    def dispatch_port(self) -> DispatchPort:
        """Return what a runner that sends notifications works with."""
        return self._store.dispatch_port()

    def check(self) -> None:
        """Ask the store something small.

        Raises:
            Unavailable: It does not answer.
        """
        self.workspace().notifications.unread()

    def close(self) -> None:
        """Close the database."""
        self._store.close()


class TeamStudio:
    """A team's studio over a Supabase project: people sign in, each gets a view of their own. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        from lora_core.store.supabase.auth import SupabaseAuth

        self.settings = settings
        self._accounts = SupabaseAuth(
            settings.supabase_url, settings.supabase_key, links_to=settings.public_url
        )
        self.sessions = Sessions(self._accounts, settings.root / "sessions")

    def workspace(self, person: SignedIn) -> Workspace:
        """Return one person's view, with a client of its own; it is good for as long as the session.

        Call it once for each browser session: nothing of it may be shared with another person.
        """
        from lora_core.store.supabase.store import open_user_store

        stores = open_user_store(
            self.settings.supabase_url,
            self.settings.supabase_key,
            person.user_id,
            person.token,
            spool=self.settings.root / "spool" / person.user_id,
        )
        workspace = replace(
            Workspace.over(stores, person.user_id, self.settings),
            registry=stores.registry,
            handout=stores.handout,
            operator=stores.operator if person.operator else None,
            email=person.email,
        )
        weakref.finalize(workspace, stores.close)  # nobody says when a browser tab is gone
        return workspace

    def history(self, person: SignedIn) -> HistoryTarget:
        """Return where this person's embedded studio is moved to; close it in the end."""
        from lora_core.store.supabase.importer import open_history

        return open_history(
            self.settings.supabase_url, self.settings.supabase_key, person.user_id, person.token
        )

    def check(self) -> None:
        """Ask the database something small, as nobody.

        Raises:
            Unavailable: It does not answer.
        """
        self._accounts.sign_up_is_open()

    def close(self) -> None:
        """Let go of connections; sessions stay on disk."""
        self.sessions.close()


AnyStudio = Studio | TeamStudio


def open_studio(settings: Settings | None = None) -> AnyStudio:
    """Open the studio that the settings name."""
    settings = settings or Settings()
    return TeamStudio(settings) if settings.team else Studio(settings)


@contextmanager
def open_embedded_history(settings: Settings) -> Iterator[HistorySource]:
    """Open what the embedded studio of this machine has, as of now, to be moved elsewhere, whatever else the settings name.

    Raises:
        NotFound: There is no studio under LORA_STUDIO_HOME.
    """
    if not settings.database.is_file():
        raise NotFound(f"There is no studio in {settings.root}.", "Set LORA_STUDIO_HOME to its folder.")
    store = LocalStore(settings)
    history = store.history(LOCAL_USER)
    try:
        yield history
    finally:
        history.close()
        store.close()
