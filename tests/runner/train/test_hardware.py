from pathlib import Path

import pytest
import torch

from lora_core.errors import ConfigError
from lora_core.schema.config import ModelConfig
from runner.train import hardware


@pytest.fixture
def quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A container's file of CPU limits, and no limit by affinity."""
    file = tmp_path / "cpu.max"
    monkeypatch.setattr(hardware, "CGROUP_FILES", (file, tmp_path / "none"))
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return file


@pytest.mark.parametrize(
    ("text", "cpus"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8)]
)
def test_a_containers_quota_cuts_the_cpus(quota: Path, text: str, cpus: int) -> None:
    quota.write_text(text)
    assert hardware.allowed_cpus() == cpus


def test_without_a_container_the_affinity_counts(quota: Path) -> None:
    assert hardware.allowed_cpus() == 8


def test_threads_that_were_asked_for_are_taken() -> None:
    before = torch.get_num_threads()
    chosen = hardware.choose_hardware(ModelConfig(), threads=1)
    assert (chosen.threads, torch.get_num_threads()) == (1, 1)
    torch.set_num_threads(before)


@pytest.mark.skipif(torch.cuda.is_available(), reason="There is a GPU.")
def test_auto_takes_bfloat16_only_where_the_cpu_computes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = []
    for has_it in (True, False):
        monkeypatch.setattr(hardware, "cpu_has_bf16", lambda has_it=has_it: has_it)
        chosen.append(hardware.choose_hardware(ModelConfig(), torch.get_num_threads()).dtype)
    assert chosen == [torch.bfloat16, torch.float32]


@pytest.mark.skipif(torch.cuda.is_available(), reason="There is a GPU.")
def test_float16_needs_a_gpu() -> None:
    with pytest.raises(ConfigError, match="CUDA"):
        hardware.choose_hardware(ModelConfig(dtype="float16"), torch.get_num_threads())


def test_without_a_gpu_there_are_no_gpu_columns() -> None:
    assert hardware.gpu_readings(torch.device("cpu")) == {}
