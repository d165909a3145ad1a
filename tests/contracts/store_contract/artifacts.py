"""What every store of artifacts must do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_core.errors import Forbidden, NotAllowed, NotFound
from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.job import EndOfAttempt, Outcome
from tests.contracts.samples import (
    BEN,
    Studio,
    artifact_of,
    folder_of,
)
from tests.contracts.store_contract.stage import StoreContract


class ArtifactStoreContract(StoreContract):
    def test_a_stored_folder_has_sizes_and_hashes(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        folder = folder_of(tmp_path, {"a.bin": b"abc", "sub/b.bin": b""})
        artifact = studio.port.put_artifact(claim.attempt, artifact_of(claim), folder)
        found = {file.name: (file.bytes, file.sha256) for file in artifact.files}
        expected = {"a.bin": b"abc", "sub/b.bin": b""}
        assert found == {
            name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in expected.items()
        }
        assert (artifact.bytes, studio.anne.artifacts.get(artifact.id)) == (3, artifact)

    def test_a_file_of_an_artifact_can_be_read(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        artifact = studio.port.put_artifact(
            claim.attempt, artifact_of(claim), folder_of(tmp_path, {"sub/b.bin": b"xyz"})
        )
        with studio.anne.artifacts.open(artifact.id, "sub/b.bin") as stream:
            assert stream.read() == b"xyz"

    def test_a_file_that_an_artifact_does_not_have_is_not_found(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        artifact = studio.port.put_artifact(claim.attempt, artifact_of(claim), folder_of(tmp_path))
        for name in ("other.bin", "../../../studio.sqlite3", "", "/etc/hostname"):
            with pytest.raises(NotFound):
                studio.anne.artifacts.open(artifact.id, name)

    def test_another_persons_artifact_is_not_found(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        artifact = studio.port.put_artifact(claim.attempt, artifact_of(claim), folder_of(tmp_path))
        ben = studio.ben.artifacts
        calls: list[Callable[[], object]] = [
            lambda: ben.get(artifact.id),
            lambda: ben.open(artifact.id, "adapter.safetensors"),
            lambda: ben.pin(artifact.id, pinned=True),
            lambda: ben.delete(artifact.id),
        ]
        for call in calls:
            with pytest.raises(NotFound):
                call()

    def test_artifacts_are_listed_newest_first_by_kind(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        for step in (100, 300, 200):
            studio.port.put_artifact(claim.attempt, artifact_of(claim, step=step), folder_of(tmp_path))
        studio.port.put_artifact(claim.attempt, artifact_of(claim, ArtifactKind.ADAPTER), folder_of(tmp_path))
        listed = studio.anne.artifacts.list(claim.job.id, ArtifactKind.CHECKPOINT)
        assert [artifact.step for artifact in listed] == [300, 200, 100]
        assert len(studio.anne.artifacts.list(claim.job.id)) == 4

    def test_only_the_newest_best_checkpoint_is_the_best(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        for step in (100, 200):
            artifact = artifact_of(claim, step=step, best=True)
            studio.port.put_artifact(claim.attempt, artifact, folder_of(tmp_path))
        best = [artifact.step for artifact in studio.anne.artifacts.list(claim.job.id) if artifact.best]
        assert best == [200]

    def test_storing_the_same_artifact_again_returns_the_first(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        artifact = artifact_of(claim)
        first = studio.port.put_artifact(claim.attempt, artifact, folder_of(tmp_path))
        again = studio.port.put_artifact(
            claim.attempt, artifact, folder_of(tmp_path, {"other.bin": b"other"})
        )
        assert again == first

    def test_links_in_a_folder_are_left_out(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        secret = tmp_path / "secret"
        secret.write_bytes(b"key")
        folder = folder_of(tmp_path)
        (folder / "link").symlink_to(secret)
        (folder / "linked").symlink_to(tmp_path)
        artifact = studio.port.put_artifact(claim.attempt, artifact_of(claim), folder)
        assert [file.name for file in artifact.files] == ["adapter.safetensors"]

    def test_a_folder_without_files_is_refused(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        with pytest.raises(NotFound):
            studio.port.put_artifact(claim.attempt, artifact_of(claim), tmp_path / "nothing")
        assert not studio.anne.artifacts.list(claim.job.id)

    def test_an_artifact_for_somebody_else_is_refused(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        with pytest.raises(Forbidden):
            studio.port.put_artifact(claim.attempt, artifact_of(claim, user_id=BEN), folder_of(tmp_path))

    def test_a_pinned_checkpoint_survives_rotation(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        pinned, dropped = (
            studio.port.put_artifact(claim.attempt, artifact_of(claim), folder_of(tmp_path)) for _ in "ab"
        )
        assert studio.anne.artifacts.pin(pinned.id, pinned=True).pinned
        for artifact in (pinned, dropped, dropped):
            studio.port.drop_artifact(claim.job.id, claim.attempt, artifact.id)
        assert [artifact.id for artifact in studio.anne.artifacts.list(claim.job.id)] == [pinned.id]

    def test_a_runner_cannot_drop_an_adapter(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        adapter = artifact_of(claim, ArtifactKind.ADAPTER)
        studio.port.put_artifact(claim.attempt, adapter, folder_of(tmp_path))
        with pytest.raises(Forbidden):
            studio.port.drop_artifact(claim.job.id, claim.attempt, adapter.id)

    def test_the_newest_checkpoint_of_an_unfinished_job_cannot_be_deleted(
        self, studio: Studio, tmp_path: Path
    ) -> None:
        claim = studio.claimed()
        older, newer = (
            studio.port.put_artifact(claim.attempt, artifact_of(claim, step=step), folder_of(tmp_path))
            for step in (1, 2)
        )
        with pytest.raises(NotAllowed):
            studio.anne.artifacts.delete(newer.id)
        studio.anne.artifacts.delete(older.id)
        assert [artifact.id for artifact in studio.anne.artifacts.list(claim.job.id)] == [newer.id]

    def test_a_deleted_artifact_takes_its_files_with_it(self, studio: Studio, tmp_path: Path) -> None:
        claim, _ = studio.running()
        artifact = studio.port.put_artifact(claim.attempt, artifact_of(claim), folder_of(tmp_path))
        studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=Outcome.COMPLETED))
        studio.anne.artifacts.delete(artifact.id)
        with pytest.raises(NotFound):
            studio.anne.blobs.open(artifact.bucket, f"{artifact.path}/adapter.safetensors")
