"""What becomes of jobs under an agent: done, failed, asked, stalled. Real processes with the scripted trainer."""

import time

from lora_core.schema.alerts import StallRule
from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.job import JobStatus, Outcome, RequestedAction
from lora_core.schema.metrics import MetricKind
from tests.runner.agent.bench import Bench, trainers, wait_until


def test_a_job_runs_to_its_end_and_every_point_is_stored_once(bench: Bench) -> None:
    job = bench.submit()
    bench.start(script={"steps": 30, "print_lines": 2, "nan_at": 3})
    done = bench.wait_for(job)
    assert bench.steps(job) == list(range(1, 31))
    assert bench.steps(job, MetricKind.EVAL) == [5, 10, 15, 20, 25, 30]
    assert done.progress == 1.0
    assert done.train_loss == bench.points(job)[-1].loss
    texts = bench.logs(job)
    assert [texts.count(f"scripted line {number}") for number in range(2)] == [1, 1]
    third = bench.points(job)[2]
    assert (third.loss, third.nonfinite) == (None, {"loss": "nan"})


def test_a_completed_job_leaves_adapter_checkpoints_metrics_and_logs_and_no_run_folder(bench: Bench) -> None:
    job = bench.submit()
    bench.start(script={"steps": 12})
    bench.wait_for(job)
    files = {each.kind: [file.name for file in each.files] for each in bench.user.artifacts.list(job.id)}
    assert files == {
        ArtifactKind.ADAPTER: ["adapter_config.json", "adapter_model.safetensors"],
        ArtifactKind.CHECKPOINT: ["adapter_model.safetensors", "trainer_state.json"],
        ArtifactKind.METRICS: ["metrics.csv"],
        ArtifactKind.LOGS: ["events.jsonl", "spec.json", "train.log"],
    }
    wait_until(lambda: not bench.run_folder(job).exists(), "the run folder to go")


def test_a_job_is_claimed_soon_after_it_was_submitted(bench: Bench) -> None:
    bench.start(script={"steps": 5})
    wait_until(lambda: bench.user.runners.list(), "the runner to announce itself")
    started = time.monotonic()
    job = bench.submit()
    wait_until(lambda: bench.job(job).status is not JobStatus.QUEUED, "the claim")
    assert time.monotonic() - started < 10
    bench.wait_for(job)


def test_a_crash_fails_the_job_with_the_last_lines_of_its_log(bench: Bench) -> None:
    job = bench.submit()
    agent = bench.start(script={"raise_at": 4, "message": "the tensor is upside down"})
    failed = bench.wait_for(job, JobStatus.FAILED)
    assert "exit code 1" in failed.error
    assert "RuntimeError: the tensor is upside down" in failed.error
    assert bench.steps(job) == [1, 2, 3]
    wait_until(lambda: not agent.runs, "the agent to let go")
    kept = {path.name for path in bench.run_folder(job).iterdir()}
    assert {"train.log", "ended"} <= kept, "the run folder stays for a look inside"


def test_the_persons_error_reaches_the_job_in_its_own_words(bench: Bench) -> None:
    job = bench.submit()
    bench.start(script={"fail_at": 1, "message": "Row 7 has no answer. Fill it in."})
    assert bench.wait_for(job, JobStatus.FAILED).error == "Row 7 has no answer. Fill it in."


def test_a_trainer_killed_in_the_middle_of_a_line_loses_only_that_line(bench: Bench) -> None:
    job = bench.submit()
    bench.start(script={"torn_line_at": 8})
    wait_until(lambda: bench.job(job).retry_at, "the pause before the next try")
    assert "signal 9" in bench.job(job).error
    assert bench.steps(job) == list(range(1, 8))


def test_cancel_ends_a_deaf_trainer_and_its_helpers(bench: Bench) -> None:
    job = bench.submit()
    script = {"steps": 10_000, "helper_process": True, "ignore_requests": True, "ignore_sigterm": True}
    bench.start(script=script)
    bench.wait_for_step(job, 3)
    assert len(trainers(bench.home)) >= 3  # the shell, the trainer, its helper
    bench.user.jobs.request(job.id, RequestedAction.CANCEL)
    bench.wait_for(job, JobStatus.CANCELLED)
    wait_until(lambda: not trainers(bench.home), "the whole group to be gone")
    assert "acknowledged cancel" in [event.action for event in bench.user.jobs.events(job.id).items]


def test_cancel_before_training_needs_no_trainer(bench: Bench) -> None:
    job = bench.submit()
    agent = bench.agent(script={"steps": 10_000, "loading_seconds": 0})
    wait_until(lambda: agent.tick() or agent.runs, "the claim")
    bench.user.jobs.request(job.id, RequestedAction.CANCEL)
    wait_until(lambda: agent.tick() or bench.job(job).status is JobStatus.CANCELLED, "the end")
    wait_until(lambda: agent.tick() or not agent.runs, "the agent to let go")


def test_pause_and_resume_give_the_losses_of_an_uninterrupted_run(bench: Bench) -> None:
    whole, halved = bench.submit(), bench.submit()
    bench.start(script={"steps": 100, "step_seconds": 0.03}, slots=2)
    bench.wait_for_step(halved, 5)
    bench.user.jobs.request(halved.id, RequestedAction.PAUSE)
    paused = bench.wait_for(halved, JobStatus.PAUSED)
    newest = bench.user.artifacts.list(halved.id, ArtifactKind.CHECKPOINT)[0]
    assert newest.step == paused.current_step < 100
    bench.user.jobs.move(halved.id, JobStatus.QUEUED)
    bench.wait_for(halved)
    bench.wait_for(whole)
    assert bench.steps(halved) == list(range(1, 101))
    assert [point.loss for point in bench.points(halved)] == [point.loss for point in bench.points(whole)]
    assert [attempt.outcome for attempt in bench.user.jobs.attempts(halved.id)] == [
        Outcome.PAUSED,
        Outcome.COMPLETED,
    ]


def test_a_checkpoint_asked_for_is_saved_and_stored(bench: Bench) -> None:
    job = bench.submit()
    bench.start(script={"steps": 10_000, "checkpoint_every": 10_000, "eval_every": 10_000})
    bench.wait_for_step(job, 3)
    bench.user.jobs.request(job.id, RequestedAction.CHECKPOINT)
    wait_until(lambda: bench.user.artifacts.list(job.id, ArtifactKind.CHECKPOINT), "the checkpoint")
    wait_until(lambda: bench.job(job).requested_action is None, "the request to be done")
    assert bench.job(job).status is JobStatus.RUNNING


def test_rotated_checkpoints_leave_the_store_too(bench: Bench) -> None:
    job = bench.submit(keep=1)
    bench.start(script={"steps": 40, "step_seconds": 0.05, "checkpoint_every": 5, "eval_every": 5})
    seen = set()

    def watch() -> bool:
        seen.update(each.step for each in bench.user.artifacts.list(job.id, ArtifactKind.CHECKPOINT))
        return bench.job(job).status is JobStatus.COMPLETED

    wait_until(watch, "the end")
    kept = [each.step for each in bench.user.artifacts.list(job.id, ArtifactKind.CHECKPOINT)]
    assert 40 in kept
    assert len(kept) <= 2  # the newest, and the best if it is another
    assert len(seen) > len(kept)


def test_a_trainer_without_progress_is_ended_and_tried_again_from_its_checkpoint(bench: Bench) -> None:
    job = bench.submit()
    bench.start(script={"hang_at": 8, "only_first_attempt": True})
    bench.wait_for_step(job, 7)
    bench.machine.wait(601)
    wait_until(lambda: bench.job(job).retry_at, "the pause before the next try")
    assert "no progress for 600 seconds" in bench.job(job).error
    wait_until(lambda: not trainers(bench.home), "the trainer to be gone")
    bench.try_again_now(job)
    bench.wait_for(job)
    assert bench.user.jobs.attempts(job.id)[1].start_step == 5
    assert bench.steps(job) == list(range(1, 21))


def test_a_data_set_that_changed_on_disk_is_not_trained_on(bench: Bench) -> None:
    dataset = bench.add_dataset()
    path = bench.settings.files / dataset.storage_bucket / dataset.storage_path
    path.write_bytes(path.read_bytes().replace(b"hello", b"jello"))
    job = bench.submit(dataset_id=dataset.id)
    bench.start(script={})
    assert "damaged" in bench.wait_for(job, JobStatus.FAILED).error


def test_as_many_jobs_train_at_a_time_as_there_are_slots(bench: Bench) -> None:
    jobs = [bench.submit() for _ in range(3)]
    agent = bench.start(script={"steps": 15}, slots=2)
    most = 0

    def watch() -> bool:
        nonlocal most
        most = max(most, len(agent.runs))
        return all(bench.job(job).status is JobStatus.COMPLETED for job in jobs)

    wait_until(watch, "all jobs")
    assert most == 2


def test_a_trainer_that_hangs_can_be_paused_by_the_jobs_own_rule(bench: Bench) -> None:
    job = bench.submit(stall=StallRule(action="pause", minutes=5))
    bench.start(script={"hang_at": 8})
    bench.wait_for_step(job, 7)
    bench.machine.wait(301)
    paused = bench.wait_for(job, JobStatus.PAUSED)
    assert "no progress for 300 seconds" in paused.status_reason
    assert paused.checkpoint_step == 5


def test_a_trainer_that_hangs_can_be_only_told_about_once(bench: Bench) -> None:
    job = bench.submit(stall=StallRule(action="notify", minutes=5))
    bench.start(script={"hang_at": 8})
    bench.wait_for_step(job, 7)
    for _ in range(3):
        bench.machine.wait(301)
        wait_until(lambda: any("no progress" in text for text in bench.logs(job)), "the alert")
    bench.user.jobs.request(job.id, RequestedAction.CANCEL)
    bench.wait_for(job, JobStatus.CANCELLED)
    assert sum("no progress for 300 seconds" in text for text in bench.logs(job)) == 1
