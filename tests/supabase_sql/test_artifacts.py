"""Rows of what an attempt reads and leaves behind: data sets, checkpoints, the adapter."""

import uuid
from typing import Any

import pytest

from tests.supabase_sql.stage import refused
from tests.supabase_sql.workshop import SHA256, START, Held, Json, Workshop


def listed(shop: Workshop) -> list[Json]:
    return shop.sql("select * from public.model_artifacts order by created_at, id")


def test_a_runner_reads_the_data_sets_of_its_job(shop: Workshop) -> None:
    validation = shop.add_dataset()
    held = shop.held(validation_dataset_id=validation)
    for dataset in (held.claim["dataset"]["id"], validation):
        assert shop.ask("job_dataset", **held.key, dataset=dataset)["id"] == dataset


@pytest.mark.parametrize("other", [None, "0d4fb1a6-2d0c-4d7c-9c0e-0a6a5b2f7c11"])
def test_a_runner_reads_no_other_data_set(shop: Workshop, other: str | None) -> None:
    held = shop.held()
    for dataset in (other, shop.add_dataset()):
        with refused("PT404", "The job does not use that data set."):
            shop.ask("job_dataset", **held.key, dataset=dataset)


def test_the_data_set_is_not_read_once_the_attempt_has_ended(shop: Workshop) -> None:
    held = shop.running()
    held.end("completed")
    with refused("PT409", "has ended"):
        shop.ask("job_dataset", **held.key, dataset=held.claim["dataset"]["id"])


def test_an_artifact_is_entered_with_sizes_and_hashes(shop: Workshop) -> None:
    held = shop.held()
    artifact = held.artifact(stored=False)
    artifact["files"] = [
        {"name": "a.bin", "bytes": 3, "sha256": SHA256},
        {"name": "sub/b.bin", "bytes": 0, "sha256": "f" * 64},
    ]
    for file in artifact["files"]:
        shop.store(f"{artifact['path']}/{file['name']}", file["bytes"])
    row = held.put(artifact)
    assert row == shop.ask("job_artifact", **held.key, artifact=artifact["id"])
    assert (row["files"], row["bytes"], row["bucket"], row["path"]) == (
        artifact["files"],
        3,
        "model-artifacts",
        artifact["path"],
    )
    assert (row["user_id"], row["job_id"], row["attempt"], row["step"]) == (shop.anne.id, held.id, 1, 100)
    assert (row["version"], row["best"], row["pinned"], listed(shop)[0]["created_at"]) == (
        1,
        False,
        False,
        START,
    )


def test_the_place_of_an_artifact_may_be_left_to_the_database(shop: Workshop) -> None:
    held = shop.held()
    artifact = held.artifact()
    assert held.put({**artifact, "path": "", "bucket": None})["path"] == artifact["path"]


@pytest.mark.parametrize("place", [{"path": "elsewhere"}, {"bucket": "lora-datasets"}])
def test_an_artifact_lies_in_the_folder_of_its_attempt(shop: Workshop, place: Json) -> None:
    held = shop.held()
    with refused("PT403", "An artifact lies in the folder of its attempt."):
        held.put(held.artifact(**place))


def test_an_artifact_for_somebody_else_is_refused(shop: Workshop) -> None:
    held = shop.held()
    with refused("PT403", "An artifact belongs to the person whose job made it."):
        held.put(held.artifact(user_id=shop.project.add_person().id))


def test_an_artifact_whose_file_has_not_arrived_is_refused(shop: Workshop) -> None:
    held = shop.held()
    with refused("PT409", "The file adapter.safetensors has not arrived as it was sent."):
        held.put(held.artifact(stored=False))


def test_an_artifact_whose_file_arrived_in_part_is_refused(shop: Workshop) -> None:
    held = shop.held()
    artifact = held.artifact()
    artifact["files"][0]["bytes"] = 11
    with refused("PT409", "has not arrived"):
        held.put(artifact)


def test_a_file_in_another_bucket_does_not_count(shop: Workshop) -> None:
    held = shop.held()
    artifact = held.artifact(stored=False)
    shop.store(f"{artifact['path']}/adapter.safetensors", bucket="training-files")
    with refused("PT409", "has not arrived"):
        held.put(artifact)


@pytest.mark.parametrize(
    "files",
    [
        None,
        [],
        {},
        ["x"],
        [{"name": "a", "bytes": 1}],
        [{"name": "a", "sha256": SHA256}],
        [{"bytes": 1, "sha256": SHA256}],
        [{"name": "../a", "bytes": 1, "sha256": SHA256}],
        [{"name": "/a", "bytes": 1, "sha256": SHA256}],
        [{"name": "ä", "bytes": 1, "sha256": SHA256}],
        [{"name": "a", "bytes": -1, "sha256": SHA256}],
        [{"name": "a", "bytes": 1, "sha256": "short"}],
        [{"name": "a", "bytes": 1, "sha256": SHA256}] * 2,
        [{"name": f"{place}", "bytes": 1, "sha256": SHA256} for place in range(1001)],
    ],
)
def test_files_that_are_not_described_well_are_refused(shop: Workshop, files: Any) -> None:
    held = shop.held()
    with refused("PT422"):
        held.put(held.artifact(files=files))


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": "x"},
        {"kind": "model"},
        {"kind": None},
        {"name": ""},
        {"name": None},
        {"job_id": str(uuid.uuid4())},
        {"best": "perhaps"},
    ],
)
def test_an_artifact_that_is_none_is_refused(shop: Workshop, changes: Json) -> None:
    held = shop.held()
    with refused("PT422"):
        held.put({**held.artifact(), **changes})
    assert listed(shop) == []


def test_the_same_artifact_again_is_the_first(shop: Workshop) -> None:
    held = shop.held()
    artifact = held.artifact()
    first = held.put(artifact)
    assert held.put({**artifact, "name": "other", "files": []}) == first
    assert len(listed(shop)) == 1


def test_an_artifact_id_of_another_job_is_a_conflict(shop: Workshop) -> None:
    held = shop.held()
    artifact = held.put(held.artifact())
    other = shop.held()
    with refused("PT409", "There is another artifact with this id."):
        other.put(other.artifact(artifact["id"]))


def test_an_artifact_id_of_an_earlier_attempt_is_a_conflict(shop: Workshop) -> None:
    held = shop.running()
    artifact = held.put(held.artifact())
    again = held.again()
    with refused("PT409", "There is another artifact with this id."):
        again.put(again.artifact(artifact["id"]))


def test_only_the_newest_best_of_a_kind_is_the_best(shop: Workshop) -> None:
    held = shop.held()
    adapter = held.put(held.artifact(kind="adapter", best=True))
    first, second = (held.put(held.artifact(best=True, step=step)) for step in (100, 200))
    assert {str(row["id"]) for row in listed(shop) if row["best"]} == {adapter["id"], second["id"]}
    assert first["best"]


def test_a_checkpoint_is_the_jobs_newest(shop: Workshop) -> None:
    held = shop.running()
    held.put(held.artifact(step=300))
    held.put(held.artifact(kind="adapter", step=400))
    assert held.row()["checkpoint_step"] == 300


def test_the_next_attempt_gets_the_newest_checkpoint(shop: Workshop) -> None:
    held = shop.running()
    for step in (100, 300, 200):
        held.put(held.artifact(step=step))
    again = held.again()
    assert again.claim["checkpoint"]["step"] == 300
    assert shop.ask("job_artifact", **again.key, artifact=again.claim["checkpoint"]["id"])["attempt"] == 1


def test_a_runner_reads_no_artifact_of_another_job(shop: Workshop) -> None:
    held = shop.held()
    artifact = held.put(held.artifact())
    other = shop.held()
    for missing in (artifact["id"], str(uuid.uuid4()), None):
        with refused("PT404", "The job has no such artifact (any more)."):
            shop.ask("job_artifact", **other.key, artifact=missing)


def test_a_rotated_checkpoint_is_dropped_once(shop: Workshop) -> None:
    held = shop.held()
    artifact = held.put(held.artifact())
    assert held.drop(artifact["id"]) == artifact
    assert held.drop(artifact["id"]) is None
    assert listed(shop) == []


def test_a_pinned_checkpoint_survives_rotation(shop: Workshop) -> None:
    held = shop.held()
    artifact = held.put(held.artifact())
    shop.asked_by(shop.anne, "pin_artifact", artifact=artifact["id"], pinned=True)
    assert held.drop(artifact["id"]) is None
    assert len(listed(shop)) == 1


def test_a_runner_cannot_drop_an_adapter(shop: Workshop) -> None:
    held = shop.held()
    artifact = held.put(held.artifact(kind="adapter"))
    with refused("PT403", "A runner removes checkpoints only."):
        held.drop(artifact["id"])


def test_a_runner_drops_nothing_of_another_job(shop: Workshop) -> None:
    held = shop.held()
    artifact = held.put(held.artifact())
    other = shop.held()
    assert other.drop(artifact["id"]) is None
    assert len(listed(shop)) == 1


def test_a_checkpoint_of_an_earlier_attempt_can_be_dropped(shop: Workshop) -> None:
    held = shop.running()
    artifact = held.put(held.artifact())
    assert (held.again().drop(artifact["id"]) or {})["id"] == artifact["id"]


def test_a_value_that_is_not_finite_is_left_out(shop: Workshop) -> None:
    held = shop.held()
    assert held.put(held.artifact(eval_loss="NaN"))["eval_loss"] is None
    assert held.put(held.artifact(eval_loss=1.5))["eval_loss"] == 1.5


def test_an_artifact_of_the_tail_keeps_its_job_as_it_is(shop: Workshop) -> None:
    held = shop.running()
    held.end("completed")
    Held.put(held, held.artifact(kind="adapter"))
    assert held.row()["status"] == "completed"
