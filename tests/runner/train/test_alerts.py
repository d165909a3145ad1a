"""What the trainer does when a rule fires, on a real run."""

import math
from typing import Any

import pytest
import torch

from lora_core.schema.run import ExitCode
from runner.train.trainer import StudioTrainer
from tests.runner.train.bench import Bench, Outcome

pytestmark = pytest.mark.slow

BAD_STEP = 5


@pytest.fixture
def broken_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of one update is NaN, as are then its gradients."""
    computed = StudioTrainer.compute_loss

    def compute_loss(
        self: StudioTrainer, model: torch.nn.Module, inputs: Any, *args: Any, **kwargs: Any
    ) -> Any:
        loss = computed(self, model, inputs, *args, **kwargs)
        return loss * math.nan if model.training and self.state.global_step + 1 == BAD_STEP else loss

    monkeypatch.setattr(StudioTrainer, "compute_loss", compute_loss)


def checkpoints(ended: Outcome) -> list[int]:
    return [told["step"] for told in ended.of("checkpoint") if not told.get("dropped")]


@pytest.mark.usefixtures("broken_loss")
def test_a_loss_that_is_no_number_pauses_and_overwrites_no_checkpoint(bench: Bench) -> None:
    ended = bench.train(optimisation={"max_steps": 12}, checkpoints={"every_steps": 1, "keep": 3})
    assert ended.code == ExitCode.PAUSED
    (alert,) = ended.of("alert")
    assert (alert["rule"], alert["step"], alert["action"]) == ("nonfinite", BAD_STEP, "pause")
    assert checkpoints(ended) == [1, 2, 3, 4]
    assert "not a finite number" in ended.result["reason"]


@pytest.mark.usefixtures("broken_loss")
def test_the_same_alert_can_stop_the_job_instead(bench: Bench) -> None:
    alerts = {"nonfinite": {"action": "stop"}}
    ended = bench.train(optimisation={"max_steps": 12}, checkpoints={"every_steps": 2}, alerts=alerts)
    assert ended.code == ExitCode.CONFIG_OR_DATA
    assert ended.result["reason"] == "Stopped by an alert."
    assert "Lower the learning rate" in ended.result["error"]
    assert checkpoints(ended) == [2, 4]


def test_another_alert_that_pauses_saves_first(bench: Bench) -> None:
    alerts = {"plateau": {"action": "pause", "evaluations": 1, "improvement": 0.999}}
    ended = bench.train(
        optimisation={"max_steps": 12},
        evaluation={"every_steps": 2},
        checkpoints={"every_steps": 12},
        alerts=alerts,
    )
    assert ended.code == ExitCode.PAUSED
    (alert,) = ended.of("alert")
    assert checkpoints(ended) == [alert["step"]]


def test_a_calm_run_tells_no_alert(bench: Bench) -> None:
    ended = bench.train(optimisation={"max_steps": 12})
    assert ended.code == ExitCode.DONE
    assert not ended.of("alert")
