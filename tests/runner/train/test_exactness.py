"""What is promised at a resume follows from what has changed since the checkpoint, and says it."""

import json
from pathlib import Path
from typing import Any

import pytest

from lora_core.errors import ConfigError
from lora_core.schema.base import utc_now
from lora_core.schema.config import TrainingConfig
from runner.train.checkpoint_state import CheckpointState
from runner.train.environment import Environment
from runner.train.exactness import MEASURED, NOT_MEASURED, Promise, promise, require_same_rows

SAMPLE = Path(__file__).parent / "samples" / "studio-1.json"

HERE = Environment(
    libraries={"torch": "2.13.0", "peft": "0.21.2", "tokenizers": "0.23.3"},
    system="Linux x86_64",
    device="cpu",
    device_name="A processor",
    dtype="float32",
    threads=2,
    cpu_capability="AVX512",
    float32_precision="highest",
    deterministic=False,
    base_weights="w",
    base_config="c",
    packed_tokens=512,
)


def config(dropout: float = 0.1, **sections: dict[str, Any]) -> TrainingConfig:
    return TrainingConfig.model_validate({"adapter": {"dropout": dropout}, **sections})


def state(of: TrainingConfig, environment: Environment = HERE) -> CheckpointState:
    return CheckpointState(
        step=40,
        total_steps=100,
        config=of,
        fingerprint="rows",
        template_time=utc_now(),
        environment=environment,
    )


def promised(
    now: Environment = HERE, total_steps: int = 100, dropout: float = 0.1, **sections: Any
) -> Promise:
    return promise(state(config(dropout)), now, config(dropout, **sections), total_steps)


def changed(**fields: Any) -> Environment:
    return HERE.model_copy(update=fields)


def test_where_nothing_has_changed_every_bit_is_promised() -> None:
    found = promised()
    assert found.exact
    assert found.words.startswith("Going on from step 40 exactly")


@pytest.mark.parametrize(
    "irrelevant",
    [
        {"checkpoints": {"every_steps": 7}},
        {"evaluation": {"every_steps": 7}},
        {"alerts": {"spike": {"action": "off"}}},
        {"optimisation": {"retry_smaller": False}},
    ],
)
def test_settings_that_change_no_loss_keep_the_promise(irrelevant: dict[str, Any]) -> None:
    assert promised(**irrelevant).exact


def test_another_tokenizers_version_keeps_the_promise_for_the_rows_are_compared() -> None:
    assert promised(changed(libraries={**HERE.libraries, "tokenizers": "1.0"})).exact


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (changed(threads=1), "2 threads → 1 threads"),
        (changed(cpu_capability="AVX2"), "AVX512 instructions → AVX2 instructions"),
        (changed(device_name="Another one"), "A processor → Another one"),
        (changed(system="Darwin arm64"), "Linux x86_64 → Darwin arm64"),
        (changed(deterministic=True), "any algorithms → deterministic algorithms"),
        (changed(libraries={**HERE.libraries, "torch": "2.14.0"}), "torch 2.13.0 → 2.14.0"),
    ],
)
def test_what_rounds_otherwise_is_named_with_the_tolerance_that_was_measured(
    now: Environment, words: str
) -> None:
    found = promised(now)
    assert found.differences == (words,)
    assert found.words == f"Going on from step 40, but not bit for bit: {words}. {MEASURED}"


def test_of_half_precision_no_tolerance_is_claimed_that_was_not_measured() -> None:
    found = promised(changed(dtype="bfloat16"))
    assert found.differences == ("float32 → bfloat16",)
    assert found.words.endswith(NOT_MEASURED)


def test_on_a_gpu_no_bit_is_promised_and_the_processor_does_not_matter() -> None:
    gpu = changed(device="cuda", device_name="A GPU")
    now = gpu.model_copy(update={"threads": 7, "cpu_capability": "AVX2"})
    found = promise(state(config(), gpu), now, config(), 100)
    assert found.differences == ("on cuda sums are made in an order that no run repeats",)


@pytest.mark.parametrize(
    ("now", "sections", "words"),
    [
        (HERE, {"optimisation": {"micro_batch_size": 2, "accumulation_steps": 8}}, "micro-batch 4 → 2"),
        (HERE, {"data": {"workers": 2}}, "data workers 0 → 2"),
        (changed(packed_tokens=0), {}, "packs of 512 tokens → no packing"),
        (changed(device="cuda"), {}, "cpu → cuda"),
    ],
)
def test_what_lets_dropout_draw_otherwise_is_more_than_rounding(
    now: Environment, sections: dict[str, Any], words: str
) -> None:
    assert promised(now, **sections).differences[0] == words
    assert "two seeds" in promised(now, **sections).words
    assert "two seeds" not in promised(now, dropout=0.0, **sections).words


@pytest.mark.parametrize(
    ("sections", "total", "words"),
    [
        ({"optimisation": {"learning_rate": 0.5}}, 100, "learning rate 0.0002 → 0.5"),
        ({"optimisation": {"max_steps": 150}}, 150, "100 → 150 updates, which the learning rate follows"),
        ({"evaluation": {"max_rows": 10}}, 100, "other validation rows"),
    ],
)
def test_another_course_is_called_so(sections: dict[str, Any], total: int, words: str) -> None:
    found = promised(total_steps=total, **sections)
    assert words in found.differences
    assert "new settings" in found.words


def test_more_updates_at_a_constant_rate_are_the_same_course() -> None:
    constant: dict[str, Any] = {"optimisation": {"scheduler": "constant"}}
    assert promise(state(config(**constant)), HERE, config(**constant), 150).exact


@pytest.mark.parametrize(
    ("now", "total", "words"),
    [(changed(base_weights="x"), 100, "other weights"), (HERE, 39, "ends after 39 updates")],
)
def test_what_would_be_another_run_is_refused(now: Environment, total: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        promised(now, total)


def test_other_rows_are_refused() -> None:
    require_same_rows(state(config()), config(), "rows")
    with pytest.raises(ConfigError, match="other rows"):
        require_same_rows(state(config()), config(), "others")


def test_a_checkpoint_of_version_1_opens_with_what_it_knew() -> None:
    old = CheckpointState.model_validate_json(SAMPLE.read_bytes())
    assert (old.version, old.step, old.best and old.best.step, old.alerts) == (2, 4, 4, {})
    assert (old.environment.device, old.environment.dtype, old.environment.threads) == ("cpu", "float32", 1)
    assert old.environment.libraries["peft"] == "0.21.2"
    assert old.environment.base_weights is None


def test_a_checkpoint_of_version_1_promises_nothing_that_it_does_not_know() -> None:
    old = CheckpointState.model_validate_json(SAMPLE.read_bytes())
    found = promise(old, HERE.model_copy(update={"threads": 1}), old.config, old.total_steps)
    (unknown,) = [words for words in found.differences if "does not say" in words]
    assert "cpu capability, " in unknown
    assert "base weights" in unknown


def test_what_is_written_is_read_again() -> None:
    written = state(config()).model_dump_json()
    assert json.loads(written)["version"] == 2
    assert CheckpointState.model_validate_json(written) == state(config()).model_copy(
        update={"template_time": CheckpointState.model_validate_json(written).template_time}
    )
