"""How a trainer says what went wrong."""

from typing import Any

import pytest
import torch

from lora_core.schema.run import ExitCode
from runner.train import sft
from runner.train.__main__ import CRASHED, is_out_of_memory
from tests.runner.train.bench import Bench, Outcome


def raising(error: BaseException) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_unknown_layers_are_the_persons_error_and_the_known_ones_are_named(bench: Bench) -> None:
    ended = bench.train(adapter={"targets": ["q_proj", "wq"]})
    assert ended.code == ExitCode.CONFIG_OR_DATA
    assert "no layers named wq" in ended.result["error"]
    assert "q_proj, k_proj, v_proj, o_proj" in ended.result["error"]


def test_a_missing_model_is_the_persons_error(bench: Bench) -> None:
    bench.model = bench.root / "nowhere"
    ended = bench.train()
    assert ended.code == ExitCode.CONFIG_OR_DATA
    assert "no base model" in ended.result["error"]


def test_weights_in_a_pickle_are_refused(bench: Bench, tiny_model: Any) -> None:
    folder = bench.root / "pickled"
    folder.mkdir()
    for file in tiny_model.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    torch.save({}, folder / "pytorch_model.bin")
    bench.model = folder
    ended = bench.train()
    assert ended.code == ExitCode.CONFIG_OR_DATA
    assert "safetensors" in ended.result["error"]


def test_rows_with_nothing_to_learn_are_the_persons_error(bench: Bench) -> None:
    ended = bench.train(data={"max_length": 16, "loss_on": "completion", "validation_fraction": 0.0})
    long = [
        {"messages": [{"role": "user", "content": "word " * 99}, {"role": "assistant", "content": "yes"}]}
    ]
    bench.data = bench.write_rows("long", long * 4)
    ended = bench.train(data={"max_length": 16, "validation_fraction": 0.0})
    assert ended.code == ExitCode.CONFIG_OR_DATA
    assert ended.of("log", level="error")


def test_float16_without_a_gpu_is_the_persons_error(bench: Bench) -> None:
    if torch.cuda.is_available():
        pytest.skip("There is a GPU.")
    assert bench.train(model={"dtype": "float16"}).code == ExitCode.CONFIG_OR_DATA


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_out_of_memory_has_its_own_exit_code_and_advice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(sft, "load_base", raising(error))
    ended = bench.train()
    assert ended.code == ExitCode.OUT_OF_MEMORY
    said = ended.result["error"]
    assert "By the estimate it needs" in said
    assert "base weights" in said
    assert "Smallest change that should fit: gradient checkpointing off → on." in said


def test_torchs_own_words_for_no_memory_on_the_cpu_are_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shape mismatch"))


def test_a_crash_tells_its_last_words_and_leaves_the_trace_in_the_log(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sft, "load_base", raising(RuntimeError("the moon is full")))
    ended = bench.train()
    assert (ended.code, last_error(ended)) == (CRASHED, "RuntimeError: the moon is full")
    assert "Traceback" in capsys.readouterr().err


def last_error(ended: Outcome) -> str:
    return str(ended.of("log", level="error")[-1]["text"])
