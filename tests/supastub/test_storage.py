"""/storage/v1 through the real storage3 client."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from storage3.exceptions import StorageApiError
from supabase import Client

from tests.supastub.rig import Person, Project

Clients = Callable[[Person | None], Client]
Http = Callable[[Person | None], httpx.Client]
DATA = bytes(range(256)) * 40


def refused(call: Callable[[], object]) -> StorageApiError:
    with pytest.raises(StorageApiError) as caught:
        call()
    return caught.value


def key(person: Person) -> str:
    return f"{person.id}/datasets/1/data"


def test_what_goes_up_comes_down(client_of: Clients, anne: Person) -> None:
    bucket = client_of(anne).storage.from_("files")
    bucket.upload(key(anne), DATA, {"content-type": "application/x-ndjson", "cache-control": "60"})
    assert bucket.download(key(anne)) == DATA
    assert bucket.exists(key(anne))
    assert not bucket.exists(key(anne) + "x")
    info = bucket.info(key(anne))
    assert (info["size"], info["content_type"]) == (len(DATA), "application/x-ndjson")


def test_a_plain_body_goes_up_and_ranges_come_down(http: Http, anne: Person) -> None:
    path = f"/storage/v1/object/files/{key(anne)}"
    client = http(anne)
    assert client.post(path, content=DATA).json()["Key"] == f"files/{key(anne)}"
    for place in (path, path.replace("/object/", "/object/authenticated/")):
        part = client.get(place, headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, DATA[10:20])
    assert client.head(path).headers["content-length"] == str(len(DATA))


def test_every_error_is_a_400_with_the_true_status_inside(http: Http, anne: Person) -> None:
    answer = http(anne).get("/storage/v1/object/files/nothing/here")
    assert answer.status_code == 400
    assert answer.json() == {
        "statusCode": "404",
        "error": "not_found",
        "message": "Object not found",
        "code": "NoSuchKey",
    }


def test_somebody_elses_file_is_not_there_to_read_and_forbidden_to_write(
    client_of: Clients, anne: Person, ben: Person
) -> None:
    client_of(anne).storage.from_("files").upload(key(anne), DATA)
    bucket = client_of(ben).storage.from_("files")
    assert refused(lambda: bucket.download(key(anne))).status == "404"
    assert refused(lambda: bucket.upload(key(anne) + "2", DATA)).status == "403"
    assert bucket.remove([key(anne)]) == []
    assert refused(lambda: bucket.create_signed_url(key(anne), 60)).status == "404"


def test_a_file_is_replaced_only_on_request(project: Project, client_of: Clients, anne: Person) -> None:
    bucket = client_of(anne).storage.from_("files")
    bucket.upload(key(anne), DATA)
    assert refused(lambda: bucket.upload(key(anne), b"2")).status == "409"
    bucket.upload(key(anne), b"3", {"upsert": "true"})
    assert bucket.download(key(anne)) == b"3"
    bucket.update(key(anne), b"4")
    assert bucket.download(key(anne)) == b"4"
    assert len(project.sql("select * from storage.objects")) == 1


def test_removed_files_are_gone(client_of: Clients, anne: Person) -> None:
    bucket = client_of(anne).storage.from_("files")
    bucket.upload(key(anne), DATA)
    assert [row["name"] for row in bucket.remove([key(anne), "other"])] == [key(anne)]
    assert not bucket.exists(key(anne))


def test_listing_shows_folders_and_files(client_of: Clients, anne: Person) -> None:
    bucket = client_of(anne).storage.from_("files")
    for name in ("a/1", "a/2", "b"):
        bucket.upload(f"{anne.id}/{name}", DATA)
    found = bucket.list(anne.id)
    assert [(row["name"], row["id"] is None) for row in found] == [("a", True), ("b", False)]
    assert [row["name"] for row in bucket.list(f"{anne.id}/a", {"search": "2"})] == ["2"]


def test_a_token_in_a_header_is_seen_by_policies(project: Project) -> None:
    headers = {"apikey": project.publishable_key}
    path = f"{project.url}/storage/v1/object/files/pods/1"
    assert httpx.post(path, content=DATA, headers=headers).json()["statusCode"] == "403"
    headers["x-job-token"] = "let-me-in"
    assert httpx.post(path, content=DATA, headers=headers).status_code == 200
    assert httpx.get(path, headers=headers).content == DATA
    assert httpx.post(path, content=DATA, headers=headers).json()["statusCode"] == "409"  # write-once
    again = httpx.post(path, content=DATA, headers=headers | {"x-upsert": "true"})
    assert again.json()["statusCode"] == "403"  # there is no policy for updates
    assert httpx.delete(path, headers=headers).json()["statusCode"] == "404"


def test_limits_are_those_of_project_and_bucket(project: Project, client_of: Clients, anne: Person) -> None:
    bucket = client_of(anne).storage.from_("files")
    project.settings.object_bytes = 100
    error = refused(lambda: bucket.upload(key(anne), DATA))
    assert (error.status, error.code) == ("413", "Payload too large")
    project.settings.object_bytes = 1000_000_000
    project.sql("update storage.buckets set file_size_limit = 5")
    assert refused(lambda: bucket.upload(key(anne), DATA)).status == "413"
    assert project.sql("select * from storage.objects") == []


@pytest.mark.parametrize("name", ["ümlaut", "what#1", "100%25"])
def test_keys_are_ascii_without_some_marks(http: Http, anne: Person, name: str) -> None:
    path = "/storage/v1/object/files/" + re.sub("#", "%23", f"{anne.id}/{name}")
    assert http(anne).post(path, content=DATA).json()["code"] == "InvalidKey"


def test_a_signed_address_needs_no_key_and_ends(project: Project, client_of: Clients, anne: Person) -> None:
    bucket = client_of(anne).storage.from_("files")
    bucket.upload(key(anne), DATA)
    url = bucket.create_signed_url(key(anne), 60)["signedURL"]
    assert httpx.get(url).content == DATA
    assert httpx.get(url.replace("data?", "other?")).json()["code"] == "InvalidSignature"
    old = bucket.create_signed_url(key(anne), -1)["signedURL"]
    assert httpx.get(old).json()["code"] == "InvalidJWT"
    assert "attachment" in httpx.get(url + "&download=mine.jsonl").headers["content-disposition"]


def test_a_signed_upload_is_bound_to_its_key(client_of: Clients, anne: Person) -> None:
    bucket = client_of(anne).storage.from_("files")
    token = bucket.create_signed_upload_url(key(anne))["token"]
    nobody = client_of(None).storage.from_("files")
    assert refused(lambda: nobody.upload_to_signed_url(key(anne) + "2", token, DATA)).status == "400"
    nobody.upload_to_signed_url(key(anne), token, DATA)
    assert bucket.download(key(anne)) == DATA
    assert refused(lambda: nobody.upload_to_signed_url(key(anne), token, b"2")).status == "409"


def test_only_who_may_see_a_bucket_reads_its_limit(project: Project, http: Http, anne: Person) -> None:
    assert http(anne).get("/storage/v1/bucket/files").json()["statusCode"] == "404"
    headers = {"apikey": project.secret_key}
    assert (
        httpx.get(f"{project.url}/storage/v1/bucket/files", headers=headers).json()["file_size_limit"]
        == 20971520
    )


def test_sql_may_not_delete_objects(project: Project, client_of: Clients, anne: Person) -> None:
    client_of(anne).storage.from_("files").upload(key(anne), DATA)
    with (
        project.as_role("authenticated", {"sub": anne.id}) as connection,
        pytest.raises(Exception, match="Use the Storage API instead"),
    ):
        connection.execute("delete from storage.objects")


def test_bytes_of_a_test_are_gone_in_the_next(rig: object, tmp_path: Path) -> None:
    from tests.supastub.rig import Rig

    assert isinstance(rig, Rig)
    folder = rig.cluster.folder / "files-notes"
    with rig.project() as project:
        anne = project.add_person()
        headers = {"apikey": project.publishable_key, "Authorization": f"Bearer {anne.token}"}
        httpx.post(f"{project.url}/storage/v1/object/files/{key(anne)}", content=DATA, headers=headers)
        assert len(list(folder.iterdir())) == 1
    assert list(folder.iterdir()) == []


def test_moving_is_a_loud_501(client_of: Clients, anne: Person) -> None:
    assert refused(lambda: client_of(anne).storage.from_("files").move("a", "b")).status == "501"
