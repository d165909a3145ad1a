"""Copies of files from a store that is elsewhere: each person's in a folder of their own, whole or not there, within bounds."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from lora_core.actions import files
from lora_core.actions.files import drop_local_copy, local_copy
from lora_core.actions.workspace import Workspace
from lora_core.errors import Unavailable
from lora_core.schema.base import new_id, utc_now
from lora_core.schema.dataset import Dataset

ANNE, BEN = "aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000"


class FarBlobs:
    """Files behind a network that may break off."""

    max_object_bytes = 2**30

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.opened = 0
        self.breaks = False

    def put(self, bucket: str, key: str, content: Iterator[bytes]) -> tuple[int, str]:
        raise NotImplementedError

    def open(self, bucket: str, key: str) -> BinaryIO:
        self.opened += 1
        return Breaking(self.content) if self.breaks else io.BytesIO(self.content)

    def delete(self, bucket: str, key: str) -> None:
        raise NotImplementedError


class Breaking(io.BytesIO):
    """Half of what was asked for, then the network is gone."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise Unavailable("The network is gone.")
        return super().read(3)


def view_of(workspace: Workspace, user_id: str, content: bytes) -> tuple[Workspace, FarBlobs]:
    blobs = FarBlobs(content)
    return Workspace(**vars(workspace) | {"user_id": user_id, "blobs": blobs}), blobs


def dataset(user_id: str, size: int = 5) -> Dataset:
    key = new_id()
    return Dataset(
        id=key,
        user_id=user_id,
        name="x",
        file_name="x.jsonl",
        storage_bucket="lora-datasets",
        storage_path=f"{user_id}/datasets/{key}/data",
        bytes=size,
        sha256="",
        created_at=utc_now(),
    )


def kept(workspace: Workspace) -> list[Path]:
    return [path for path in (workspace.settings.root / "cache").rglob("*") if path.is_file()]


def test_a_file_is_fetched_once(workspace: Workspace) -> None:
    anne, blobs = view_of(workspace, ANNE, b"hello")
    found = dataset(ANNE)
    assert local_copy(anne, found).read_bytes() == b"hello"
    assert local_copy(anne, found).read_bytes() == b"hello"
    assert blobs.opened == 1


def test_a_copy_is_not_handed_to_another_person(workspace: Workspace) -> None:
    anne, _ = view_of(workspace, ANNE, b"Annes")
    ben, blobs = view_of(workspace, BEN, b"Ben's")
    found = dataset(ANNE)
    assert local_copy(anne, found) != local_copy(ben, found)
    assert local_copy(ben, found).read_bytes() == b"Ben's"
    assert blobs.opened == 1, "what Ben gets, his own store has given him"
    assert (workspace.settings.root / "cache").stat().st_mode & 0o077 == 0


def test_a_fetch_that_breaks_off_leaves_nothing(workspace: Workspace) -> None:
    anne, blobs = view_of(workspace, ANNE, b"hello")
    found = dataset(ANNE)
    blobs.breaks = True
    with pytest.raises(Unavailable):
        local_copy(anne, found)
    assert not kept(workspace)
    blobs.breaks = False
    assert local_copy(anne, found).read_bytes() == b"hello"


def test_what_is_not_as_long_as_the_data_set_is_not_kept(workspace: Workspace) -> None:
    anne, _ = view_of(workspace, ANNE, b"<html>Sign in to this network</html>")
    with pytest.raises(Unavailable, match="whole"):
        local_copy(anne, dataset(ANNE))
    assert not kept(workspace)


def test_copies_stay_within_bounds(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CACHE_BYTES", 12)
    anne, _ = view_of(workspace, ANNE, b"hello")
    for _ in range(5):
        local_copy(anne, dataset(ANNE))
    assert len(kept(workspace)) == 2


def test_a_copy_goes_with_its_data_set(workspace: Workspace) -> None:
    anne, _ = view_of(workspace, ANNE, b"hello")
    found = dataset(ANNE)
    local_copy(anne, found)
    drop_local_copy(anne, found.id)
    drop_local_copy(anne, found.id)
    assert not kept(workspace)


@pytest.mark.parametrize("hostile", ["../../x", "x", ""])
def test_an_id_is_never_a_path(workspace: Workspace, hostile: str) -> None:
    anne, _ = view_of(workspace, ANNE, b"hello")
    with pytest.raises(ValueError, match="UUID"):
        drop_local_copy(anne, hostile)
