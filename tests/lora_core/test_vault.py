"""Secrets at rest open for their own row and owner, with their own key, and not otherwise."""

import base64
import secrets
import stat
from pathlib import Path

import pytest

from lora_core.errors import ConfigError
from lora_core.secrets import Secret
from lora_core.settings import Settings
from lora_core.vault import KEY_FILE, Seal, Sealed, Unreadable, Vault, has_key, open_vault

SEAL = Seal("notification route", owner="ada", row="1")
OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)


def sealed_by(*keys: bytes) -> Sealed:
    return Vault(keys).seal(Secret("discord://1/2"), SEAL)


def test_a_value_opens_again() -> None:
    assert Vault([NEW]).open(sealed_by(NEW), SEAL).reveal() == "discord://1/2"


def test_the_same_value_never_looks_the_same() -> None:
    assert sealed_by(NEW).ciphertext != sealed_by(NEW).ciphertext


def test_the_newest_key_seals_and_the_older_still_opens() -> None:
    rotated = Vault([NEW, OLD])
    assert rotated.open(sealed_by(OLD), SEAL).reveal() == "discord://1/2"
    assert rotated.seal(Secret("x"), SEAL).key_id == sealed_by(NEW).key_id != sealed_by(OLD).key_id


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(Unreadable, match="a key that is not here"):
        Vault([NEW]).open(sealed_by(OLD), SEAL)
    with pytest.raises(Unreadable, match="damaged"):
        Vault([NEW]).open(Sealed(sealed_by(OLD).ciphertext, sealed_by(NEW).key_id), SEAL)


@pytest.mark.parametrize(
    "seal", [Seal(SEAL.purpose, "ben", "1"), Seal(SEAL.purpose, "ada", "2"), Seal("provider key", "ada", "1")]
)
def test_it_opens_for_no_other_owner_row_or_purpose(seal: Seal) -> None:
    with pytest.raises(Unreadable, match="belongs elsewhere"):
        Vault([NEW]).open(sealed_by(NEW), seal)


@pytest.mark.parametrize("place", [0, 11, 12, -1])
def test_a_changed_byte_is_noticed(place: int) -> None:
    sealed = sealed_by(NEW)
    content = bytearray(base64.b64decode(sealed.ciphertext))
    content[place] ^= 1
    with pytest.raises(Unreadable):
        Vault([NEW]).open(Sealed(base64.b64encode(content).decode(), sealed.key_id), SEAL)


@pytest.mark.parametrize("text", ["", "!", "AAAA", "é"])
def test_what_is_no_ciphertext_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        Vault([NEW]).open(Sealed(text, sealed_by(NEW).key_id), SEAL)


def test_the_embedded_studio_makes_itself_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    sealed = open_vault(settings).seal(Secret("x"), SEAL)
    assert stat.S_IMODE((tmp_path / "home" / KEY_FILE).stat().st_mode) == 0o600
    assert open_vault(settings).open(sealed, SEAL).reveal() == "x"
    assert [file.name for file in (tmp_path / "home").iterdir()] == [KEY_FILE]


def test_a_team_never_falls_back_to_a_file(tmp_path: Path) -> None:
    team = Settings(home=tmp_path, supabase_url="http://127.0.0.1:1", supabase_key="sb_publishable_x")
    assert not has_key(team)
    with pytest.raises(ConfigError, match="LORA_STUDIO_ENCRYPTION_KEY is not set"):
        open_vault(team)
    assert list(tmp_path.iterdir()) == []


def test_keys_come_from_the_environment_the_newest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ",".join(base64.b64encode(key).decode() for key in (NEW, OLD))
    monkeypatch.setenv("LORA_STUDIO_ENCRYPTION_KEY", both)
    vault = open_vault(Settings(home=tmp_path))
    assert vault.key_ids == Vault([NEW, OLD]).key_ids
    assert vault.open(sealed_by(OLD), SEAL).reveal() == "discord://1/2"


def test_a_bad_key_is_told_without_repeating_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_STUDIO_ENCRYPTION_KEY", "hunter2")
    with pytest.raises(ConfigError, match="LORA_STUDIO_ENCRYPTION_KEY") as caught:
        open_vault(Settings(home=tmp_path))
    assert "hunter2" not in str(caught.value)
