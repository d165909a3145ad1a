"""Who is signed in at which browser: sessions behind a cookie, kept fresh, on disk only in a form that the cookie opens.

Knows accounts and a folder; neither HTTP nor pages. One registry serves one app process.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from lora_core.actions.session_files import SessionFiles, new_session_id, sealed_name
from lora_core.errors import SignedOut, StudioError, TooOften, Unavailable
from lora_core.secrets import Secret
from lora_core.store.accounts import Accounts, AuthSession

LIFE_SECONDS = 30 * 24 * 3600.0
"""A session ends this long after the sign-in, whatever happens."""

IDLE_SECONDS = 7 * 24 * 3600.0
"""... and this long after it was last used."""

FRESH_SECONDS = 90.0
"""An access token is renewed this long before it ends, so that none ends on its way to the store."""

RETRY_SECONDS = 5.0
DOUBT_SECONDS = 60.0
NOTE_USE_SECONDS = 600.0
OPEN_SECONDS = 30.0
MEMORY_SECONDS = 3600.0
"""A session that nobody has used for so long is on disk alone, unless a browser tab still holds it."""

_ENDED = ("You are signed out.", "Sign in again to go on.")

T = TypeVar("T")


class SignedIn:
    """One person at one browser. Safe to share between that browser's tabs: the refresh token is spent by one at a time."""

    def __init__(
        self,
        auth: AuthSession,
        accounts: Accounts,
        *,
        began_at: float,
        used_at: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.user_id = auth.user_id
        self.email = auth.email
        self.began_at = began_at
        self.used_at = used_at
        self.on_change: Callable[[AuthSession], None] = lambda _auth: None
        self.on_end: Callable[[], None] = lambda: None
        self._auth = auth
        self._accounts = accounts
        self._now = now
        self._lock = threading.Lock()
        self._ended = False
        self._doubted = False
        self._renewed_at = 0.0
        self._kept: dict[str, Any] = {}
        self._failed_at = 0.0

    @property
    def operator(self) -> bool:
        """Whether the account says operator; it was asked at the last renewal."""
        return self._auth.operator

    @property
    def ended(self) -> bool:
        """Whether this session is over, by a sign-out, by its age, or because the project ended it."""
        return self._ended or self._too_old()

    def token(self) -> str:
        """Return an access token that is good for a while, renewing it first if need be.

        Raises:
            SignedOut: The session has ended.
            Unavailable: It is to be renewed and the project does not answer.
        """
        if self.ended:
            raise SignedOut(*_ENDED)
        self.used_at = self._now()
        with self._lock:
            if self._ended:
                raise SignedOut(*_ENDED)
            if self._doubted or self._left() < FRESH_SECONDS:
                self._renew()
            return self._auth.access_token.reveal()

    def keep_once(self, name: str, make: Callable[[], T]) -> T:
        """Return what was made under this name in this session, made now if it is the first time; it goes with the session.

        Raises:
            SignedOut: The session has ended.
        """
        with self._lock:
            if self._ended:
                raise SignedOut(*_ENDED)
            everything = self._kept
            if name not in everything:
                everything[name] = make()
            kept: T = everything[name]
            return kept

    def let_go(self) -> None:
        """Drop what is kept: connections would stay open for as long as the app runs, for they hold this session too."""
        self._kept = {}

    def doubt(self) -> None:
        """Say that the store refused the token: it is renewed before the next use, at most once a minute."""
        with self._lock:
            self._doubted = self._now() - self._renewed_at > DOUBT_SECONDS

    def end(self, *, everywhere: bool = False) -> None:
        """Sign out. The session is over here at once, whether the project answers or not."""
        was_over, self._ended = self._ended, True
        self.on_end()
        if not was_over:
            with contextlib.suppress(StudioError):
                self._accounts.sign_out(self._auth, everywhere=everywhere)

    def _renew(self) -> None:
        if self._now() - self._failed_at < RETRY_SECONDS and not self._good_enough():
            raise Unavailable("The Supabase project does not answer.", "Try again in a moment.")
        try:
            renewed = self._accounts.refresh(self._auth)
        except SignedOut:
            self._ended = True
            self.on_end()
            raise
        except (Unavailable, TooOften):
            self._failed_at = self._now()
            if self._good_enough():
                return
            raise
        if self._ended or renewed.user_id != self.user_id:
            self._ended = True
            self.on_end()
            raise SignedOut(*_ENDED)
        self._auth, self._doubted, self._renewed_at = renewed, False, self._now()
        self.on_change(renewed)

    def _good_enough(self) -> bool:
        return not self._doubted and self._left() > RETRY_SECONDS

    def _left(self) -> float:
        return self._auth.expires_at - self._now()

    def _too_old(self) -> bool:
        now = self._now()
        return now - self.began_at > LIFE_SECONDS or now - self.used_at > IDLE_SECONDS


class Sessions:
    """All sessions of this app. Safe to share between threads.

    Args:
        accounts: Where e-mail and password are checked.
        folder: Where sessions are kept over a restart of the app.
    """

    def __init__(self, accounts: Accounts, folder: Path, *, now: Callable[[], float] = time.time) -> None:
        self.accounts = accounts
        self._files = SessionFiles(folder, now=now)
        self._now = now
        self._lock = threading.Lock()
        self._by_name: WeakValueDictionary[str, SignedIn] = WeakValueDictionary()
        self._in_use: dict[str, SignedIn] = {}
        self._noted: dict[str, float] = {}
        self._taken: dict[str, AuthSession] = {}
        self._open = (0.0, False)
        self._files.sweep(older_than_seconds=IDLE_SECONDS)

    def sign_in(self, email: str, password: str) -> tuple[Secret, SignedIn]:
        """Check e-mail and password and begin a session.

        Returns:
            The id that the cookie will hold (a new one at each sign-in), and the session.

        Raises:
            Forbidden: They do not belong together.
            NotAllowed: The e-mail address is not confirmed.
        """
        return self._begin(self.accounts.sign_in(email, password))

    def sign_up(self, email: str, password: str, invitation: str) -> tuple[Secret, SignedIn] | None:
        """Make an account.

        Returns:
            As `sign_in`; None if the e-mail address is to be confirmed first.
        """
        auth = self.accounts.sign_up(email, password, invitation=invitation)
        return self._begin(auth) if auth else None

    def set_password(
        self, password: str, *, token_hash: str = "", access_token: str = ""
    ) -> tuple[Secret, SignedIn]:
        """Set a new password with what a mailed link holds; every other session of the person ends.

        Args:
            token_hash: From a link to the app itself.
            access_token: From a link that went over the project's own page.

        Raises:
            Forbidden: The link was used before, or is too old.
            NotAllowed: The password is too weak, or the old one.
        """
        auth = self._take(token_hash, access_token)
        self.accounts.set_password(auth, password)
        self._forget_link(token_hash)
        with contextlib.suppress(StudioError):
            self.accounts.sign_out(auth, everywhere=True)
        with self._lock:
            others = [session for session in self._by_name.values() if session.user_id == auth.user_id]
        for session in others:
            session.end()
        return self.sign_in(auth.email, password)

    def _forget_link(self, token_hash: str) -> None:
        with self._lock:
            self._taken.pop(sealed_name(token_hash), None)

    def _take(self, token_hash: str, access_token: str) -> AuthSession:
        """Spend the link, once: who then chooses too weak a password may try another with the same link."""
        if not token_hash:
            return self.accounts.take_access(access_token)
        now, name = self._now(), sealed_name(token_hash)
        with self._lock:
            self._taken = {key: auth for key, auth in self._taken.items() if auth.expires_at > now}
            taken = self._taken.get(name)
        if taken is None:
            taken = self.accounts.take_link(token_hash)
            with self._lock:
                self._taken[name] = taken
        return taken

    def sign_up_is_open(self) -> bool:
        """Say whether anybody may make an account; the answer may be half a minute old. No, if the project does not answer."""
        now, (asked_at, answer) = self._now(), self._open
        if now - asked_at > OPEN_SECONDS:
            try:
                answer = self.accounts.sign_up_is_open()
            except StudioError:
                answer = False
            self._open = (now, answer)
        return answer

    def find(self, session_id: str) -> SignedIn | None:
        """Return the session of a cookie, from memory or, after a restart of the app, from disk; None if there is none."""
        name = sealed_name(session_id)
        with self._lock:
            session = self._by_name.get(name)
            if session is None and (kept := self._files.read(session_id)):
                session = self._keep(session_id, kept.auth, began_at=kept.began_at, used_at=kept.used_at)
        if session is None:
            return None
        if session.ended:
            session.on_end()
            return None
        self._note_use(name, session)
        return session

    def end(self, session_id: str) -> None:
        """Sign this browser out; an unknown id is no error."""
        if session := self.find(session_id):
            session.end()

    def close(self) -> None:
        """Let go of connections; sessions stay on disk."""
        self.accounts.close()

    def _begin(self, auth: AuthSession) -> tuple[Secret, SignedIn]:
        session_id, now = new_session_id(), self._now()
        self._files.sweep(older_than_seconds=IDLE_SECONDS)
        with self._lock:
            session = self._keep(session_id.reveal(), auth, began_at=now, used_at=now)
            self._in_use[sealed_name(session_id.reveal())] = session
        session.on_change(auth)
        return session_id, session

    def _keep(self, session_id: str, auth: AuthSession, *, began_at: float, used_at: float) -> SignedIn:
        name = sealed_name(session_id)
        session = SignedIn(auth, self.accounts, began_at=began_at, used_at=used_at, now=self._now)

        def write(renewed: AuthSession) -> None:
            with self._lock:
                if self._by_name.get(name) is session:
                    self._files.write(session_id, renewed, began_at)

        def forget() -> None:
            with self._lock:
                self._by_name.pop(name, None)
                self._in_use.pop(name, None)
                self._noted.pop(name, None)
                self._files.remove(name)
            session.let_go()

        session.on_change, session.on_end = write, forget
        self._by_name[name] = session
        return session

    def _let_go(self) -> None:
        """Hold on only to sessions that are in use; one that a tab holds stays the same object, so that its lock is one."""
        now = self._now()
        for name, session in list(self._in_use.items()):
            if now - session.used_at > MEMORY_SECONDS:
                del self._in_use[name]
                self._noted.pop(name, None)
                session.let_go()

    def _note_use(self, name: str, session: SignedIn) -> None:
        """Remember the time of use, on disk only now and then."""
        session.used_at = now = self._now()
        with self._lock:
            self._in_use[name] = session
            if now - self._noted.get(name, 0.0) <= NOTE_USE_SECONDS:
                return
            self._noted[name] = now
            self._let_go()
        self._files.touch(name)
