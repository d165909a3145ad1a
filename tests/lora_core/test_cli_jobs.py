"""Commands that act on jobs: on several at once, each told in one line, and one that came too late says so."""

from datetime import UTC, datetime, timedelta

import pytest

from lora_core.actions import jobs
from lora_core.cli_jobs import read_moment
from lora_core.errors import ConfigError, NotFound
from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.base import utc_now
from lora_core.schema.job import EndOfAttempt, JobFilter, JobStatus, Outcome
from lora_core.studio import Studio
from tests.contracts.samples import artifact_of, folder_of, runner_of
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
    assert result.stderr == "job: NotAllowed: A job that is cancelled cannot become cancelled.\n"


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
