"""What every store of files must do."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from lora_core.errors import Forbidden, NotFound, StudioError
from tests.contracts.samples import (
    ANNE,
    BEN,
    Studio,
)
from tests.contracts.store_contract.stage import StoreContract


class BlobStoreContract(StoreContract):
    BUCKET = "lora-datasets"

    def test_a_file_comes_back_with_its_size_and_hash(self, studio: Studio) -> None:
        content = [b"one", b"", b"two"]
        size, sha256 = studio.anne.blobs.put(self.BUCKET, f"{ANNE}/datasets/x/data.jsonl", iter(content))
        assert (size, sha256) == (6, hashlib.sha256(b"onetwo").hexdigest())
        with studio.anne.blobs.open(self.BUCKET, f"{ANNE}/datasets/x/data.jsonl") as stream:
            assert stream.read() == b"onetwo"

    def test_a_missing_file_is_not_found(self, studio: Studio) -> None:
        with pytest.raises(NotFound):
            studio.anne.blobs.open(self.BUCKET, f"{ANNE}/datasets/x/data.jsonl")

    def test_deleting_twice_is_no_error(self, studio: Studio) -> None:
        key = f"{ANNE}/datasets/x/data.jsonl"
        studio.anne.blobs.put(self.BUCKET, key, iter([b"x"]))
        studio.anne.blobs.delete(self.BUCKET, key)
        studio.anne.blobs.delete(self.BUCKET, key)
        with pytest.raises(NotFound):
            studio.anne.blobs.open(self.BUCKET, key)

    def test_a_file_that_breaks_off_leaves_nothing(self, studio: Studio) -> None:
        def breaks_off() -> Any:
            yield b"half"
            raise ConnectionResetError

        key = f"{ANNE}/datasets/x/data.jsonl"
        with pytest.raises((ConnectionResetError, StudioError)):
            studio.anne.blobs.put(self.BUCKET, key, breaks_off())
        with pytest.raises(NotFound):
            studio.anne.blobs.open(self.BUCKET, key)

    @pytest.mark.parametrize(
        "key", [f"{BEN}/datasets/x/data.jsonl", "data.jsonl", ANNE, f"{ANNE}/", "", f"{ANNE}x/y"]
    )
    def test_a_key_outside_the_persons_folder_is_forbidden(self, studio: Studio, key: str) -> None:
        for call in (
            lambda: studio.anne.blobs.put(self.BUCKET, key, iter([b"x"])),
            lambda: studio.anne.blobs.open(self.BUCKET, key),
            lambda: studio.anne.blobs.delete(self.BUCKET, key),
        ):
            with pytest.raises(Forbidden):
                call()

    @pytest.mark.parametrize(
        "rest", ["../x", "a/../../x", "a//b", "a/./b", "ä.txt", "a\x00b", "a\nb", "a b", "a\\b"]
    )
    def test_a_key_that_could_lead_elsewhere_is_forbidden(self, studio: Studio, rest: str) -> None:
        with pytest.raises(Forbidden):
            studio.anne.blobs.put(self.BUCKET, f"{ANNE}/{rest}", iter([b"x"]))

    def test_a_bucket_that_could_lead_elsewhere_is_forbidden(self, studio: Studio) -> None:
        with pytest.raises(Forbidden):
            studio.anne.blobs.put("../lora-datasets", f"{ANNE}/x", iter([b"x"]))
