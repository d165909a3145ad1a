"""The one command that starts everything, and Ctrl-C."""

import signal
import subprocess
import sys

import psutil
import pytest

from lora_core.schema.job import JobStatus, Outcome
from tests.journeys.conftest import OpenStage, Visit
from tests.journeys.stage import ROOT, Stage, alive, eventually, script

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SAMPLE = ROOT / "examples" / "formats" / "messages.jsonl"


def launch(stage: Stage) -> subprocess.Popen[bytes]:
    """Run `python -m lora_core start` and wait until the app answers."""
    launcher = stage.spawn("start", [sys.executable, "-m", "lora_core", "start"])
    stage.wait_for_app(launcher)
    return launcher


def stop(launcher: subprocess.Popen[bytes]) -> None:
    """Press Ctrl-C; the launcher and all that it started must go."""
    family = psutil.Process(launcher.pid).children(recursive=True)
    assert len(family) >= 2
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(60) == 0
    eventually(lambda: not any(alive(child) for child in family), "app, runner and trainer are gone")


def test_one_command_starts_all_and_ctrl_c_loses_nothing(open_stage: OpenStage, visit: Visit) -> None:
    stage = open_stage(**script(steps=250, step_seconds=0.1, checkpoint_every=1000))
    launcher = launch(stage)
    eventually(lambda: stage.url in stage.logs()["start.log"], "the address is printed")
    person = visit(stage)
    person.open()
    person.sees("Fine-tune your first model")
    job = stage.add_job(stage.add_dataset(SAMPLE), "Overnight")
    stage.wait_for_step(job.id, 10)

    stop(launcher)
    assert not stage.app_answers()
    released = stage.job(job.id)
    assert released.status is JobStatus.QUEUED
    assert released.current_step >= 10

    launch(stage)
    person.open(f"/job?id={job.id}")
    stage.wait_for_status(job.id, JobStatus.COMPLETED)
    person.sees_status("Completed")
    first, second = stage.workspace.jobs.attempts(job.id)
    assert first.outcome is Outcome.RELEASED
    assert second.start_step == released.current_step
    assert "Traceback" not in stage.logs()["start.log"]
