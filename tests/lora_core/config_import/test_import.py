"""Configs of other tools: what means the same arrives, what does not is said, and no file is an exception."""

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_core.actions.config_import import ImportedConfig, import_config, is_other_tools_config
from lora_core.actions.configs import config_to_yaml
from lora_core.config_import.reading import TOOLS
from lora_core.config_import.rules import Fate, Tool
from lora_core.errors import ConfigError
from lora_core.schema.config import TrainingConfig

LLAMA_FACTORY = """\
### model
model_name_or_path: Qwen/Qwen3-4B
quantization_bit: 4

stage: sft
finetuning_type: lora
lora_rank: 16
lora_target: q_proj, v_proj
dataset: identity,alpaca_en_demo
template: qwen3
cutoff_len: 4096
mask_history: true
val_size: 0.2
per_device_train_batch_size: 2
gradient_accumulation_steps: 8
learning_rate: 1e-4
lr_scheduler_type: polynomial
warmup_steps: 20
save_steps: 500
bf16: true
deepspeed: ds.json
lora_rnk: 3
"""

AXOLOTL = """\
base_model: NousResearch/Llama-3.2-1B
load_in_4bit: true
datasets:
  - path: teknium/GPT4-LLM-Cleaned
    type: alpaca
val_set_size: 0.1
adapter: qlora
lora_r: 32
lora_alpha: 16
lora_dropout: 0.05
lora_target_linear: true
sequence_len: 2048
sample_packing: true
train_on_inputs: true
gradient_accumulation_steps: 4
micro_batch_size: 2
num_epochs: 4
optimizer: paged_adamw_32bit
lr_scheduler: cosine
learning_rate: 0.0002
bf16: auto
gradient_checkpointing: true
warmup_ratio: 0.1
evals_per_epoch: 4
loss_watchdog_threshold: 5.0
weight_decay: 0.0
"""


def fates(imported: ImportedConfig) -> dict[str, Fate]:
    return {line.key: line.fate for line in imported.lines if line.line}


class TestLlamaFactory:
    def test_what_means_the_same_arrives(self) -> None:
        config = import_config(LLAMA_FACTORY).config
        assert config.model.base == "Qwen/Qwen3-4B"
        assert (config.model.quantisation, config.model.dtype) == ("4bit", "bfloat16")
        assert (config.adapter.rank, config.adapter.targets) == (16, ("q_proj", "v_proj"))
        assert (config.data.max_length, config.data.loss_on) == (4096, "last")
        assert config.data.validation_fraction == 0.2
        assert (config.optimisation.micro_batch_size, config.optimisation.accumulation_steps) == (2, 8)
        assert config.optimisation.learning_rate == 1e-4
        assert config.checkpoints.every_steps == 500

    def test_what_the_file_leaves_out_is_as_there_and_said_so(self) -> None:
        imported = import_config(LLAMA_FACTORY)
        assert imported.config.adapter.alpha == 32
        assert imported.config.optimisation.epochs == 3.0
        assert imported.config.optimisation.gradient_checkpointing
        left_out = {line.key: line.value for line in imported.lines if not line.line}
        assert left_out["lora_alpha"] == "32"
        assert left_out["num_train_epochs"] == "3.0"
        assert "lora_rank" not in left_out

    def test_each_line_has_its_fate(self) -> None:
        found = fates(import_config(LLAMA_FACTORY))
        assert len(found) == 20
        for key in ("template",):
            assert found[key] is Fate.CHANGED
        for key in ("dataset", "lr_scheduler_type", "warmup_steps", "deepspeed"):
            assert found[key] is Fate.DROPPED
        assert found["lora_rnk"] is Fate.UNKNOWN
        assert found["lora_rank"] is Fate.SAME

    def test_lines_are_those_of_the_file(self) -> None:
        for line in import_config(LLAMA_FACTORY).lines:
            if line.line:
                assert LLAMA_FACTORY.splitlines()[line.line - 1].startswith(f"{line.key}:")

    def test_an_unknown_key_is_told_with_the_nearest(self) -> None:
        line = import_config(LLAMA_FACTORY).lines[-1]
        assert line.said == "Not known here. Did you mean lora_rank?"

    def test_a_full_fine_tune_becomes_another_run(self) -> None:
        imported = import_config("model_name_or_path: a/b\nfinetuning_type: full")
        assert fates(imported)["finetuning_type"] is Fate.CHANGED


class TestAxolotl:
    def test_what_means_the_same_arrives(self) -> None:
        config = import_config(AXOLOTL).config
        assert (config.model.base, config.model.quantisation) == ("NousResearch/Llama-3.2-1B", "4bit")
        assert (config.adapter.rank, config.adapter.alpha, config.adapter.dropout) == (32, 16, 0.05)
        assert config.adapter.targets == "all-linear"
        assert (config.data.max_length, config.data.packing, config.data.loss_on) == (2048, True, "all")
        assert (config.optimisation.epochs, config.optimisation.warmup_ratio) == (4.0, 0.1)
        assert config.optimisation.gradient_checkpointing

    def test_each_line_has_its_fate(self) -> None:
        found = fates(import_config(AXOLOTL))
        for key in ("sample_packing", "micro_batch_size", "evals_per_epoch"):
            assert found[key] is Fate.CHANGED
        for key in ("datasets", "optimizer", "loss_watchdog_threshold"):
            assert found[key] is Fate.DROPPED
        assert Fate.UNKNOWN not in found.values()

    def test_without_an_adapter_nothing_is_quantised(self) -> None:
        config = import_config("base_model: a/b\nlora_r: 8\nload_in_8bit: true").config
        assert config.model.quantisation == "none"


def test_a_value_out_of_bounds_has_no_effect_and_says_why() -> None:
    imported = import_config("model_name_or_path: a/b\nlora_rank: 5000")
    line = imported.lines[-1]
    assert line.fate is Fate.DROPPED
    assert "adapter.rank" in line.said
    assert imported.config.adapter.rank == TrainingConfig().adapter.rank


def test_a_value_of_the_wrong_kind_has_no_effect_and_says_why() -> None:
    line = import_config("model_name_or_path: a/b\nlearning_rate: fast").lines[-1]
    assert line.fate is Fate.DROPPED
    assert "cannot be read" in line.said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("adapter: {rank: 8}", "no config of LLaMA-Factory or Axolotl"),
        ("- a\n- b", "list of `key: value` pairs"),
        ("model_name_or_path: [", "line 1"),
        ("model_name_or_path: &a x\ndataset: *a", "aliases"),
        ("model_name_or_path: !!python/object/apply:os.system [id]", "line 1"),
        ("a: " + "x" * 70_000, "too long"),
    ],
)
def test_what_is_no_config_is_a_clear_error(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        import_config(text)


def test_it_tells_other_tools_configs_from_its_own() -> None:
    assert is_other_tools_config(LLAMA_FACTORY)
    assert is_other_tools_config(AXOLOTL)
    assert not is_other_tools_config(config_to_yaml(TrainingConfig()))
    assert not is_other_tools_config("[")


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_value_of_any_key_is_an_exception(tool: Tool, data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.sampled_from(sorted(tool.rules)), min_size=1, max_size=4, unique=True))
    document = {sorted(tool.marks)[0]: "a/b"} | {key: data.draw(VALUES, key) for key in keys}
    imported = import_config(yaml.safe_dump(document))
    assert {line.key for line in imported.lines if line.line} == document.keys()
    assert TrainingConfig.model_validate(imported.config.model_dump()) == imported.config


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_what_a_tool_takes_by_default_is_known_and_has_an_effect(tool: Tool) -> None:
    lines = import_config(f"{sorted(tool.marks)[0]}: a/b").lines
    for line in lines:
        if not line.line:
            assert line.fate is Fate.SAME, line
            assert line.fields, line
