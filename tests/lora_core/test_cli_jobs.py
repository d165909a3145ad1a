"""Commands that act on jobs: on several at once, each told in one line, and one that came too late says so."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lora_core.actions import jobs
from lora_core.cli_jobs import read_moment
from lora_core.errors import ConfigError, NotFound
from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.base import utc_now
from lora_core.schema.job import EndOfAttempt, JobFilter, JobStatus, Outcome
from lora_core.studio import Studio
from tests.contracts.samples import Events, artifact_of, folder_of, runner_of
from tests.lora_core.actions.scenes import submitted
from tests.lora_core.test_cli import Command, run, studio

__all__ = ["run", "studio"]


def paused_with_checkpoints(studio: Studio, tmp_path: object, *steps: int) -> str:
    job = submitted(studio.workspace())
    port = studio.runner_port()
    claim = port.claim(runner_of(), lease_seconds=60)
    assert claim is not None
    for step in steps:
        port.put_artifact(claim.attempt, artifact_of(claim, step=step), folder_of(tmp_path))  # type: ignore[arg-type]
    port.end(job.id, claim.attempt, EndOfAttempt(outcome=Outcome.PAUSED))
    return job.id


def test_several_jobs_are_acted_on_and_one_that_came_too_late_says_so(run: Command, studio: Studio) -> None:
    first, second = (submitted(studio.workspace()).id for _ in range(2))
    run("cancel", first)
    result = run("cancel", first, second)
    assert result.exit_code == 1
    assert result.stdout == "job: cancelled.\n"
    assert result.stderr == "job: NotAllowed: The job is cancelled already.\n"


def test_an_unknown_job_among_several_stops_before_anything_is_done(run: Command, studio: Studio) -> None:
    job = submitted(studio.workspace())
    assert run("cancel", job.id, "ffff").exit_code == 1
    assert jobs.get_job(studio.workspace(), job.id).status is JobStatus.QUEUED


def test_hold_and_resume(run: Command, studio: Studio) -> None:
    job = submitted(studio.workspace())
    assert run("hold", job.id).stdout == "job: held.\n"
    assert "only a queued job can be held" in run("hold", job.id).stderr
    assert run("resume", job.id).stdout == "job: queued.\n"


def test_retry_is_for_what_went_wrong(run: Command, studio: Studio) -> None:
    job = submitted(studio.workspace())
    assert "only a failed or cancelled job" in run("retry", job.id).stderr
    run("cancel", job.id)
    assert run("retry", job.id).stdout == "job: queued.\n"


def test_resume_from_a_chosen_checkpoint(run: Command, studio: Studio, tmp_path: object) -> None:
    job_id = paused_with_checkpoints(studio, tmp_path, 100, 200)
    missing = run("resume", job_id, "--checkpoint", 7)
    assert "no checkpoint of step 7. There are those of step 100, 200." in missing.stderr
    assert run("resume", job_id, "--checkpoint", 100).stdout == "job: queued, from step 100.\n"
    claim = studio.runner_port().claim(runner_of(), lease_seconds=60)
    assert claim is not None
    assert claim.checkpoint is not None
    assert claim.checkpoint.step == 100


def test_a_fork_has_a_changed_config_and_its_parents_checkpoint(
    run: Command, studio: Studio, tmp_path: object
) -> None:
    job_id = paused_with_checkpoints(studio, tmp_path, 100, 200)
    result = run("fork", job_id, "--checkpoint", 100, "--set", "optimisation.learning_rate=0.00005")
    fork = jobs.get_job(studio.workspace(), result.stdout.strip())
    assert fork.name == "job from step 100"
    assert fork.config.optimisation.learning_rate == 0.00005
    assert fork.parent_job_id == job_id
    (checkpoint,) = (
        a for a in studio.workspace().artifacts.list(job_id, ArtifactKind.CHECKPOINT) if a.step == 100
    )
    assert (fork.parent_artifact_id, checkpoint.pinned) == (checkpoint.id, True)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("adapter.rank=3", "adapter"),
        ("optimisation.seed=99", "seed"),
        ("optimisation.micro_batch_size=63", "effective batch"),
        ("data.max_length=333", "data"),
        ("model.base=gpt2", "model"),
    ],
)
def test_a_fork_that_no_trainer_could_start_is_refused_before(
    run: Command, studio: Studio, tmp_path: object, change: str, word: str
) -> None:
    job_id = paused_with_checkpoints(studio, tmp_path, 100)
    result = run("fork", job_id, "--set", change)
    assert result.exit_code == 1
    assert f"from this checkpoint with another {word}" in result.stderr.replace("\n", " ")
    assert len(studio.workspace().jobs.list(JobFilter()).items) == 1


def test_a_job_without_a_checkpoint_cannot_be_forked(run: Command, studio: Studio) -> None:
    assert "keeps no checkpoint" in run("fork", submitted(studio.workspace()).id).stderr


def test_archived_jobs_are_listed_apart_and_found_by_id(run: Command, studio: Studio) -> None:
    job = submitted(studio.workspace())
    run("cancel", job.id)
    assert run("archive", job.id).stdout == "job: archived.\n"
    assert "No jobs yet" in run("list").stdout
    assert job.id[:8] in run("list", "--archived").stdout
    assert run("unarchive", job.id[:8]).stdout == "job: taken back.\n"


def test_delete_asks_and_names_the_jobs(run: Command, studio: Studio) -> None:
    job = submitted(studio.workspace())
    run("cancel", job.id)
    kept = run("delete", job.id)
    assert (kept.exit_code, "Delete 1 for good, with all files: “job”?" in kept.stderr) == (1, True)
    assert run("delete", job.id, "--yes").stdout == "job: deleted.\n"
    with pytest.raises(NotFound):
        jobs.get_job(studio.workspace(), job.id)


def test_priority_and_earliest_start(run: Command, studio: Studio) -> None:
    job = submitted(studio.workspace())
    assert run("priority", "7", job.id).stdout == "job: priority 7.\n"
    assert "no earlier than" in run("start-after", "2h", job.id).stdout
    changed = jobs.get_job(studio.workspace(), job.id)
    assert changed.priority == 7
    assert changed.not_before is not None
    assert timedelta(hours=1, minutes=59) < changed.not_before - utc_now() < timedelta(hours=2)
    assert run("start-after", "now", job.id).stdout == "job: may start at once.\n"
    assert run("priority", "101", job.id).exit_code == 2


def test_renaming(run: Command, studio: Studio) -> None:
    assert run("rename", submitted(studio.workspace()).id, "  new   name ").stdout == "job: renamed.\n"


def test_a_moment_is_read_or_refused() -> None:
    assert read_moment("2999-01-01T00:00+00:00") == datetime(2999, 1, 1, tzinfo=UTC)
    for text in ("soon", "99999999d", "2h3", ""):
        with pytest.raises(ConfigError):
            read_moment(text)


def test_the_list_tells_the_place_in_the_queue_and_why_others_are_where_they_are(
    run: Command, studio: Studio
) -> None:
    first, second, third = (submitted(studio.workspace(), name) for name in ("one", "two", "three"))
    assert run("list").stdout.count("No runner is online.") == 3
    port, runner = studio.runner_port(), runner_of(state="training", seen_at=utc_now())
    port.announce(runner)
    claim = port.claim(runner, lease_seconds=60)
    assert claim is not None
    assert claim.job.id == first.id
    run("start-after", "2999-01-01T00:00+00:00", third.id)
    port.end(
        first.id, claim.attempt, EndOfAttempt(outcome=Outcome.PAUSED, reason="The loss is not a number.")
    )
    port.announce(runner.model_copy(update={"state": "idle"}))
    told = {line.split("│")[2].strip(): line for line in run("list").stdout.splitlines() if "│" in line}
    assert "The loss is not a number." in told["one"]
    assert "Next in the queue" in told["two"]
    assert "no earlier than 2999-01-01 00:00" in told["three"]
    assert second.id[:8] in told["two"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("pause",), "is completed: it is too late to pause it."),
        (("cancel",), "is completed: it is too late to cancel it."),
        (("hold",), "is completed: only a queued job can be held."),
        (("resume",), "is completed: it is too late to resume it."),
        (("retry",), "is completed: only a failed or cancelled job can be tried again."),
        (("checkpoint",), "is completed: there is nothing to checkpoint."),
        (("priority", "5"), "is completed: it does not wait in the queue any more."),
        (("start-after", "1h"), "is completed: it does not wait in the queue any more."),
    ],
)
def test_what_comes_too_late_says_so_and_changes_nothing(
    run: Command, studio: Studio, words: tuple[str, ...], sentence: str
) -> None:
    job = submitted(studio.workspace())
    port = studio.runner_port()
    claim = port.claim(runner_of(), lease_seconds=60)
    assert claim is not None
    port.end(job.id, claim.attempt, EndOfAttempt(outcome=Outcome.COMPLETED))
    before = jobs.get_job(studio.workspace(), job.id)
    result = run(*words, job.id)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"job: NotAllowed: The job {sentence}\n"
    assert jobs.get_job(studio.workspace(), job.id) == before


@pytest.mark.parametrize("words", [("archive",), ("delete", "--yes")])
def test_a_live_job_is_neither_put_away_nor_deleted(
    run: Command, studio: Studio, words: tuple[str, ...]
) -> None:
    job = submitted(studio.workspace())
    result = run(*words, job.id)
    assert (result.exit_code, "queued" in result.stderr) == (1, True)
    assert jobs.get_job(studio.workspace(), job.id) == job


def test_what_is_asked_of_a_running_job_is_asked_of_its_runner(run: Command, studio: Studio) -> None:
    job = submitted(studio.workspace())
    port, events = studio.runner_port(), Events()
    claim = port.claim(runner_of(), lease_seconds=60)
    assert claim is not None
    port.ship(job.id, claim.attempt, [events.phase("training", start_step=0, total_steps=9)])
    assert run("checkpoint", job.id).stdout == "job: asked for a checkpoint.\n"
    assert run("pause", job.id).stdout == "job: asked to pause.\n"
    assert run("cancel", job.id).stdout == "job: asked to cancel.\n"
    assert "already been asked to cancel" in run("pause", job.id).stderr
    directive = port.renew(job.id, claim.attempt, lease_seconds=60)
    assert directive.requested_action == "cancel"


def test_the_audit_trail_is_written_to_a_file(run: Command, studio: Studio, tmp_path: Path) -> None:
    job = submitted(studio.workspace())
    run("cancel", job.id)
    assert run("download", job.id, "--what", "events").stdout.strip() == "job-events.csv"
    lines = (tmp_path / "job-events.csv").read_text().splitlines()
    assert lines[0] == "at,actor,action,from_status,to_status,reason"
    assert [line.split(",")[2] for line in lines[1:]] == ["cancelled", "submitted"]


def test_runners_are_listed_with_what_they_have_and_do(run: Command, studio: Studio) -> None:
    assert "No runners yet" in run("runners").stdout
    job = submitted(studio.workspace(), "letters")
    port = studio.runner_port()
    runner = runner_of(
        "box", gpus=("H200", "H200"), gpu_memory_gb=139.0, state="training", slots=2, seen_at=utc_now()
    )
    gone = runner_of("laptop")
    for machine in (runner, gone):
        port.announce(machine)
    claim = port.claim(runner, lease_seconds=60)
    assert claim is not None
    events = Events()
    port.ship(job.id, claim.attempt, [events.phase("training", start_step=0, total_steps=9), events.train(4)])
    told = {line.split("│")[4].split()[0]: line for line in run("runners").stdout.splitlines() if "│" in line}
    assert all(word in told["box"] for word in ("training", "2 x H200, 139 GB", "1 of 2: letters (4/9)"))
    assert all(word in told["laptop"] for word in ("offline", "2026-03-01 12:00:00 UTC", "none"))
