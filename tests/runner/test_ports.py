"""Which store a runner works with, by its settings. Nothing is called."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from lora_core.errors import ConfigError
from lora_core.settings import Settings
from runner.cadence import FAR, NEAR
from runner.machine import Identity
from runner.ports import TEAM_LEASE_SECONDS, Ports, open_ports

TEAM = {"supabase_url": "https://abc.supabase.co", "supabase_key": "sb_publishable_x"}
TOKEN = {"runner_token": SecretStr("lsr_x")}


def opened(home: Path, *, job: bool = False, **values: Any) -> Ports:
    ports = open_ports(Settings(home=home, **values), job=job)
    ports.close()
    return ports


def test_without_a_project_it_is_the_database_beside_the_runner(tmp_path: Path) -> None:
    ports = opened(tmp_path)
    assert (ports.cadence, ports.settings.lease_seconds, ports.tasks is None) == (NEAR, 30.0, False)


def test_a_team_is_asked_less_often_and_its_leases_last_through_an_absence(tmp_path: Path) -> None:
    ports = opened(tmp_path, **TEAM, **TOKEN)
    assert (ports.cadence, ports.settings.lease_seconds) == (FAR, TEAM_LEASE_SECONDS)
    assert opened(tmp_path, **TEAM, **TOKEN, lease_seconds=45).settings.lease_seconds == 45


def test_a_pod_does_no_tasks(tmp_path: Path) -> None:
    assert opened(tmp_path, job=True, **TEAM, job_token=SecretStr("lsj_x")).tasks is None


@pytest.mark.parametrize(
    ("values", "job", "words"),
    [
        (TEAM, False, "LORA_STUDIO_RUNNER_TOKEN"),
        (TEAM, True, "LORA_STUDIO_JOB_TOKEN"),
        ({}, True, "SUPABASE_URL"),
        ({**TEAM, **TOKEN}, True, "LORA_STUDIO_JOB_TOKEN"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, values: dict[str, Any], job: bool, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        open_ports(Settings(home=tmp_path, **values), job=job)


def test_every_token_has_an_identity_of_its_own(tmp_path: Path) -> None:
    folders = {
        opened(tmp_path, **TEAM, **TOKEN).identities,
        opened(tmp_path, **TEAM, runner_token=SecretStr("lsr_y")).identities,
        opened(tmp_path).identities,
    }
    assert len(folders) == 3
    assert not [folder for folder in folders if "lsr_" in str(folder)]


def test_a_pod_keeps_its_id_whatever_it_is_called_after_a_restart(tmp_path: Path) -> None:
    first = Identity(tmp_path, "a3f1", alone=True)
    first.release()
    second = Identity(tmp_path, "77b2", alone=True)
    second.release()
    assert (first.id, second.name) == (second.id, "77b2")
