"""Sessions behind a cookie: kept fresh by one tab at a time, ended for all, and on disk only for who has the cookie."""

import gc
import threading
from collections.abc import Callable
from pathlib import Path
from weakref import finalize

import pytest

from lora_core.actions.attempts import MAX_KEYS, AttemptLimit
from lora_core.actions.session_files import sealed_name
from lora_core.actions.sessions import IDLE_SECONDS, LIFE_SECONDS, MEMORY_SECONDS, Sessions, SignedIn
from lora_core.errors import Forbidden, NotAllowed, SignedOut, TooOften, Unavailable
from lora_core.secrets import Secret
from lora_core.store.accounts import AuthSession

TOKEN_SECONDS = 3600.0
ANNE, BEN = "aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000"
PEOPLE = {"anne@studio.test": ANNE, "ben@studio.test": BEN}


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


class FakeAccounts:
    """Two people, whose passwords are their names; a refresh token is good once."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.passwords = {email: email.partition("@")[0] for email in PEOPLE}
        self.good: set[str] = set()
        self.made = 0
        self.refreshes = 0
        self.signed_out: list[tuple[str, bool]] = []
        self.away = False
        self.links = {"link-1": "anne@studio.test"}
        self.during_refresh: Callable[[], None] = lambda: None

    def sign_in(self, email: str, password: str) -> AuthSession:
        if self.away:
            raise Unavailable("away")
        if self.passwords.get(email) != password:
            raise Forbidden("wrong")
        return self._session(email)

    def sign_up(self, email: str, password: str, *, invitation: str = "") -> AuthSession | None:
        return self._session(email) if invitation == "good" else None

    def refresh(self, session: AuthSession) -> AuthSession:
        self.refreshes += 1
        self.during_refresh()
        if self.away:
            raise Unavailable("away")
        token = session.refresh_token.reveal()
        if token not in self.good:
            raise SignedOut("spent")
        self.good.discard(token)
        return self._session(session.email)

    def sign_out(self, session: AuthSession, *, everywhere: bool = False) -> None:
        self.signed_out.append((session.email, everywhere))
        self.good.discard(session.refresh_token.reveal())
        if self.away:
            raise Unavailable("away")

    def request_reset(self, email: str) -> None: ...

    def take_link(self, token_hash: str) -> AuthSession:
        if token_hash not in self.links:
            raise Forbidden("used")
        return self._session(self.links.pop(token_hash))

    def take_access(self, access_token: str) -> AuthSession:
        return self._session("anne@studio.test")

    def set_password(self, session: AuthSession, password: str) -> None:
        if password == "weak":
            raise NotAllowed("weak")
        self.passwords[session.email] = password

    def sign_up_is_open(self) -> bool:
        if self.away:
            raise Unavailable("away")
        return True

    def close(self) -> None: ...

    def _session(self, email: str) -> AuthSession:
        self.made += 1
        refresh = f"refresh-{self.made}"
        self.good.add(refresh)
        access = Secret(f"access-{self.made}-of-{email}")
        return AuthSession(
            PEOPLE[email], email, False, access, Secret(refresh), self.clock.now + TOKEN_SECONDS
        )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(clock: Clock) -> FakeAccounts:
    return FakeAccounts(clock)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


@pytest.fixture
def sessions(accounts: FakeAccounts, folder: Path, clock: Clock) -> Sessions:
    return Sessions(accounts, folder, now=clock)


def enter(sessions: Sessions, name: str = "anne") -> str:
    session_id, _ = sessions.sign_in(f"{name}@studio.test", name)
    return session_id.reveal()


def again(sessions: Sessions, accounts: FakeAccounts, folder: Path, clock: Clock) -> Sessions:
    """The registry of the next process of the app."""
    return Sessions(accounts, folder, now=clock)


def test_a_cookie_finds_its_person_and_no_other(sessions: Sessions) -> None:
    anne, ben = enter(sessions), enter(sessions, "ben")
    assert anne != ben
    found = [sessions.find(session_id) for session_id in (anne, ben)]
    assert [person and person.user_id for person in found] == [ANNE, BEN]


@pytest.mark.parametrize("guess", ["", "x", "../../etc/passwd", "A" * 43, "ä" * 43, "\x00" * 43])
def test_a_guessed_cookie_finds_nobody(sessions: Sessions, guess: str) -> None:
    enter(sessions)
    assert sessions.find(guess) is None


def test_every_sign_in_gets_a_new_id(sessions: Sessions) -> None:
    assert enter(sessions) != enter(sessions)


def test_a_token_is_renewed_before_it_ends(sessions: Sessions, accounts: FakeAccounts, clock: Clock) -> None:
    person = sessions.find(enter(sessions))
    assert person is not None
    first = person.token()
    assert person.token() == first
    clock.wait(TOKEN_SECONDS - 60)
    assert person.token() != first
    assert accounts.refreshes == 1


def test_two_tabs_spend_the_refresh_token_once(
    sessions: Sessions, accounts: FakeAccounts, clock: Clock
) -> None:
    session_id = enter(sessions)
    clock.wait(TOKEN_SECONDS)
    barrier = threading.Barrier(8)
    tokens: list[str] = []

    def tab() -> None:
        person = sessions.find(session_id)
        assert person is not None
        barrier.wait(10)
        tokens.append(person.token())

    threads = [threading.Thread(target=tab) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(tokens) == 8
    assert len(set(tokens)) == 1
    assert accounts.refreshes == 1


def test_a_restart_of_the_app_signs_nobody_out(
    sessions: Sessions, accounts: FakeAccounts, folder: Path, clock: Clock
) -> None:
    session_id = enter(sessions)
    clock.wait(TOKEN_SECONDS)
    person = sessions.find(session_id)
    assert person is not None
    token = person.token()
    restarted = again(sessions, accounts, folder, clock).find(session_id)
    assert restarted is not None
    assert (restarted.user_id, restarted.email, restarted.token()) == (ANNE, "anne@studio.test", token)


def test_a_copy_of_the_disk_holds_no_usable_session(sessions: Sessions, folder: Path) -> None:
    session_id = enter(sessions)
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    content = file.read_bytes()
    for hidden in (session_id, "anne", "access-1", "refresh-1", ANNE):
        assert hidden.encode() not in content
        assert hidden not in file.name


def test_a_file_opens_with_its_own_cookie_alone(
    sessions: Sessions, accounts: FakeAccounts, folder: Path, clock: Clock
) -> None:
    anne, ben = enter(sessions), enter(sessions, "ben")
    files = {sealed.name: sealed for sealed in folder.iterdir()}
    of_anne = files[sealed_name(anne)]
    of_anne.write_bytes(files[sealed_name(ben)].read_bytes())
    assert again(sessions, accounts, folder, clock).find(anne) is None


@pytest.mark.parametrize("content", [b"", b"x", b"\x00" * 200])
def test_a_damaged_file_is_a_sign_out_and_no_crash(
    sessions: Sessions, accounts: FakeAccounts, folder: Path, clock: Clock, content: bytes
) -> None:
    session_id = enter(sessions)
    next(folder.iterdir()).write_bytes(content)
    assert again(sessions, accounts, folder, clock).find(session_id) is None


def test_signing_out_ends_the_session_in_every_tab_and_on_disk(
    sessions: Sessions, accounts: FakeAccounts, folder: Path, clock: Clock
) -> None:
    session_id = enter(sessions)
    tab = sessions.find(session_id)
    assert tab is not None
    sessions.end(session_id)
    sessions.end(session_id)
    assert tab.ended
    with pytest.raises(SignedOut):
        tab.token()
    assert sessions.find(session_id) is None
    assert again(sessions, accounts, folder, clock).find(session_id) is None
    assert accounts.signed_out == [("anne@studio.test", False)]
    assert not list(folder.iterdir())


def test_signing_out_works_while_the_project_is_away(sessions: Sessions, accounts: FakeAccounts) -> None:
    session_id = enter(sessions)
    accounts.away = True
    sessions.end(session_id)
    assert sessions.find(session_id) is None


def test_a_sign_out_during_a_renewal_stays_one(
    sessions: Sessions, accounts: FakeAccounts, folder: Path, clock: Clock
) -> None:
    session_id = enter(sessions)
    person = sessions.find(session_id)
    assert person is not None
    clock.wait(TOKEN_SECONDS)
    accounts.during_refresh = person.end
    with pytest.raises(SignedOut):
        person.token()
    assert not list(folder.iterdir())


def test_what_the_project_ends_is_ended_here(
    sessions: Sessions, accounts: FakeAccounts, folder: Path, clock: Clock
) -> None:
    session_id = enter(sessions)
    person = sessions.find(session_id)
    assert person is not None
    accounts.good.clear()
    clock.wait(TOKEN_SECONDS)
    with pytest.raises(SignedOut):
        person.token()
    assert person.ended
    assert sessions.find(session_id) is None
    assert not list(folder.iterdir())


def test_a_project_that_is_away_signs_nobody_out(
    sessions: Sessions, accounts: FakeAccounts, clock: Clock
) -> None:
    session_id = enter(sessions)
    person = sessions.find(session_id)
    assert person is not None
    token = person.token()
    accounts.away = True
    clock.wait(TOKEN_SECONDS - 60)
    assert person.token() == token, "the old token is still good"
    clock.wait(60)
    for _ in range(20):
        with pytest.raises(Unavailable):
            person.token()
    assert accounts.refreshes <= 2, "it is not asked at every call"
    accounts.away = False
    clock.wait(10)
    assert person.token() != token
    assert sessions.find(session_id) is person


def test_a_doubted_token_is_renewed_but_not_again_and_again(
    sessions: Sessions, accounts: FakeAccounts, clock: Clock
) -> None:
    person = sessions.find(enter(sessions))
    assert person is not None
    for _ in range(5):
        person.doubt()
        person.token()
    assert accounts.refreshes == 1
    clock.wait(120)
    person.doubt()
    person.token()
    assert accounts.refreshes == 2


def test_a_session_that_nobody_uses_ends(
    sessions: Sessions, accounts: FakeAccounts, folder: Path, clock: Clock
) -> None:
    session_id = enter(sessions)
    clock.wait(IDLE_SECONDS - 60)
    assert sessions.find(session_id) is not None
    clock.wait(IDLE_SECONDS - 60)
    restarted = again(sessions, accounts, folder, clock)
    assert restarted.find(session_id) is not None
    clock.wait(IDLE_SECONDS + 60)
    assert restarted.find(session_id) is None
    again(sessions, accounts, folder, clock)
    assert not list(folder.iterdir())


def test_no_use_makes_a_session_live_for_ever(sessions: Sessions, clock: Clock) -> None:
    session_id = enter(sessions)
    person = sessions.find(session_id)
    assert person is not None
    for _ in range(9):
        clock.wait(LIFE_SECONDS / 10)
        assert sessions.find(session_id) is person
        assert person.token()
    clock.wait(LIFE_SECONDS / 10 + 1)
    assert person.ended
    with pytest.raises(SignedOut):
        person.token()
    assert sessions.find(session_id) is None


def test_a_new_password_ends_every_other_session(sessions: Sessions, accounts: FakeAccounts) -> None:
    stolen, ben = enter(sessions), enter(sessions, "ben")
    _, person = sessions.set_password("new", token_hash="link-1")
    assert person.user_id == ANNE
    assert sessions.find(stolen) is None
    assert sessions.find(ben) is not None
    assert ("anne@studio.test", True) in accounts.signed_out


def test_too_weak_a_password_does_not_spend_the_link(sessions: Sessions) -> None:
    with pytest.raises(NotAllowed):
        sessions.set_password("weak", token_hash="link-1")
    sessions.set_password("strong", token_hash="link-1")
    with pytest.raises(Forbidden):
        sessions.set_password("strong again", token_hash="link-1")


def test_whether_the_door_is_open_is_asked_now_and_then(
    sessions: Sessions, accounts: FakeAccounts, clock: Clock
) -> None:
    assert sessions.sign_up_is_open()
    accounts.away = True
    assert sessions.sign_up_is_open()
    clock.wait(60)
    assert not sessions.sign_up_is_open()


def test_sessions_that_nobody_uses_leave_the_memory_but_a_tab_keeps_its_own(
    sessions: Sessions, clock: Clock
) -> None:
    """Two objects for one session would race for its refresh token."""
    held, gone = enter(sessions), enter(sessions, "ben")
    tab = sessions.find(held)
    sessions.find(gone)
    clock.wait(MEMORY_SECONDS + 1)
    enter(sessions)
    sessions.find(enter(sessions))
    gc.collect()
    assert sealed_name(gone) not in sessions._by_name
    assert sessions.find(held) is tab
    back = sessions.find(gone)
    assert back is not None
    assert back.user_id == BEN


def test_what_is_kept_in_a_session_is_made_once_and_for_it_alone(sessions: Sessions) -> None:
    anne, ben = (sessions.find(enter(sessions, name)) for name in ("anne", "ben"))
    assert anne is not None
    assert ben is not None
    first = anne.keep_once("view", object)
    assert anne.keep_once("view", object) is first
    assert ben.keep_once("view", object) is not first


class View:
    """What a route keeps in a session. Whatever closes it holds the session, as connections do for their tokens."""

    def __init__(self, session: SignedIn, closed: list[str]) -> None:
        finalize(self, lambda: closed.append(session.email))


@pytest.mark.parametrize("how", ["signed out", "unused", "ended by the project"])
def test_what_is_kept_goes_with_the_session(
    sessions: Sessions, accounts: FakeAccounts, clock: Clock, how: str
) -> None:
    session_id, anne = sessions.sign_in("anne@studio.test", "anne")
    closed: list[str] = []
    anne.keep_once("view", lambda: View(anne, closed))
    if how == "signed out":
        sessions.end(session_id.reveal())
    elif how == "unused":
        clock.wait(MEMORY_SECONDS + 1)
        sessions.find(sessions.sign_in("ben@studio.test", "ben")[0].reveal())
    else:
        accounts.good.clear()
        clock.wait(TOKEN_SECONDS)
        with pytest.raises(SignedOut):
            anne.token()
    gc.collect()
    assert closed == ["anne@studio.test"]


def test_nothing_is_kept_in_a_session_that_has_ended(sessions: Sessions) -> None:
    _, anne = sessions.sign_in("anne@studio.test", "anne")
    anne.end()
    with pytest.raises(SignedOut):
        anne.keep_once("view", object)


def test_attempts_come_back_with_time(clock: Clock) -> None:
    limit = AttemptLimit(most=3, seconds=60, now=clock)
    for _ in range(3):
        limit.spend("a")
    with pytest.raises(TooOften, match="Wait 1 minute"):
        limit.spend("a")
    limit.spend("b")
    clock.wait(60)
    limit.spend("a")


def test_a_try_that_went_well_does_not_count(clock: Clock) -> None:
    limit = AttemptLimit(most=1, seconds=60, now=clock)
    for _ in range(5):
        limit.spend("a")
        limit.give_back("a")


def test_the_memory_for_attempts_is_bounded(clock: Clock) -> None:
    limit = AttemptLimit(most=1, seconds=60, now=clock)
    for number in range(MAX_KEYS + 100):
        limit.spend(str(number))
    assert len(limit._tries) == MAX_KEYS
