"""Where weights lie, when they are whole, and what goes wrong on the way from the Hub. A small one stands in for it."""

import errno
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import httpx
import huggingface_hub
import pytest
from huggingface_hub import errors as hub

from lora_core.errors import DiskFull, ModelError, StudioError, Unavailable
from lora_core.models.catalogue import DEMO_MODEL, find_model
from lora_core.models.weights import (
    RESERVE_BYTES,
    completed,
    fetch_from_hub,
    folder_of,
    is_present,
    lossy_note,
    require_space,
)
from lora_core.secrets import Secret

COMMIT = "c0ffee"


class FakeHub:
    """Serves one folder as a model. Fails once with each error it is given, before the first byte or in the middle."""

    def __init__(self, served: Path) -> None:
        self.served = served
        self.listing_error: Exception | None = None
        self.error_after_files: tuple[int, Exception] | None = None
        self.calls: list[dict[str, object]] = []
        self.sizes: dict[str, int] = {}

    def api(self, token: object) -> "FakeHub":
        self.calls.append({"token": token})
        return self

    def model_info(self, hub_id: str, **options: object) -> SimpleNamespace:
        if self.listing_error:
            raise self.listing_error
        files = [
            SimpleNamespace(rfilename=path.name, size=self.sizes.get(path.name, path.stat().st_size))
            for path in sorted(self.served.iterdir())
        ]
        return SimpleNamespace(sha=COMMIT, siblings=files)

    def snapshot_download(
        self, hub_id: str, *, local_dir: Path, allow_patterns: list[str], **options: object
    ) -> str:
        self.calls.append({"files": allow_patterns, **options})
        (local_dir / ".cache").mkdir(exist_ok=True)
        for number, name in enumerate(sorted(allow_patterns)):
            if self.error_after_files and self.error_after_files[0] == number:
                error, self.error_after_files = self.error_after_files[1], None
                raise error
            shutil.copy(self.served / name, local_dir / name)
        return str(local_dir)


@pytest.fixture
def fake_hub(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(tiny_model)
    monkeypatch.setattr(huggingface_hub, "HfApi", fake.api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.snapshot_download)
    return fake


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "home" / "models"


def response(status: int) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "http://hub.test"))


def test_weights_lie_under_the_slug_or_in_the_local_folder(tiny_model: Path, models: Path) -> None:
    assert folder_of(find_model("a/b"), models) == models / "a--b"
    assert folder_of(find_model(str(tiny_model), local_roots=[tiny_model]), models) == tiny_model.resolve()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_folder_without_an_essential_file_is_not_whole(tiny_model: Path, name: str) -> None:
    assert is_present(tiny_model)
    (tiny_model / name).unlink()
    assert not is_present(tiny_model)


def test_every_shard_of_the_index_is_needed(tiny_model: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (tiny_model / "model.safetensors.index.json").write_text(json.dumps(index))
    assert not is_present(tiny_model)
    shutil.copy(tiny_model / "model.safetensors", tiny_model / "model-2.safetensors")
    assert is_present(tiny_model)


def test_fetched_folder_is_whole_and_holds_only_what_is_wanted(
    fake_hub: FakeHub, tiny_model: Path, models: Path
) -> None:
    for name in ("pytorch_model.bin", "modeling_x.py", "consolidated.safetensors", "README.md"):
        (tiny_model / name).write_text("unwanted")
    (tiny_model / "LICENSE.txt").write_text("Apache-2.0")
    seen: list[tuple[int, int]] = []
    folder = fetch_from_hub(
        find_model("a/b@main"), models, token=Secret("hf_x"), progress=lambda *s: seen.append(s)
    )
    assert folder == models / "a--b@main"
    assert sorted(path.name for path in folder.iterdir()) == [
        "LICENSE.txt", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert fake_hub.calls[0] == {"token": "hf_x"}
    assert fake_hub.calls[1]["revision"] == COMMIT
    total_bytes = sum(path.stat().st_size for path in folder.iterdir())
    assert seen[-1] == (total_bytes, total_bytes)


def test_a_token_of_this_machine_is_not_used_unasked(fake_hub: FakeHub, models: Path) -> None:
    fetch_from_hub(find_model("a/b"), models)
    assert fake_hub.calls[0] == {"token": False}


def test_second_fetch_asks_no_network(fake_hub: FakeHub, models: Path) -> None:
    fetch_from_hub(find_model("a/b"), models)
    fake_hub.listing_error = AssertionError("asked again")
    assert is_present(fetch_from_hub(find_model("a/b"), models))


def test_interrupted_fetch_leaves_no_model_and_goes_on(fake_hub: FakeHub, models: Path) -> None:
    fake_hub.error_after_files = (2, httpx.ReadError("cut"))
    with pytest.raises(Unavailable, match="could not be fetched"):
        fetch_from_hub(find_model("a/b"), models)
    assert not (models / "a--b").exists()
    assert (models / ".a--b.partial" / "config.json").exists()
    assert is_present(fetch_from_hub(find_model("a/b"), models))


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (hub.OfflineModeIsEnabled("offline"), Unavailable, "local folder"),
        (httpx.ConnectTimeout("slow"), Unavailable, "try again"),
        (hub.LocalEntryNotFoundError("offline"), Unavailable, "cannot be reached"),
        (hub.HfHubHTTPError("busy", response=response(503)), Unavailable, "cannot be reached"),
        (hub.GatedRepoError("gated", response=response(403)), ModelError, "Accept its licence"),
        (hub.RepositoryNotFoundError("none", response=response(404)), ModelError, "spelling"),
        (hub.RevisionNotFoundError("none", response=response(404)), ModelError, "revision"),
        (OSError(errno.ENOSPC, "full"), DiskFull, "Free some space"),
    ],
)
def test_failure_says_what_to_do(
    fake_hub: FakeHub, models: Path, error: Exception, kind: type[StudioError], says: str
) -> None:
    fake_hub.listing_error = error
    with pytest.raises(kind, match=says):
        fetch_from_hub(find_model("a/b"), models)


def test_model_without_safetensors_is_refused(fake_hub: FakeHub, tiny_model: Path, models: Path) -> None:
    (tiny_model / "model.safetensors").rename(tiny_model / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no safetensors"):
        fetch_from_hub(find_model("a/b"), models)


def test_model_larger_than_the_disk_is_refused_before_the_first_byte(fake_hub: FakeHub, models: Path) -> None:
    fake_hub.sizes["model.safetensors"] = 10**18
    with pytest.raises(DiskFull, match=r"1000000000\.0 GB"):
        fetch_from_hub(find_model("a/b"), models)
    assert not any("files" in call for call in fake_hub.calls)


def test_a_reserve_stays_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=RESERVE_BYTES + 10))
    require_space(tmp_path, 10)
    with pytest.raises(DiskFull, match="LORA_STUDIO_HOME"):
        require_space(tmp_path, 11)


def test_numbers_of_an_unlisted_model_are_known_once_it_is_here(fake_hub: FakeHub, models: Path) -> None:
    info = find_model("a/b")
    assert completed(info, models) == info
    fetch_from_hub(info, models)
    full = completed(info, models)
    assert (full.id, full.hub_id, full.model_type, full.parameters) == ("a/b", "a/b", "llama", 88)


def test_what_the_catalogue_says_stays(fake_hub: FakeHub, models: Path) -> None:
    fetch_from_hub(DEMO_MODEL, models)
    assert completed(DEMO_MODEL, models) == DEMO_MODEL


def test_only_a_lossy_copy_has_a_note(tiny_model: Path) -> None:
    assert lossy_note(tiny_model) is None
    (tiny_model / "lossy.json").write_text(json.dumps({"note": "a copy"}))
    assert lossy_note(tiny_model) == "a copy"
