"""The command line in a team: who works, runners in and out, a job handed out, the project set up."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lora_core.actions.datasets import upload_dataset
from lora_core.cli import app
from lora_core.secrets import token_sha256
from lora_core.settings import Settings
from lora_core.studio import TeamStudio
from tests.lora_core.actions.scenes import ROW, checked
from tests.supastub.rig import Person, Project

Command = Callable[..., Result]


@pytest.fixture
def run(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LORA_STUDIO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LORA_STUDIO_REFRESH_SECONDS", "0.1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def invoke(*words: object) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)

    return invoke


@pytest.fixture
def ada(project: Project, monkeypatch: pytest.MonkeyPatch) -> Person:
    """A person whose e-mail address and password are in the environment."""
    person = project.add_person(email="ada@example.org")
    monkeypatch.setenv("LORA_STUDIO_EMAIL", person.email)
    monkeypatch.setenv("LORA_STUDIO_PASSWORD", person.password)
    return person


def environment_of(command: str) -> dict[str, str]:
    exports = [line for line in command.splitlines() if line.startswith("export ")]
    return dict(shlex.split(line)[1].split("=", 1) for line in exports)


class TestWhoWorks:
    def test_a_team_asks_who_one_is(self, run: Command) -> None:
        result = run("list")
        assert result.exit_code == 1
        assert "ConfigError: This studio is a team's: say who you are." in result.stderr

    def test_without_a_terminal_the_password_must_be_in_the_environment(self, run: Command) -> None:
        result = run("--email", "ada@example.org", "list")
        assert (result.exit_code, "Set LORA_STUDIO_PASSWORD" in result.stderr) == (1, True)

    def test_a_wrong_password_is_one_sentence(
        self, run: Command, ada: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LORA_STUDIO_PASSWORD", "wrong")
        result = run("list")
        assert result.exit_code == 1
        assert "E-mail and password do not belong together." in result.stderr

    def test_the_option_wins_over_the_environment(self, run: Command, ada: Person, project: Project) -> None:
        bob = project.add_person(email="bob@example.org")
        assert run("register-runner", "box").exit_code == 0
        assert "box" in run("runners").stdout
        assert bob.password == ada.password
        assert "box" not in run("--email", bob.email, "runners").stdout

    def test_it_signs_out_when_the_command_ends(self, run: Command, ada: Person, project: Project) -> None:
        before = project.sql("select count(*) as n from auth.sessions")
        assert run("list").exit_code == 0
        assert project.sql("select count(*) as n from auth.sessions") == before

    def test_a_project_that_is_away_is_one_sentence(
        self, run: Command, ada: Person, project: Project
    ) -> None:
        project.stop_gateway()
        try:
            result = run("list")
        finally:
            project.start_gateway()
        assert (result.exit_code, result.stderr.startswith("Unavailable: ")) == (1, True)


class TestJobs:
    def test_the_usual_commands_work_in_a_team(self, run: Command, ada: Person) -> None:
        job_id = submitted(run, ada)
        assert "first" in run("list").stdout
        assert "first: paused." in run("pause", job_id[:8]).stdout
        assert "first: queued." in run("resume", job_id).stdout
        assert "first: cancelled." in run("cancel", job_id).stdout
        assert "first: cancelled" in run("watch", job_id).stdout

    def test_jobs_of_others_are_not_found(self, run: Command, ada: Person, project: Project) -> None:
        job_id = submitted(run, ada)
        bob = project.add_person(email="bob@example.org")
        assert "No jobs yet" in run("--email", bob.email, "list").stdout
        assert run("--email", bob.email, "cancel", job_id).exit_code == 1

    def test_a_job_is_handed_out_with_a_token_for_it_alone(
        self, run: Command, ada: Person, project: Project
    ) -> None:
        job_id = submitted(run, ada)
        result = run("hand-out", job_id[:8], "--wait-minutes", 1)
        assert result.exit_code == 0, result.stderr
        environment = environment_of(result.stdout)
        token = environment.pop("LORA_STUDIO_JOB_TOKEN")
        assert environment == project.environment()
        assert result.stdout.endswith("\npython -m runner --job\n")
        (row,) = project.sql("select job_id, encode(token_sha256, 'hex') as sha from private.job_tokens")
        assert (str(row["job_id"]), row["sha"]) == (job_id, token_sha256(token))
        again = run("hand-out", job_id)
        assert (again.exit_code, "only a queued job" in again.stderr) == (1, True)


class TestRunners:
    def test_the_command_for_the_machine_is_all_that_goes_to_standard_output(
        self, run: Command, ada: Person, project: Project
    ) -> None:
        result = run("register-runner", "gpu-box")
        environment = environment_of(result.stdout)
        token = environment.pop("LORA_STUDIO_RUNNER_TOKEN")
        assert environment == project.environment()
        assert len(result.stdout.splitlines()) == 4
        (row,) = project.sql("select encode(token_sha256, 'hex') as sha from private.runner_tokens")
        assert row["sha"] == token_sha256(token)
        assert "not seen yet" in run("runners").stdout

    def test_only_the_operator_registers_for_the_team(
        self, run: Command, ada: Person, project: Project
    ) -> None:
        result = run("register-runner", "shared", "--team")
        assert (result.exit_code, "Only the operator" in result.stderr) == (1, True)
        olga = project.add_person(email="olga@example.org", operator=True)
        assert run("--email", olga.email, "register-runner", "shared", "--team").exit_code == 0
        assert project.sql("select scope from public.runner_registrations") == [{"scope": "team"}]

    def test_a_runner_is_revoked_by_name_or_id(self, run: Command, ada: Person, project: Project) -> None:
        run("register-runner", "gpu-box")
        assert "Revoked gpu-box." in run("revoke-runner", "gpu-box", "--yes").stdout
        assert not project.sql("select * from private.runner_tokens")
        assert "You have no runner" in run("revoke-runner", "gpu-box", "--yes").stderr

    def test_two_of_a_name_are_told_apart_by_id(self, run: Command, ada: Person, project: Project) -> None:
        run("register-runner", "box")
        run("register-runner", "box")
        assert "2 runners are called 'box'" in run("revoke-runner", "box", "--yes").stderr
        first = project.sql("select id from public.runner_registrations order by id")[0]["id"]
        assert run("revoke-runner", str(first)[:13], "--yes").exit_code == 0

    def test_revoking_asks_first(self, run: Command, ada: Person, project: Project) -> None:
        run("register-runner", "gpu-box")
        assert run("revoke-runner", "gpu-box").exit_code != 0
        assert project.sql("select * from private.runner_tokens")


class TestSetUp:
    def test_the_operator_is_made_and_can_work(
        self, run: Command, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SUPABASE_SECRET_KEY", project.secret_key)
        monkeypatch.setenv("LORA_STUDIO_PASSWORD", "correct horse")
        first = run("set-up-team", "Olga@Example.org")
        assert "olga@example.org is the operator." in first.stdout
        assert project.secret_key not in first.output
        assert "already" in run("set-up-team", "olga@example.org").stdout
        monkeypatch.delenv("SUPABASE_SECRET_KEY")
        assert run("--email", "olga@example.org", "register-runner", "shared", "--team").exit_code == 0

    def test_it_needs_the_secret_key_and_a_project(
        self, run: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "needs SUPABASE_SECRET_KEY" in run("set-up-team", "olga@example.org").stderr
        monkeypatch.delenv("SUPABASE_URL")
        monkeypatch.delenv("SUPABASE_PUBLISHABLE_KEY")
        assert "There is no project." in run("set-up-team", "olga@example.org").stderr


class TestDoctor:
    def test_it_looks_at_the_project(self, run: Command, ada: Person) -> None:
        result = run("doctor")
        assert "publishable" in result.stdout
        assert "within" in result.stdout
        assert "50 MB a file on the Free plan" in result.stdout

    def test_a_project_that_is_away_is_an_error(self, run: Command, project: Project) -> None:
        project.stop_gateway()
        try:
            result = run("doctor")
        finally:
            project.start_gateway()
        assert result.exit_code == 1
        assert "cannot be reached" in result.stdout

    def test_a_runner_token_is_tried(
        self, run: Command, ada: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = environment_of(run("register-runner", "gpu-box").stdout)["LORA_STUDIO_RUNNER_TOKEN"]
        monkeypatch.setenv("LORA_STUDIO_RUNNER_TOKEN", token)
        good = run("doctor").stdout
        assert "good: gpu-box, for its owner's jobs" in good
        assert token not in good
        run("revoke-runner", "gpu-box", "--yes")
        bad = run("doctor")
        assert (bad.exit_code, "not valid (any more)" in bad.stdout) == (1, True)


class TestEmbedded:
    @pytest.fixture
    def run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
        monkeypatch.setenv("LORA_STUDIO_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("COLUMNS", "200")
        return lambda *words: CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)

    def test_it_needs_no_tokens(self, run: Command) -> None:
        for command in (("register-runner", "box"), ("revoke-runner", "box", "--yes")):
            assert run(*command).exit_code == 1
        assert "need no token" in run("register-runner", "box").stderr
        assert "No runners yet." in run("runners").stdout


def submitted(run: Command, person: Person) -> str:
    """Upload a file, check it as a runner would, and submit a job on it."""
    studio = TeamStudio(Settings())
    _, signed_in = studio.sessions.sign_in(person.email, person.password)
    workspace = studio.workspace(signed_in)
    dataset = checked(workspace, upload_dataset(workspace, "rows.jsonl", iter([ROW * 3])))
    signed_in.end()
    studio.close()
    result = run("submit", dataset.id, "--preset", "quick-check", "--name", "first")
    assert result.exit_code == 0, result.stderr
    return result.stdout.strip()
