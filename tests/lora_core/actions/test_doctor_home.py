"""What the doctor says about the home: each fault is found, each finding says what to do, and nothing is changed by looking."""

import base64
import fcntl
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from lora_core.actions import doctor_home
from lora_core.actions.doctor_home import examine_home
from lora_core.actions.findings import Finding
from lora_core.actions.notification_routes import add_route
from lora_core.schema.base import new_id
from lora_core.settings import Settings
from lora_core.store.local.migrations import newest_schema
from lora_core.studio import Studio
from lora_core.vault import KEY_FILE
from tests.contracts.samples import artifact_of, folder_of
from tests.lora_core.actions.scenes import RUNNER, submitted

KEY = base64.b64encode(bytes(32)).decode()
OTHER_KEY = base64.b64encode(bytes([1]) * 32).decode()
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def found(settings: Settings) -> dict[str, Finding]:
    findings = examine_home(settings)
    assert all(finding.next_step for finding in findings if finding.level != "ok")
    return {finding.what: finding for finding in findings}


def with_route(settings: Settings) -> None:
    with closing(Studio(settings)) as studio:
        add_route(studio.workspace(), "Hook", "json://example.org/s3cr3t")


def given(settings: Settings, key: str) -> Settings:
    return settings.model_copy(update={"encryption_key": SecretStr(key)})


def test_a_home_that_is_not_there_is_fine_and_stays_so(settings: Settings) -> None:
    assert {finding.level for finding in examine_home(settings)} <= {"ok", "warning"}
    assert "made at the first start" in found(settings)["Database"].found
    assert found(settings)["Encryption key"].found == "none needed yet"
    assert not settings.root.exists()


class TestDatabase:
    @pytest.mark.parametrize(
        ("version", "level", "words"),
        [(0, "ok", "the newest"), (-1, "warning", "this version has"), (1, "error", "at most")],
    )
    def test_its_schema_is_told_and_left_alone(
        self, settings: Settings, version: int, level: str, words: str
    ) -> None:
        Studio(settings).close()
        number = newest_schema() + version
        with closing(sqlite3.connect(settings.database)) as connection:
            connection.execute(f"PRAGMA user_version = {number}")
        finding = found(settings)["Database"]
        assert (finding.level, words in finding.found, f"schema {number}" in finding.found) == (
            level,
            True,
            True,
        )
        with closing(sqlite3.connect(settings.database)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone()[0] == number

    def test_a_damaged_one_is_told(self, settings: Settings) -> None:
        settings.root.mkdir()
        settings.database.write_bytes(b"no database at all, and long enough to be looked at" * 100)
        assert "damaged" in found(settings)["Database"].found


class TestKey:
    def test_one_that_opens_what_is_stored_is_good(self, settings: Settings) -> None:
        with_route(settings)
        finding = found(settings)["Encryption key"]
        assert (finding.level, finding.found) == ("ok", f"in {KEY_FILE}, opens 1 notification address")

    def test_a_lost_one_is_told_where_something_is_stored(self, settings: Settings) -> None:
        with_route(settings)
        (settings.root / KEY_FILE).unlink()
        finding = found(settings)["Encryption key"]
        assert (finding.level, "none, but 1 notification address" in finding.found) == ("error", True)
        assert "to what it was" in finding.next_step
        assert not (settings.root / KEY_FILE).exists()

    def test_another_one_than_what_is_stored_needs_is_told(self, settings: Settings) -> None:
        with_route(given(settings, KEY))
        assert found(given(settings, KEY))["Encryption key"].level == "ok"
        finding = found(given(settings, OTHER_KEY))["Encryption key"]
        assert (finding.level, finding.found) == ("error", "opens all but 1 of 1 notification address")
        assert found(given(settings, f"{OTHER_KEY},{KEY}"))["Encryption key"].level == "ok"

    def test_what_is_no_key_is_told_without_repeating_it(self, settings: Settings) -> None:
        finding = found(given(settings, "not-a-key-at-all"))["Encryption key"]
        assert (finding.level, "not-a-key" in str(finding)) == ("error", False)

    def test_a_team_needs_one(self, tmp_path: Path) -> None:
        team = Settings(
            home=tmp_path, supabase_url="https://x.example.org", supabase_key="sb_publishable_abc"
        )
        assert found(team)["Encryption key"].level == "warning"
        assert found(given(team, KEY))["Encryption key"].found == "given, valid"


class TestDisk:
    @pytest.mark.parametrize(
        ("free_gb", "level"), [(100.0, "ok"), (4.0, "warning"), (1e-7, "error")], ids=str
    )
    def test_there_is_room_for_a_checkpoint_like_the_largest(
        self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_gb: float, level: str
    ) -> None:
        with closing(Studio(settings)) as studio:
            submitted(studio.workspace())
            port = studio.runner_port()
            claim = port.claim(RUNNER, lease_seconds=60)
            assert claim is not None
            folder = folder_of(tmp_path, {"adapter.safetensors": b"x" * 1000})
            port.put_artifact(claim.attempt, artifact_of(claim), folder)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, int(free_gb * 1e9)))
        assert found(settings)["Disk"].level == level


class TestRuns:
    @pytest.fixture
    def folder(self, settings: Settings) -> Path:
        """The run folder of an attempt that a runner holds."""
        with closing(Studio(settings)) as studio:
            job = submitted(studio.workspace())
            claim = studio.runner_port().claim(RUNNER, lease_seconds=60)
            assert claim is not None
        folder = settings.runs / job.id / "1"
        folder.mkdir(parents=True)
        (folder / "claim.json").write_text(claim.model_dump_json())
        return folder

    def test_one_at_work_is_fine(self, settings: Settings, folder: Path) -> None:
        assert found(settings)["Run folders"].found == "1 at work, 0 kept"

    def test_one_of_an_attempt_that_is_over_is_left_over(self, settings: Settings, folder: Path) -> None:
        left = folder.rename(folder.with_name("7"))
        finding = found(settings)["Run folders"]
        assert (finding.level, finding.found) == (
            "warning",
            f"1 of attempts that ended elsewhere: runs/{folder.parent.name[:8]}…/7",
        )
        (left / "ended").write_text("failed")
        assert found(settings)["Run folders"].found == "0 at work, 1 kept"

    def test_a_claim_of_another_version_is_told_and_left(self, settings: Settings, folder: Path) -> None:
        claim = folder / "claim.json"
        later = json.dumps({**json.loads(claim.read_text()), "from_the_future": 1})
        claim.write_text(later)
        assert "newer version" in found(settings)["Run folders"].next_step
        assert claim.read_text() == later


class TestTrainers:
    @pytest.fixture
    def folder(self, settings: Settings) -> Iterator[Path]:
        """A run folder with a process that looks like a trainer."""
        folder = settings.runs / new_id() / "1"
        folder.mkdir(parents=True)
        waiting = "print(flush=True); import time; time.sleep(600)"
        command = [sys.executable, "-c", waiting, "runner.scripted", str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            yield folder
            process.send_signal(signal.SIGKILL)

    def test_one_without_a_runner_is_told(self, settings: Settings, folder: Path) -> None:
        finding = found(settings)["Trainers"]
        assert (finding.level, f"runs/{folder.parent.name[:8]}…/1" in finding.found) == ("warning", True)

    def test_one_with_a_runner_is_fine(self, settings: Settings, folder: Path) -> None:
        with (folder / "agent.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert found(settings)["Trainers"].level == "ok"

    def test_those_of_another_home_are_none_of_ours(self, folder: Path, tmp_path: Path) -> None:
        assert found(Settings(home=tmp_path / "other"))["Trainers"].level == "ok"


def test_a_home_that_cannot_be_written_to_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_home.os, "access", lambda *_: False)
    assert found(settings)["Home folder"].level == "error"
