"""Files in a project's Storage: whole, in pieces, cut off, given up, too large. The services are the rig's."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from lora_core.errors import Conflict, DiskFull, Forbidden, NotFound, StoreError, TooLarge, Unavailable
from lora_core.store.supabase import blobs, resumable
from lora_core.store.supabase.blobs import SupabaseBlobStore
from lora_core.store.supabase.files import StorageFiles
from tests.supastub.rig import Person, Project

BUCKET = "lora-datasets"
PIECES = "/storage/v1/upload/resumable"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def anne(project: Project) -> Person:
    return project.add_person()


@pytest.fixture
def files(project: Project, anne: Person) -> Iterator[StorageFiles]:
    files = files_of(project, anne)
    yield files
    files.close()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pieces, the last one short."""
    path = tmp_path_factory.mktemp("large") / "adapter.safetensors"
    path.write_bytes(os.urandom(13 * 2**20))
    return path


def files_of(project: Project, person: Person) -> StorageFiles:
    headers = {"apikey": project.publishable_key, "authorization": f"Bearer {person.token}"}
    return StorageFiles(project.url, lambda: headers)


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / hashlib.sha256(content).hexdigest()[:8]
    path.write_bytes(content)
    return path


def read(files: StorageFiles, key: str) -> bytes:
    with files.open(BUCKET, key) as stream:
        return stream.read()


@pytest.mark.parametrize("content", [b"", b"hello", os.urandom(1_000_000)])
def test_a_small_file_comes_back_as_it_was(
    files: StorageFiles, anne: Person, tmp_path: Path, content: bytes
) -> None:
    key = f"{anne.id}/datasets/x/data+1=@a"
    files.put(BUCKET, key, written(tmp_path, content))
    assert (read(files, key), files.size(BUCKET, key)) == (content, len(content))


def test_a_large_file_goes_in_pieces_of_exactly_six_mebibytes(
    project: Project, files: StorageFiles, anne: Person, large: Path
) -> None:
    files.put(BUCKET, f"{anne.id}/big", large)
    assert read(files, f"{anne.id}/big") == large.read_bytes()
    assert project.faults.count(PIECES, "PATCH") == 3
    assert project.faults.count("/storage/v1/object/", "POST") == 0


@pytest.mark.parametrize("after_bytes", [0, 2_000_000, 6 * 2**20])
def test_an_upload_that_is_cut_goes_on_from_there(
    project: Project, files: StorageFiles, anne: Person, large: Path, after_bytes: int
) -> None:
    project.faults.cut_upload(PIECES, after_bytes, method="PATCH", times=2)
    files.put(BUCKET, f"{anne.id}/big", large)
    assert read(files, f"{anne.id}/big") == large.read_bytes()
    assert project.faults.count(PIECES, "POST") == 1


@pytest.mark.parametrize("upsert", [False, True])
def test_lost_replies_to_pieces_lose_nothing(
    project: Project, files: StorageFiles, anne: Person, large: Path, upsert: bool
) -> None:
    project.faults.lose_reply(PIECES, method="PATCH", times=4)
    files.put(BUCKET, f"{anne.id}/big", large, upsert=upsert)
    assert read(files, f"{anne.id}/big") == large.read_bytes()


def test_an_upload_that_was_given_up_goes_on_at_the_next_call(
    project: Project, files: StorageFiles, anne: Person, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "MOST_FAILURES", 2)
    project.faults.cut_upload(PIECES, 7_000_000, method="PATCH")
    project.faults.answer(PIECES, 503, method="HEAD", times=3)
    with pytest.raises(Unavailable):
        files.put(BUCKET, f"{anne.id}/big", large)
    project.faults.clear()
    files.put(BUCKET, f"{anne.id}/big", large)
    assert read(files, f"{anne.id}/big") == large.read_bytes()
    assert project.faults.count(PIECES, "POST") == 0


def test_an_upload_that_the_server_forgot_begins_again(
    project: Project, files: StorageFiles, anne: Person, large: Path
) -> None:
    project.faults.cut_upload(PIECES, 1_000_000, method="PATCH")
    project.faults.answer(PIECES, 404, method="HEAD")
    files.put(BUCKET, f"{anne.id}/big", large)
    assert read(files, f"{anne.id}/big") == large.read_bytes()
    assert project.faults.count(PIECES, "POST") == 2


def test_an_upload_that_is_forgotten_again_and_again_is_given_up(
    project: Project, files: StorageFiles, anne: Person, large: Path
) -> None:
    project.faults.answer(PIECES, 404, method="PATCH", times=50)
    project.faults.answer(PIECES, 404, method="HEAD", times=50)
    with pytest.raises(StoreError, match="lost the upload"):
        files.put(BUCKET, f"{anne.id}/big", large)


def test_a_small_file_whose_reply_was_lost_is_there(
    project: Project, files: StorageFiles, anne: Person, tmp_path: Path
) -> None:
    project.faults.lose_reply("/storage/v1/object/", method="POST")
    files.put(BUCKET, f"{anne.id}/x", written(tmp_path, b"hello"))
    assert read(files, f"{anne.id}/x") == b"hello"


@pytest.mark.parametrize("size", [10, 7_000_000])
def test_files_are_written_once_unless_they_may_be_replaced(
    files: StorageFiles, anne: Person, tmp_path: Path, size: int
) -> None:
    key = f"{anne.id}/x"
    files.put(BUCKET, key, written(tmp_path, b"a" * size))
    files.put(BUCKET, key, written(tmp_path, b"a" * size))
    with pytest.raises(Conflict):
        files.put(BUCKET, key, written(tmp_path, b"b" * (size + 1)))
    assert files.size(BUCKET, key) == size
    files.put(BUCKET, key, written(tmp_path, b"c" * (size + 2)), upsert=True)
    assert read(files, key) == b"c" * (size + 2)


@pytest.mark.parametrize(("limit", "size"), [(1000, 1001), (6_500_000, 7_000_000)])
def test_a_file_above_the_projects_limit_is_too_large_and_the_error_says_what_to_do(
    project: Project, files: StorageFiles, anne: Person, tmp_path: Path, limit: int, size: int
) -> None:
    project.settings.object_bytes = limit
    path = written(tmp_path, b"a" * size)
    with pytest.raises(TooLarge, match=rf"{path.name} \(.* MB\) is larger .*file size limit"):
        files.put(BUCKET, f"{anne.id}/x", path)


def test_a_file_above_our_own_limit_is_not_even_tried(project: Project, anne: Person, tmp_path: Path) -> None:
    files = StorageFiles(project.url, dict, max_object_bytes=10)
    with pytest.raises(TooLarge):
        files.put(BUCKET, f"{anne.id}/x", written(tmp_path, b"a" * 11))
    assert not project.faults.calls


def test_a_download_that_is_cut_raises_while_reading(
    project: Project, files: StorageFiles, anne: Person, large: Path
) -> None:
    files.put(BUCKET, f"{anne.id}/big", large)
    project.faults.cut_download("/storage/v1/object/", 3_000_000, method="GET")
    with files.open(BUCKET, f"{anne.id}/big") as stream:
        assert stream.read(1000) == large.read_bytes()[:1000]
        with pytest.raises(Unavailable):
            stream.read()


def test_a_download_reads_no_more_than_is_asked_for(
    files: StorageFiles, anne: Person, tmp_path: Path
) -> None:
    files.put(BUCKET, f"{anne.id}/x", written(tmp_path, b"one\ntwo\n"))
    with files.open(BUCKET, f"{anne.id}/x") as stream:
        assert (stream.readline(), stream.read(2), stream.read(), stream.read()) == (
            b"one\n",
            b"tw",
            b"o\n",
            b"",
        )


def test_a_missing_file_is_not_found(files: StorageFiles, anne: Person) -> None:
    for call in (files.open, files.size):
        with pytest.raises(NotFound):
            call(BUCKET, f"{anne.id}/nothing")


def test_files_of_others_are_not_found_and_cannot_be_written(
    project: Project, files: StorageFiles, anne: Person, tmp_path: Path, large: Path
) -> None:
    files.put(BUCKET, f"{anne.id}/x", written(tmp_path, b"hello"))
    with closing(files_of(project, project.add_person())) as other:
        with pytest.raises(NotFound):
            other.open(BUCKET, f"{anne.id}/x")
        for path in (written(tmp_path, b"mine"), large):
            with pytest.raises(Forbidden):
                other.put(BUCKET, f"{anne.id}/y", path)
        other.remove(BUCKET, [f"{anne.id}/x"])
    assert read(files, f"{anne.id}/x") == b"hello"


def test_a_folder_is_removed_with_all_that_is_below(
    files: StorageFiles, anne: Person, tmp_path: Path
) -> None:
    for name in ("job/1/a", "job/1/sub/b", "job/2/c", "jobs/d"):
        files.put(BUCKET, f"{anne.id}/{name}", written(tmp_path, b"x"))
    files.remove_folder(BUCKET, f"{anne.id}/job")
    files.remove_folder(BUCKET, f"{anne.id}/job")
    for name in ("job/1/a", "job/1/sub/b", "job/2/c"):
        with pytest.raises(NotFound):
            files.size(BUCKET, f"{anne.id}/{name}")
    assert files.size(BUCKET, f"{anne.id}/jobs/d") == 1


@pytest.mark.parametrize("key", ["../x", "a/../b", "ä", "a b", "", "a//b"])
def test_what_is_no_key_is_refused_before_any_call(project: Project, tmp_path: Path, key: str) -> None:
    files = StorageFiles(project.url, dict)
    for call in (
        lambda: files.open(BUCKET, key),
        lambda: files.put(BUCKET, key, written(tmp_path, b"x")),
        lambda: files.remove(BUCKET, [key]),
        lambda: files.remove_folder(BUCKET, key),
    ):
        with pytest.raises(Forbidden):
            call()
    assert not project.faults.calls


def test_a_project_that_is_away_is_unavailable(
    project: Project, files: StorageFiles, anne: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.stop_gateway()
    with pytest.raises(Unavailable, match="cannot be reached"):
        files.put(BUCKET, f"{anne.id}/x", written(tmp_path, b"x"))


def test_a_token_goes_to_the_project_only_wherever_an_upload_is_said_to_be(tmp_path: Path) -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        if request.method == "POST":
            return httpx.Response(201, headers={"location": "https://evil.test/x/upload/resumable/abc"})
        size = int(request.headers["upload-offset"]) + len(request.content)
        return httpx.Response(204, headers={"upload-offset": str(size)})

    files = StorageFiles("https://ref.supabase.co", dict, transport=httpx.MockTransport(answer))
    files.put(BUCKET, "a/x", written(tmp_path, b"a" * 7_000_000))
    assert {url.host for url in asked} == {"ref.storage.supabase.co"}
    assert str(asked[-1]).endswith("/storage/v1/upload/resumable/abc")


def test_a_file_of_a_person_leaves_nothing_behind_on_the_studios_machine(
    files: StorageFiles, anne: Person, tmp_path: Path
) -> None:
    store = SupabaseBlobStore(files, anne.id, tmp_path / "spool")
    size, sha256 = store.put(BUCKET, f"{anne.id}/x", iter([b"one", b"two"]))
    assert (size, sha256) == (6, hashlib.sha256(b"onetwo").hexdigest())
    assert not list((tmp_path / "spool").iterdir())


def test_a_full_disk_is_said_to_be_one(
    files: StorageFiles, anne: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "RESERVE_BYTES", 2**62)
    store = SupabaseBlobStore(files, anne.id, tmp_path / "spool")
    with pytest.raises(DiskFull):
        store.put(BUCKET, f"{anne.id}/x", iter([b"one"]))
    assert not list((tmp_path / "spool").iterdir())


def test_a_person_without_space_left_is_told_so(
    project: Project, files: StorageFiles, anne: Person, tmp_path: Path
) -> None:
    store = SupabaseBlobStore(files, anne.id, tmp_path / "spool")
    store.put(BUCKET, f"{anne.id}/datasets/x/data", iter([b"one"]))
    project.sql("insert into public.quotas (user_id, storage_bytes) values (%s, 2)", anne.id)
    with pytest.raises(Forbidden, match="used up"):
        store.put(BUCKET, f"{anne.id}/datasets/y/data", iter([b"two"]))
