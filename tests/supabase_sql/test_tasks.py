"""The runner's side of tasks: claim, report, close, and the data set a task is about."""

import uuid
from typing import Any

import pytest

from tests.supabase_sql.stage import hex_of, refused
from tests.supabase_sql.workshop import START, Json, Workshop, call, new_token, race, runner_of
from tests.supastub.rig import Person


class Errand:
    """A claimed task in the hands of a runner."""

    def __init__(self, shop: Workshop, row: Json, token: str) -> None:
        self.shop = shop
        self.row = row
        self.token = token

    @property
    def key(self) -> Json:
        return {"token": self.token, "task": self.row["id"]}

    def progress(self, share: float = 0.5, message: str = "half", lease_seconds: float = 30) -> None:
        self.shop.ask(
            "task_progress", **self.key, progress=share, message=message, lease_seconds=lease_seconds
        )

    def end(self, error: str | None = "") -> None:
        self.shop.ask("task_end", **self.key, error=error)

    def dataset(self) -> Json:
        row: Json = self.shop.ask("task_dataset", **self.key)
        return row

    def save(self, dataset: Json) -> Json:
        row: Json = self.shop.ask("task_save_dataset", **self.key, dataset=dataset)
        return row

    def add(self, dataset: Json) -> Json:
        row: Json = self.shop.ask("task_add_dataset", **self.key, dataset=dataset)
        return row

    def version(self, *, stored: bool = True, **changes: Any) -> Json:
        """Make a new version of the task's data set; its file is stored unless not wanted."""
        made, owner = str(uuid.uuid4()), self.row["user_id"]
        values = {
            "id": made,
            "user_id": owner,
            "name": "Support tickets (cleaned)",
            "storage_bucket": "lora-datasets",
            "storage_path": f"{owner}/datasets/{made}/data",
            "bytes": 4,
            "status": "ready",
            "format": "alpaca",
            "mapping": {},
            "rows": 1,
            "sha256": "",
            "parent_id": self.row["subject_id"],
            "created_at": START.isoformat(),
            **changes,
        }
        if stored:
            self.shop.store(values["storage_path"], 4, values["storage_bucket"])
        return values


def add_task(shop: Workshop, subject: str = "subject", person: Person | None = None, **changes: Any) -> str:
    """Let a person ask for a task."""
    values = {
        "id": str(uuid.uuid4()),
        "kind": "check_dataset",
        "subject_id": subject,
        "created_at": START.isoformat(),
        **changes,
    }
    return str(shop.asked_by(person or shop.anne, "add_task", task=values)["id"])


def claim(
    shop: Workshop, runner: Json | None = None, *, token: str = "", task_token: str = "", by: Any = None
) -> Errand | None:
    """Claim a task."""
    made = task_token or new_token()
    parameters = {"token": token or shop.token, "runner": runner or runner_of(), "lease_seconds": 30}
    row = call(by or shop.anon, "task_claim", **parameters, task_token_sha256=hex_of(made))
    return None if row is None else Errand(shop, row, made)


def claimed(shop: Workshop, subject: str = "", **changes: Any) -> Errand:
    """Add a task about a data set and claim it."""
    add_task(shop, subject or shop.add_dataset(), **changes)
    errand = claim(shop)
    assert errand is not None
    return errand


def task(shop: Workshop, task_id: str) -> Json:
    return shop.sql("select * from public.tasks where id = %s", task_id)[0]


# Claims -----------------------------------------------------------------------------------------------------------------


def test_a_claimed_task_is_running(shop: Workshop) -> None:
    made = add_task(shop, arguments={"rows": 3})
    errand = claim(shop)
    assert errand is not None
    assert (errand.row["id"], errand.row["status"], errand.row["arguments"]) == (made, "running", {"rows": 3})
    assert (errand.row["runner_id"], errand.row["progress"], errand.row["tries"]) == ("workstation", 0, 1)
    assert claim(shop) is None


def test_the_oldest_task_is_taken_first(shop: Workshop) -> None:
    add_task(shop, "newer", created_at="2026-03-02T00:00:00Z")
    older = add_task(shop, "older")
    errand = claim(shop)
    assert errand is not None
    assert errand.row["id"] == older


def test_a_task_claim_with_the_same_token_is_the_same_claim(shop: Workshop) -> None:
    for subject in "ab":
        add_task(shop, subject)
    token = new_token()
    first, again = claim(shop, task_token=token), claim(shop, task_token=token)
    assert first is not None
    assert again is not None
    assert (again.row["id"], again.row["tries"]) == (first.row["id"], 1)


def test_a_task_token_of_an_ended_task_gives_nothing_again(shop: Workshop) -> None:
    add_task(shop)
    token = new_token()
    errand = claim(shop, task_token=token)
    assert errand is not None
    errand.end()
    add_task(shop)
    assert claim(shop, task_token=token) is None


def test_a_task_token_is_of_one_machine(shop: Workshop) -> None:
    add_task(shop)
    token = new_token()
    claim(shop, task_token=token)
    with refused("PT409", "in use already"):
        claim(shop, runner_of("other"), task_token=token)


def test_a_runner_of_ones_own_does_nobody_elses_tasks(shop: Workshop) -> None:
    add_task(shop)
    assert claim(shop, token=shop.register(shop.project.add_person())) is None


def test_a_runner_of_the_team_does_anybodys_tasks(shop: Workshop) -> None:
    made = add_task(shop)
    errand = claim(shop, token=shop.register(shop.project.add_person(operator=True), "team"))
    assert errand is not None
    assert errand.row["id"] == made


@pytest.mark.parametrize("token", ["lsr_unknown", "x" * 100_000])
def test_an_unknown_runner_token_claims_no_task(shop: Workshop, token: str) -> None:
    with refused("PT401", "runner token"):
        claim(shop, token=token)


def test_racing_runners_get_a_task_once(shop: Workshop) -> None:
    connections = shop.connections(4)
    for number in range(5):
        add_task(shop, f"subject {number}")
        answers = race(connections, lambda connection: claim(shop, by=connection))
        assert len([answer for answer in answers if answer is not None]) == 1


def test_a_task_of_a_lost_runner_is_taken_again(shop: Workshop) -> None:
    errand = claimed(shop)
    errand.progress(0.7)
    shop.wait(31)
    again = claim(shop, runner_of("other"))
    assert again is not None
    assert (again.row["id"], again.row["runner_id"], again.row["progress"], again.row["message"]) == (
        errand.row["id"],
        "other",
        0,
        "",
    )


def test_a_task_that_loses_every_runner_fails(shop: Workshop) -> None:
    made = add_task(shop)
    for _ in range(3):
        assert claim(shop) is not None
        shop.wait(31)
    assert claim(shop) is None
    row = task(shop, made)
    assert (row["status"], row["error"]) == ("failed", "The runner was lost three times while it did this.")


# Progress and ends ------------------------------------------------------------------------------------------------------


def test_progress_shows_and_keeps_the_task(shop: Workshop) -> None:
    errand = claimed(shop)
    shop.wait(20)
    errand.progress(0.5, "half")
    shop.wait(20)
    assert claim(shop, runner_of("other")) is None
    row = task(shop, errand.row["id"])
    assert (row["progress"], row["message"]) == (0.5, "half")


@pytest.mark.parametrize(("told", "shown"), [(-1, 0), (7, 1), (float("nan"), 0)])
def test_progress_is_a_share(shop: Workshop, told: float, shown: float) -> None:
    errand = claimed(shop)
    errand.progress(told, "x" * 5000)
    row = task(shop, errand.row["id"])
    assert (row["progress"], len(row["message"])) == (shown, 1000)


@pytest.mark.parametrize(
    ("error", "status", "progress"), [("", "done", 1), (None, "done", 1), ("bad file", "failed", 0.5)]
)
def test_an_ended_task_says_how_also_when_told_twice(
    shop: Workshop, error: str | None, status: str, progress: float
) -> None:
    errand = claimed(shop)
    errand.progress(0.5)
    for _ in range(2):
        errand.end(error)
    row = task(shop, errand.row["id"])
    assert (row["status"], row["error"], row["progress"], row["lease_until"]) == (
        status,
        error or "",
        progress,
        None,
    )


def test_an_ended_task_takes_no_progress_and_no_other_end(shop: Workshop) -> None:
    errand = claimed(shop)
    errand.end()
    for call_it in (errand.progress, lambda: errand.end("late"), errand.dataset):
        with refused("PT409", "The task has ended, or another runner has it."):
            call_it()


def test_an_earlier_try_is_fenced(shop: Workshop) -> None:
    errand = claimed(shop)
    shop.wait(31)
    again = claim(shop)  # the same machine, which has forgotten the first
    assert again is not None
    found = again.dataset()
    for call_it in (
        errand.progress,
        errand.end,
        errand.dataset,
        lambda: errand.save(found),
        lambda: errand.add(errand.version()),
    ):
        with refused("PT409", "The task has ended, or another runner has it."):
            call_it()
    again.end()


def test_a_task_token_ends_with_its_runner(shop: Workshop) -> None:
    errand = claimed(shop)
    shop.asked_by(shop.anne, "revoke_runner", id=shop.registration(shop.token))
    with refused("PT401", "task token"):
        errand.progress()


@pytest.mark.parametrize("token", ["", "lst_unknown", None, "x" * 100_000])
def test_an_unknown_task_token_is_refused(shop: Workshop, token: str | None) -> None:
    errand = claimed(shop)
    with refused("PT401", "task token"):
        shop.ask("task_end", token=token, task=errand.row["id"], error="")


def test_a_task_token_ends_after_three_days(shop: Workshop) -> None:
    errand = claimed(shop)
    shop.wait(73 * 3600)
    with refused("PT401", "task token"):
        errand.progress()


def test_a_task_token_stands_for_one_task(shop: Workshop) -> None:
    errand, other = claimed(shop), claimed(shop)
    for task_id in (other.row["id"], None):
        with refused("PT404", "There is no such task (any more)."):
            shop.ask("task_end", token=errand.token, task=task_id, error="")


# Data sets --------------------------------------------------------------------------------------------------------------


def test_a_task_reads_its_data_set(shop: Workshop) -> None:
    dataset = shop.add_dataset()
    assert claimed(shop, dataset).dataset()["id"] == dataset


@pytest.mark.parametrize("subject", ["Qwen/Qwen3-0.6B", "0d4fb1a6-2d0c-4d7c-9c0e-0a6a5b2f7c11"])
def test_a_task_without_a_data_set_reads_none(shop: Workshop, subject: str) -> None:
    with refused("PT404", "There is no such data set (any more)."):
        claimed(shop, subject).dataset()


def test_a_task_about_somebody_elses_data_set_reads_nothing(shop: Workshop) -> None:
    errand = claimed(shop, shop.add_dataset(shop.project.add_person()))
    with refused("PT404", "There is no such data set (any more)."):
        errand.dataset()


def test_a_task_writes_back_what_it_found(shop: Workshop) -> None:
    errand = claimed(shop)
    found = {
        "name": "New",
        "status": "ready",
        "format": "alpaca",
        "mapping": {"input": "q"},
        "rows": 7,
        "sha256": "ab",
        "report": {"rows": 7},
    }
    before = errand.dataset()
    content = {"bytes": 99, "storage_path": "elsewhere", "user_id": str(uuid.uuid4()), "file_name": "other"}
    assert errand.save({**before, **found, **content}) == {**before, **found} == errand.dataset()


def test_a_report_can_be_taken_back(shop: Workshop) -> None:
    errand = claimed(shop)
    errand.save({**errand.dataset(), "report": {"rows": 7}})
    assert errand.save({**errand.dataset(), "report": None})["report"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "x" * 121},
        {"status": "great"},
        {"status": None},
        {"rows": -1},
        {"rows": "many"},
        {"sha256": "x" * 65},
        {"format": "x" * 41},
        {"mapping": {"text": "x" * 10_000}},
    ],
)
def test_a_finding_that_is_none_is_refused(shop: Workshop, changes: Json) -> None:
    errand = claimed(shop)
    with refused("PT422"):
        errand.save({**errand.dataset(), **changes})


def test_a_report_beyond_all_measure_is_too_large(shop: Workshop) -> None:
    errand = claimed(shop)
    with refused("PT413"):
        errand.save({**errand.dataset(), "report": {"text": "x" * 2_000_000}})


def test_a_task_writes_back_no_other_data_set(shop: Workshop) -> None:
    errand = claimed(shop)
    other = shop.add_dataset()
    with refused("PT403", "A task writes back the data set it is about."):
        errand.save({**errand.dataset(), "id": other})


def test_a_task_stores_a_new_version(shop: Workshop) -> None:
    errand = claimed(shop)
    version = errand.version(rows=1, status="ready")
    row = errand.add(version)
    assert {name: row[name] for name in version if name != "created_at"} == {
        n: v for n, v in version.items() if n != "created_at"
    }
    assert errand.add({**version, "created_at": "2026-04-01T00:00:00Z"}) == row


def test_a_version_under_an_id_in_use_is_a_conflict(shop: Workshop) -> None:
    errand = claimed(shop)
    version = errand.version()
    errand.add(version)
    with refused("PT409", "There is another data set with this id."):
        errand.add({**version, "bytes": 5})


@pytest.mark.parametrize("changes", [{"parent_id": None}, {"parent_id": str(uuid.uuid4())}])
def test_a_version_has_its_parent(shop: Workshop, changes: Json) -> None:
    errand = claimed(shop)
    with refused("PT403", "store it as a new version of this one"):
        errand.add({**errand.version(), **changes})


def test_the_data_set_itself_is_no_new_version(shop: Workshop) -> None:
    errand = claimed(shop)
    with refused("PT403", "The content of a data set never changes"):
        errand.add({**errand.dataset(), "parent_id": errand.row["subject_id"]})


@pytest.mark.parametrize(
    "place",
    [
        {"storage_path": "{user}/datasets/other/data"},
        {"storage_path": "{user}/datasets/{id}"},
        {"storage_path": "{user}/datasets/{id}/"},
        {"storage_path": "{user}/datasets/{id}/../data"},
        {"storage_path": None},
        {"storage_bucket": "model-artifacts"},
        {"storage_bucket": None},
        {"user_id": str(uuid.uuid4())},
        {"user_id": None},
    ],
)
def test_a_version_lies_in_its_own_folder(shop: Workshop, place: Json) -> None:
    errand = claimed(shop)
    version = errand.version()
    names = {"user": version["user_id"], "id": version["id"]}
    changes = {name: value.format(**names) if value else None for name, value in place.items()}
    with refused("PT403", "A new version lies in its own folder, under the person it belongs to."):
        errand.add({**version, **changes})


@pytest.mark.parametrize(("stored", "size"), [(False, 4), (True, 5), (True, None)])
def test_a_version_whose_file_has_not_arrived_is_refused(
    shop: Workshop, stored: bool, size: int | None
) -> None:
    errand = claimed(shop)
    with refused("PT409", "has not arrived as it was sent"):
        errand.add({**errand.version(stored=stored), "bytes": size})


def test_a_version_beyond_the_storage_quota_is_refused(shop: Workshop) -> None:
    errand = claimed(shop)
    shop.sql("insert into public.quotas (user_id, storage_bytes) values (%s, 12)", shop.anne.id)
    with refused("PT422", "storage limit"):
        errand.add(errand.version())
