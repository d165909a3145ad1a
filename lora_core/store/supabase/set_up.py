"""The operator's set-up of a project. The only code that touches the secret key, which passes every policy: no page, no runner
and no action imports this. It makes the first account and says that it is the operator's; repeating it changes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lora_core.errors import ConfigError, Conflict, NotAllowed
from lora_core.schema.base import new_id
from lora_core.secrets import Secret, TokenKind, new_token, token_sha256
from lora_core.settings import KeyKind, key_kind
from lora_core.store.supabase.about import Project, check_version
from lora_core.store.supabase.auth import ROLE_CLAIM

SECRET_KEY = "SUPABASE_SECRET_KEY"  # noqa: S105 - a variable's name
LEAST_PASSWORD, MOST_PASSWORD_BYTES = 8, 72
"""The admin interface takes any password, so its length is checked here; bcrypt reads no more bytes."""

PAGE_PEOPLE = 200
MOST_PAGES = 100


@dataclass(frozen=True)
class SetUp:
    """What the set-up found and did.

    Attributes:
        created: Whether the account was made now; else it was there and its password is as it was.
        promoted: Whether an account that was there became the operator's now.
    """

    version: str
    operator_id: str
    email: str
    created: bool
    promoted: bool


def read_secret_key(environment: Mapping[str, str]) -> Secret:
    """Take the secret key from the environment.

    Raises:
        ConfigError: There is none, or it is another kind of key.
    """
    key = environment.get(SECRET_KEY, "").strip()
    if not key:
        raise ConfigError(
            f"The set-up needs {SECRET_KEY}.",
            "Copy it from the project's settings (API keys, secret keys) into this shell only; nothing else needs it.",
        )
    if key_kind(key) is not KeyKind.SECRET:
        raise ConfigError(f"{SECRET_KEY} holds a {key_kind(key).value} key.", "It begins with sb_secret_.")
    return Secret(key)


def set_up_team(url: str, secret_key: Secret, email: str, ask_password: Callable[[], Secret]) -> SetUp:
    """Check that the migrations are there, and make the operator's account, or make an account the operator's.

    Args:
        email: The operator's address, in lower case.
        ask_password: Called for a new account only; one that exists keeps its own.

    Raises:
        NotFound: The migrations are not applied.
        ConfigError: They are older or newer than this code.
        SignedOut: The key is not this project's.
        NotAllowed: The password is too short or too long.
    """
    project = Project(url, secret_key.reveal())
    try:
        version = project.about().version
        check_version(version)
        known = _find_person(project, email)
        if known is None:
            operator_id = _create(project, email, ask_password())
            return SetUp(version, operator_id, email, created=True, promoted=True)
        is_operator = (known.get("app_metadata") or {}).get("role") == ROLE_CLAIM
        if not is_operator:
            project.request(
                "PUT", f"/auth/v1/admin/users/{known['id']}", {"app_metadata": {"role": ROLE_CLAIM}}
            )
        return SetUp(version, str(known["id"]), email, created=False, promoted=not is_operator)
    finally:
        project.close()


def _find_person(project: Project, email: str) -> dict[str, Any] | None:
    """Look through all accounts, page by page: the admin interface has no search by address."""
    for page in range(1, MOST_PAGES + 1):
        answer = project.request("GET", f"/auth/v1/admin/users?page={page}&per_page={PAGE_PEOPLE}")
        people: list[dict[str, Any]] = answer["users"]
        for person in people:
            if str(person.get("email") or "").lower() == email:
                return person
        if len(people) < PAGE_PEOPLE:
            return None
    raise Conflict(f"The project has more than {MOST_PAGES * PAGE_PEOPLE:,} accounts.")


def _create(project: Project, email: str, password: Secret) -> str:
    """Make the account. The trigger on accounts asks for an invitation here too, so there is one for a moment."""
    if len(password.reveal()) < LEAST_PASSWORD or len(password.reveal().encode()) > MOST_PASSWORD_BYTES:
        raise NotAllowed(
            f"The operator's password has {LEAST_PASSWORD} characters at least and {MOST_PASSWORD_BYTES} at most."
        )
    code = new_token(TokenKind.INVITATION)
    invitation = {
        "p_id": new_id(),
        "p_email": email,
        "p_code_sha256": token_sha256(code.reveal()),
        "p_valid_days": 1,
    }
    project.call("setup_invite", invitation)
    account = {
        "email": email,
        "password": password.reveal(),
        "email_confirm": True,
        "user_metadata": {"invitation": code.reveal()},
        "app_metadata": {"role": ROLE_CLAIM},
    }
    return str(project.request("POST", "/auth/v1/admin/users", account)["id"])
