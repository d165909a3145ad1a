"""The command line says what happened in one sentence, and its exit status tells scripts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lora_core.actions.configs import config_from_preset, config_from_yaml
from lora_core.cli import app
from lora_core.settings import Settings
from lora_core.studio import Studio
from tests.lora_core.actions.scenes import ROW, claimed, submitted

Command = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("LORA_STUDIO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(Settings(home=tmp_path / "home"))


def test_a_good_file_passes_the_check(run: Command, tmp_path: Path) -> None:
    (tmp_path / "good.jsonl").write_bytes(ROW)
    result = run("check-data", "good.jsonl")
    assert (result.exit_code, "1 rows: 1 good" in result.stdout) == (0, True)


def test_a_bad_row_fails_the_check_and_names_its_line(run: Command, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(ROW + b"{broken\n")
    result = run("check-data", "bad.jsonl", "--issues", "issues.jsonl")
    assert result.exit_code == 1
    assert "line 2:" in result.stdout
    assert '"line":2' in (tmp_path / "issues.jsonl").read_text().replace(" ", "")


def test_a_missing_file_is_one_sentence(run: Command) -> None:
    result = run("check-data", "nothing.jsonl")
    assert (result.exit_code, result.stderr) == (1, "NotFound: There is no file nothing.jsonl.\n")


def test_an_exported_config_reads_back_as_itself(run: Command) -> None:
    result = run("export-config", "quick-check", "--set", "adapter.rank=4")
    assert config_from_yaml(result.stdout) == config_from_preset("quick-check", ["adapter.rank=4"])


def test_export_without_a_name_lists_the_presets(run: Command) -> None:
    assert "memory-saver" in run("export-config").stdout


def test_an_unknown_preset_is_one_sentence(run: Command, tmp_path: Path) -> None:
    (tmp_path / "good.jsonl").write_bytes(ROW)
    result = run("submit", "good.jsonl", "--preset", "turbo")
    assert result.exit_code == 1
    assert "There is no preset 'turbo'" in result.stderr


def test_a_job_is_found_by_the_beginning_of_its_id(run: Command, studio: Studio) -> None:
    job = submitted(studio.workspace())
    assert "job: cancelled." in run("cancel", job.id[:6]).stdout
    assert "cancelled" in run("list").stdout


def test_an_unknown_job_says_how_to_find_one(run: Command) -> None:
    result = run("watch", "ffff")
    assert (result.exit_code, "`list` shows the ids" in result.stderr) == (1, True)


def test_watching_an_ended_job_returns_at_once(run: Command, studio: Studio) -> None:
    job = submitted(studio.workspace())
    run("cancel", job.id)
    assert "job: cancelled" in run("watch", job.id).stdout


def test_metrics_are_written_to_a_file(run: Command, studio: Studio, tmp_path: Path) -> None:
    job = submitted(studio.workspace())
    assert run("download", job.id, "--what", "metrics").stdout.strip() == "job-metrics.csv"
    assert (tmp_path / "job-metrics.csv").read_text().startswith("kind,step,attempt,recorded_at")


def test_a_job_without_adapter_has_none_to_download(run: Command, studio: Studio, tmp_path: Path) -> None:
    job = submitted(studio.workspace())
    claimed(studio)
    result = run("download", job.id)
    assert (result.exit_code, "has no adapter yet" in result.stderr) == (1, True)
    assert not list(tmp_path.glob("*.zip*"))


def test_the_doctor_names_what_it_looked_at(run: Command) -> None:
    result = run("doctor")
    assert result.exit_code == 0
    assert all(word in result.stdout for word in ("Python", "streamlit", "SQLite", "Disk", "Demo model"))
