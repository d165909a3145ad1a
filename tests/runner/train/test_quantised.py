"""QLoRA and LLM.int8() on whatever this machine has, the CPU included."""

from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from lora_core.schema.run import ExitCode
from runner.train.saving import ADAPTER_WEIGHTS
from tests.runner.train.bench import Bench, toy_rows


@pytest.mark.parametrize("quantisation", ["4bit", "8bit"])
def test_a_quantised_model_trains_and_its_adapter_loads_on_the_whole_model(
    bench: Bench, quantisation: str
) -> None:
    ended = bench.train(model={"quantisation": quantisation, "dtype": "auto"}, optimisation={"max_steps": 10})
    losses = list(ended.column("loss").values())
    assert ended.code == ExitCode.DONE, ended.result
    assert losses[-1] < losses[0]
    weights = load_file(ended.folder.adapter / ADAPTER_WEIGHTS)
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    base = AutoModelForCausalLM.from_pretrained(bench.model)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        before = base(input_ids=ids).logits
        after = PeftModel.from_pretrained(base, str(ended.folder.adapter))(input_ids=ids).logits
    assert not torch.equal(before, after)


@pytest.mark.parametrize("optimizer", ["adamw_8bit", "paged_adamw_8bit", "adamw_torch"])
def test_every_optimizer_makes_its_step(bench: Bench, optimizer: str) -> None:
    ended = bench.train(optimisation={"max_steps": 2, "optimizer": optimizer})
    assert ended.code == ExitCode.DONE, ended.result


def test_an_evaluation_does_not_change_a_quantised_model(bench: Bench) -> None:
    """bitsandbytes would round its scales: the loss of training would jump behind the first evaluation."""
    shape: dict[str, Any] = {"model": {"quantisation": "4bit"}, "optimisation": {"max_steps": 3}}
    losses = [
        bench.train(data={"validation_fraction": 0.0}, **shape).column("loss"),
        bench.train(validation=bench.write_rows("other", toy_rows(1)), **shape).column("loss"),
    ]
    assert losses[0] == losses[1]
