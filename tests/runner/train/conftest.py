"""The bench of these tests: a tiny random model, a task it can learn, and runs in this process."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runner.train.bench import Bench, one_thread

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The libraries warn of their own later versions; what is ours stays an error."""
    for item in items:
        if HERE in item.path.parents:
            for module in ("transformers", "peft", "trl", "torch", "bitsandbytes", "accelerate"):
                item.add_marker(pytest.mark.filterwarnings(rf"ignore:::{module}\."))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With louder words: the frozen head of a random model is too faint to be sure of anything, so nothing could be learned."""
    from safetensors.torch import load_file, save_file

    from runner.models.tiny import build_tiny_model

    folder = build_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"] *= 20
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def bench(tmp_path: Path, tiny_model: Path) -> Iterator[Bench]:
    with one_thread():
        yield Bench(tmp_path, tiny_model)
