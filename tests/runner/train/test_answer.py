"""The answer room on the tiny model."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from lora_core.datasets.tokenizer import ChatTokenizer
from lora_core.errors import DataError
from lora_core.schema.config import AdapterConfig, ModelConfig
from runner.answer import answer, load, main, read_conversations
from runner.models.tiny import build_tiny_model
from runner.train.hardware import Hardware
from runner.train.model import add_adapter, load_base
from runner.train.saving import save_adapter

pytestmark = [pytest.mark.filterwarnings(f"ignore:::{name}") for name in ("transformers", "peft", "torch")]

FLOAT32 = ModelConfig(dtype="float32")
QUESTIONS = [
    "Hello?",
    "What is the capital of France? Please write a short answer.",
    "1 2 3",
    "the order",
    "a",
]
CONVERSATIONS = [[{"role": "user", "content": text}] for text in QUESTIONS]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def adapter_folder(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """An adapter that says something else than the base model."""
    base = load_base(model_folder, FLOAT32, Hardware(torch.device("cpu"), torch.float32, 1))
    model = add_adapter(base, AdapterConfig(rank=4, alpha=8), seed=1, reference="studio/tiny")
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(2))
    folder = tmp_path_factory.mktemp("adapter")
    save_adapter(model, folder)
    return folder


def one_by_one(model_folder: Path, adapter: Path | None = None) -> list[str]:
    """What transformers itself answers, without padding."""
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    if adapter:
        model = PeftModel.from_pretrained(model, str(adapter))
    said = []
    for conversation in CONVERSATIONS:
        ids = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_tensors="pt")[
            "input_ids"
        ]
        output = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
        )
        said.append(tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True).strip())
    return said


def test_answers_of_a_batch_are_those_of_each_alone(model_folder: Path) -> None:
    model, tokenizer = load(model_folder, None, FLOAT32), ChatTokenizer.load(model_folder)
    said = answer(model, tokenizer, CONVERSATIONS, max_new_tokens=12, batch_size=3)
    assert said == one_by_one(model_folder)


def test_one_model_answers_with_and_without_its_adapter(model_folder: Path, adapter_folder: Path) -> None:
    model, tokenizer = load(model_folder, adapter_folder, FLOAT32), ChatTokenizer.load(model_folder)
    before = answer(model, tokenizer, CONVERSATIONS, max_new_tokens=12, adapter=False)
    after = answer(model, tokenizer, CONVERSATIONS, max_new_tokens=12)
    assert before == one_by_one(model_folder)
    assert after == one_by_one(model_folder, adapter_folder) != before


def test_progress_counts_up_to_all(model_folder: Path) -> None:
    told: list[int] = []
    model, tokenizer = load(model_folder, None, FLOAT32), ChatTokenizer.load(model_folder)
    answer(model, tokenizer, CONVERSATIONS, max_new_tokens=1, batch_size=2, progress=told.append)
    assert told == [2, 4, 5]


def test_the_command_line_answers_both_ways(tmp_path: Path, model_folder: Path, adapter_folder: Path) -> None:
    prompts, output = tmp_path / "prompts.jsonl", tmp_path / "answers.jsonl"
    rows = [{"messages": [*chat, {"role": "assistant", "content": "left out"}]} for chat in CONVERSATIONS]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--prompts", prompts, "--output", output, "--max-new-tokens", "4", "--both"]
    code = main([str(option) for option in ("--model", model_folder, "--adapter", adapter_folder, *options)])
    said = [json.loads(line) for line in output.read_text().splitlines()]
    assert code == 0
    assert [set(row) for row in said] == [{"base", "adapter"}] * len(CONVERSATIONS)


@pytest.mark.parametrize("line", ["{}", "no json", '{"messages": [{"role": "assistant", "content": "x"}]}'])
def test_a_line_that_is_no_conversation_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"messages": [{"role": "user", "content": "a"}]}\n' + line)
    with pytest.raises(DataError, match="Line 2"):
        read_conversations(file)
