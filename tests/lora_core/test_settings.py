"""What the machine's owner sets, and what follows from it."""

from pathlib import Path

import pytest

from lora_core.errors import ConfigError
from lora_core.settings import Settings

TEAM = {"supabase_url": "https://x.supabase.co", "supabase_key": "sb_publishable_x"}


def test_a_home_is_a_root_of_models_in_the_embedded_mode_only() -> None:
    assert Settings().model_roots == (Path("~"),)
    assert Settings(**TEAM).model_roots == ()


def test_a_teams_machine_may_name_roots_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_STUDIO_MODEL_ROOTS", '["/models"]')
    assert Settings(**TEAM).model_roots == (Path("/models"),)


def test_a_project_needs_address_and_key() -> None:
    with pytest.raises(ConfigError, match="SUPABASE_PUBLISHABLE_KEY"):
        Settings(supabase_url="https://x.supabase.co")


def test_a_secret_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="secret key"):
        Settings(supabase_url="https://x.supabase.co", supabase_key="sb_secret_x")
