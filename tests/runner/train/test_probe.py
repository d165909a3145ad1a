"""The largest micro-batch is computed before training, and changes nothing."""

from typing import Any

import pytest
import torch

from lora_core.schema.run import ExitCode
from runner.train import sft
from runner.train.probe import longest_rows
from tests.runner.train.bench import Bench

pytestmark = pytest.mark.slow

SHAPE: dict[str, Any] = {"adapter": {"dropout": 0.1}, "optimisation": {"max_steps": 6}}


def test_losses_with_dropout_are_those_of_a_run_without_the_probe(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed = bench.train(**SHAPE)
    monkeypatch.setattr(sft, "probe_memory", lambda *_: 0)
    plain = bench.train(**SHAPE)
    assert probed.column("loss") == plain.column("loss")
    assert probed.result["adapter_sha256"] == plain.result["adapter_sha256"]


def test_a_batch_that_does_not_fit_ends_the_run_before_its_first_step(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(sft, "probe_memory", fail)
    ended = bench.train(**SHAPE)
    assert ended.code == ExitCode.OUT_OF_MEMORY
    assert not ended.column("loss")
    assert "2 rows of up to" in ended.result["error"]
    assert "Smallest change that should fit: gradient checkpointing off → on" in ended.result["error"]


def test_the_longest_rows_come_first(bench: Bench) -> None:
    import datasets

    rows = datasets.Dataset.from_dict({"input_ids": [[1] * length for length in (3, 9, 5, 7)]})
    assert [len(row["input_ids"]) for row in longest_rows(rows, 2)] == [9, 7]
