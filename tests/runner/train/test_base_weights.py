"""Base models are told apart by their weights, however these are spread over files."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from runner.train.base_weights import config_identity, weights_identity


def tensors() -> dict[str, torch.Tensor]:
    numbers = torch.Generator().manual_seed(1)
    return {name: torch.randn(60, 70, generator=numbers) for name in ("a", "b", "c")}


def saved(folder: Path, *parts: dict[str, torch.Tensor]) -> Path:
    folder.mkdir()
    for number, part in enumerate(parts):
        save_file(
            part, folder / f"model-{number}.safetensors", metadata={"format": "pt", "part": str(number)}
        )
    return folder


def test_the_same_tensors_in_other_files_are_the_same_model(tmp_path: Path) -> None:
    whole = tensors()
    one = saved(tmp_path / "one", whole)
    two = saved(tmp_path / "two", {"c": whole["c"]}, {"b": whole["b"], "a": whole["a"]})
    assert weights_identity(one) == weights_identity(two)


@pytest.mark.parametrize("row", [0, 30, 59])
def test_a_changed_tensor_is_another_model(tmp_path: Path, row: int) -> None:
    changed = tensors()
    changed["b"][row] += 1e-3
    assert weights_identity(saved(tmp_path / "one", tensors())) != weights_identity(
        saved(tmp_path / "two", changed)
    )


@pytest.mark.parametrize("change", ["name", "format", "shape"])
def test_another_name_format_or_shape_is_another_model(tmp_path: Path, change: str) -> None:
    changed = tensors()
    b = changed.pop("b")
    changed |= {"name": {"z": b}, "format": {"b": b.bfloat16()}, "shape": {"b": b.reshape(70, 60)}}[change]
    assert weights_identity(saved(tmp_path / "one", tensors())) != weights_identity(
        saved(tmp_path / "two", changed)
    )


def test_small_tensors_count_too(tmp_path: Path) -> None:
    one = saved(tmp_path / "one", {"bias": torch.zeros(1)})
    two = saved(tmp_path / "two", {"bias": torch.ones(1)})
    assert weights_identity(one) != weights_identity(two)


def test_a_config_that_computes_the_same_is_the_same(tmp_path: Path) -> None:
    def identity(**said: object) -> str:
        (tmp_path / "config.json").write_text(json.dumps(said))
        return config_identity(tmp_path)

    first = identity(rope_theta=1e4, hidden_size=64, transformers_version="5.1", _name_or_path="/a")
    assert identity(hidden_size=64, rope_theta=1e4, transformers_version="5.2", dtype="float32") == first
    assert identity(hidden_size=64, rope_theta=1e6) != first
