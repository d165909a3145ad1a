"""Where the app listens, and what a team's launch passes on."""

from pathlib import Path

import pytest

from lora_core.errors import ConfigError
from lora_core.launch import app_command, refuse_open_door
from lora_core.settings import Settings
from lora_core.studio import Studio


def settings(tmp_path: Path, **more: object) -> Settings:
    return Settings(home=tmp_path, **more)  # type: ignore[arg-type]


def team(tmp_path: Path, **more: object) -> Settings:
    return settings(tmp_path, supabase_url="http://localhost:1", supabase_key="sb_publishable_x", **more)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "::", "studio.example.org", ""])
def test_without_sign_in_the_app_listens_on_its_own_machine_alone(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="Without sign-in"):
        refuse_open_door(settings(tmp_path), host)
    refuse_open_door(team(tmp_path), host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_is_its_own_machine(tmp_path: Path, host: str) -> None:
    refuse_open_door(settings(tmp_path), host)


def test_the_public_name_of_a_team_is_allowed_and_the_local_ones_stay(tmp_path: Path) -> None:
    command = app_command(team(tmp_path, public_url="https://studio.example.org"))
    names = [part.partition("=")[2] for part in command if part.startswith("--server.allowedHosts=")]
    assert names == ["localhost", "127.0.0.1", "::1", "studio.example.org"]


def test_without_a_public_name_the_files_settings_stay(tmp_path: Path) -> None:
    for chosen in (settings(tmp_path, public_url="https://studio.example.org"), team(tmp_path)):
        assert not [part for part in app_command(chosen) if "allowedHosts" in part]


def test_an_embedded_studio_does_not_open_beside_a_teams(tmp_path: Path) -> None:
    """Rows that a person makes for the team would otherwise land in a file on this machine, in silence."""
    with pytest.raises(ConfigError, match="set up for a team"):
        Studio(team(tmp_path))
    assert not (tmp_path / "studio.sqlite3").exists()


@pytest.mark.parametrize(
    "url", ["studio.example.org", "ftp://x.org", "https://x.org/path", "https://a b", "javascript:x"]
)
def test_a_public_address_is_scheme_and_host(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="public_url"):
        settings(tmp_path, public_url=url)
