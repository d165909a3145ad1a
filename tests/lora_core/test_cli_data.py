"""The commands about the whole studio say what they did, and their exit status tells scripts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lora_core.cli import app
from lora_core.settings import Settings
from lora_core.studio import Studio
from tests.lora_core.actions.scenes import claimed, submitted
from tests.supastub.fixtures import project, rig
from tests.supastub.rig import Project

__all__ = ["project", "rig"]
Command = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("LORA_STUDIO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    for name in ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "LORA_STUDIO_EMAIL", "LORA_STUDIO_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with one job that waits; nobody uses it."""
    studio = Studio(Settings(home=tmp_path / "home"))
    submitted(studio.workspace(), name="[b]waits[/b]")
    studio.close()
    return tmp_path / "home"


def test_a_backup_says_what_is_in_it_and_can_be_checked(run: Command, home: Path) -> None:
    made = run("backup", "copy")
    assert (made.exit_code, "1 data sets and 1 jobs are in copy (1 files," in made.stdout) == (0, True)
    checked = run("restore", "copy", "--check")
    assert (checked.exit_code, "is whole (2 files)" in checked.stdout) == (0, True)


def test_a_damaged_backup_fails_its_check(run: Command, home: Path, tmp_path: Path) -> None:
    run("backup", "copy")
    with (tmp_path / "copy" / "studio.sqlite3").open("ab") as file:
        file.write(b"x")
    result = run("restore", "copy", "--check")
    assert (result.exit_code, "studio.sqlite3 in the backup is damaged" in result.stderr) == (1, True)


def test_a_restore_asks_for_replace_and_keeps_the_old_studio(run: Command, home: Path) -> None:
    run("backup", "copy")
    refused = run("restore", "copy")
    assert (refused.exit_code, "--replace" in refused.stderr) == (1, True)
    done = run("restore", "copy", "--replace")
    assert done.exit_code == 0
    assert "The one that was there is in" in done.stdout
    assert "waits" in run("list").stdout


def test_a_restore_names_the_jobs_that_were_at_work(run: Command, home: Path) -> None:
    studio = Studio(Settings(home=home))
    claimed(studio)
    studio.close()
    run("backup", "copy")
    assert "[b]waits[/b]" in run("restore", "copy", "--replace").stdout


def test_a_dry_run_needs_no_team_and_counts(run: Command, home: Path) -> None:
    result = run("migrate-to-supabase", "--dry-run")
    assert result.exit_code == 0
    rows = {words[1]: words[3] for line in result.stdout.splitlines() if len(words := line.split()) > 3}
    assert rows["jobs"] == "1"
    assert "MB of files" in result.stdout


def test_a_live_job_is_named_and_fails_the_dry_run(run: Command, home: Path) -> None:
    studio = Studio(Settings(home=home))
    claimed(studio)
    result = run("migrate-to-supabase", "--dry-run")
    assert (result.exit_code, "Left here: job “[b]waits[/b]”: It is initializing." in result.stdout) == (
        1,
        True,
    )
    studio.close()


def test_without_a_team_there_is_nowhere_to_move_to(run: Command, home: Path) -> None:
    result = run("migrate-to-supabase")
    assert (result.exit_code, "Set SUPABASE_URL" in result.stderr) == (1, True)


def test_without_a_studio_there_is_nothing_to_move(run: Command) -> None:
    result = run("migrate-to-supabase")
    assert (result.exit_code, "There is no studio" in result.stderr) == (1, True)


def test_a_studio_moves_into_the_account_of_who_signs_in(
    run: Command, home: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = project.add_person(email="anne@studio.test")
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LORA_STUDIO_PASSWORD", person.password)
    done = run("migrate-to-supabase", "--email", person.email)
    assert (done.exit_code, "in the account of anne@studio.test" in done.stdout) == (0, True), done.output
    assert project.sql("select name, user_id::text, status from public.training_jobs") == [
        {"name": "[b]waits[/b]", "user_id": person.id, "status": "paused"}
    ]
    again = run("--email", person.email, "migrate-to-supabase", "--no-read-back")
    assert again.exit_code == 0
    monkeypatch.setenv("LORA_STUDIO_PASSWORD", "wrong")
    refused = run("migrate-to-supabase", "--email", person.email)
    assert (refused.exit_code, "do not belong together" in refused.stderr) == (1, True)
