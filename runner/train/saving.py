"""Writes and reads what a run leaves: checkpoints, the best adapter, the final adapter. Knows no data set and no loop.

A checkpoint is written into a hidden folder and renamed when it is whole. Nothing in it is unpickled on the way back: weights
are safetensors, our own state is JSON, and torch reads optimizer and random state with `weights_only`.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from peft import PeftModel, get_peft_model_state_dict
from pydantic import ValidationError
from safetensors.torch import save_file

from lora_core.errors import ConfigError, DiskFull
from lora_core.schema.config import TrainingConfig
from runner.train.checkpoint_state import CheckpointState

ADAPTER_WEIGHTS = "adapter_model.safetensors"
BEST_WEIGHTS = "best_adapter.safetensors"
STATE_FILE = "studio.json"
METRICS_FILE = "metrics.csv"
CHAT_TEMPLATES = ("chat_template.jinja", "chat_template.json")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    *CHAT_TEMPLATES,
    "generation_config.json",
)


NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""The disk is full, or the share of it that this person may use."""


def step_folder(checkpoints: Path, step: int) -> Path:
    """Name a step's checkpoint."""
    return checkpoints / f"step-{step:06d}"


def write_checkpoint(
    target: Path,
    model: PeftModel,
    state: CheckpointState,
    extra: Callable[[Path], None],
    copies: dict[str, Path],
) -> None:
    """Write a checkpoint so that it is there as a whole or not at all.

    Args:
        extra: Writes optimizer, scheduler and random state into the folder it is given.
        copies: Files to take along under these names; linked where the file system can.

    Raises:
        DiskFull: No room; what was written of it is removed.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    with _no_room(f"checkpoint {target.name}", temporary):
        save_adapter(model, temporary)
        extra(temporary)
        for name, source in copies.items():
            _link(source, temporary / name)
        state = state.model_copy(update={"adapter_sha256": sha256_of(temporary / ADAPTER_WEIGHTS)})
        (temporary / STATE_FILE).write_text(state.model_dump_json(indent=2))
        for file in temporary.iterdir():
            _sync(file)
        _sync(temporary)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        _sync(target.parent)


def read_checkpoint(folder: Path) -> CheckpointState:
    """Read what a checkpoint says of itself.

    Raises:
        ConfigError: The folder holds no whole checkpoint, or its adapter is not the one that was saved.
    """
    try:
        state = CheckpointState.model_validate_json((folder / STATE_FILE).read_bytes())
        digest = sha256_of(folder / ADAPTER_WEIGHTS)
    except (OSError, ValidationError) as error:
        raise ConfigError(f"{folder.name} is no checkpoint of the studio: {error}") from error
    if digest != state.adapter_sha256:
        raise ConfigError(f"The adapter in checkpoint {folder.name} was changed after it was saved.")
    return state


def rotate(checkpoints: Path, keep: int, best_step: int | None) -> Iterator[tuple[int, Path]]:
    """Delete all checkpoints but the newest `keep` and the best one; yield step and folder of each deleted one."""
    folders = sorted(
        (int(folder.name.removeprefix("step-")), folder) for folder in checkpoints.glob("step-*")
    )
    for step, folder in folders[:-keep]:
        if step != best_step:
            shutil.rmtree(folder)
            yield step, folder


def save_adapter(model: PeftModel, folder: Path) -> Path:
    """Save the adapter in PEFT's layout: weights and adapter_config.json, nothing of the base model.

    Returns:
        The file of weights.
    """
    weights = {
        name: tensor.detach().contiguous().cpu()
        for name, tensor in get_peft_model_state_dict(model, save_embedding_layers=False).items()
    }
    file = folder / ADAPTER_WEIGHTS
    save_file(weights, file, metadata={"format": "pt"})
    model.peft_config["default"].save_pretrained(str(folder))
    return file


def save_best(model: PeftModel, file: Path) -> None:
    """Replace the best adapter's weights.

    Raises:
        DiskFull: No room; the old one stays.
    """
    temporary = file.with_name(f".{file.name}")
    temporary.mkdir(parents=True, exist_ok=True)
    with _no_room("the best adapter", temporary):
        save_adapter(model, temporary).replace(file)
    shutil.rmtree(temporary, ignore_errors=True)


def write_final_adapter(
    target: Path,
    model: PeftModel,
    *,
    best: Path | None,
    base: Path,
    chat_template: str,
    config: TrainingConfig,
    card: dict[str, Any],
    metrics: Path,
) -> str:
    """Write the folder a person takes home: adapter, tokenizer with chat template, config, metrics and a model card.

    Args:
        best: Weights to take instead of the model's own; None for those.
        base: Folder of the base model, for its tokenizer.
        chat_template: The template that training used; written where the base model has none of its own.

    Returns:
        sha256 of the weights.

    Raises:
        DiskFull: No room.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    with _no_room("the adapter", temporary):
        weights = save_adapter(model, temporary)
        if best:
            shutil.copyfile(best, weights)
        for name in TOKENIZER_FILES:
            if (base / name).is_file():
                shutil.copyfile(base / name, temporary / name)
        if not any((temporary / name).exists() for name in CHAT_TEMPLATES):
            (temporary / CHAT_TEMPLATES[0]).write_text(chat_template, encoding="utf-8")
        document = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        (temporary / "training_config.yaml").write_text(document, encoding="utf-8")
        (temporary / "README.md").write_text(_model_card(config, card), encoding="utf-8")
        if metrics.exists():
            shutil.copyfile(metrics, temporary / METRICS_FILE)
        digest = sha256_of(weights)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    return digest


def sha256_of(file: Path) -> str:
    """Hash a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def copy_of(source: Path, target: Path) -> None:
    """Have the file a second time, by link where the file system can. The content is never written in place, so both stay."""
    target.unlink(missing_ok=True)
    _link(source, target)


def _model_card(config: TrainingConfig, card: dict[str, Any]) -> str:
    """Front matter that the Hub and PEFT read, then the run in numbers."""
    front = {
        "base_model": card["base_model"],
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["lora"],
    }
    lines = ["---", yaml.safe_dump(front, sort_keys=False).strip(), "---", "", f"# {card['title']}", ""]
    lines += [
        f"A LoRA adapter for `{card['base_model']}`, trained with LoRA Studio.",
        "",
        "| | |",
        "|---|---|",
    ]
    lines += [f"| {name} | {value} |" for name, value in card["facts"].items()]
    lines += ["", "The whole config is in `training_config.yaml`, the curve in `metrics.csv`.", ""]
    return "\n".join(lines)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _no_room(what: str, temporary: Path) -> Iterator[None]:
    """Turn a full disk into DiskFull and remove what is half written. safetensors reports it as its own error, with the text."""
    try:
        yield
    except Exception as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if getattr(error, "errno", None) in NO_ROOM or any(
            os.strerror(each) in str(error) for each in NO_ROOM
        ):
            raise DiskFull(f"The disk is full: {what} could not be written.", "Free some space.") from error
        raise
