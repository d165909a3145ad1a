"""What the token of a forked job opens: exactly the files of the checkpoint it starts from, and only while it is at work."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.supabase_sql.stage import refused
from tests.supabase_sql.test_files import ARTIFACTS, by_token
from tests.supabase_sql.workshop import Held, Json, Workshop


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@pytest.fixture
def kept(shop: Workshop) -> tuple[Json, Json]:
    """Return two checkpoints of a paused job, the first of which is forked."""
    parent = shop.running()
    both = parent.put(parent.artifact(step=50)), parent.put(parent.artifact(step=100))
    parent.end("paused")
    return both


@pytest.fixture
def fork(shop: Workshop, kept: tuple[Json, Json]) -> Held:
    return shop.held(parent_artifact_id=kept[0]["id"])


def seen(shop: Workshop, stack: ExitStack, held: Held) -> set[str]:
    return {key for key in by_token(shop, stack, held.token).seen() if key.startswith(ARTIFACTS)}


def test_a_fork_reads_the_checkpoint_it_starts_from_and_no_other_file_of_its_parent(
    shop: Workshop, stack: ExitStack, kept: tuple[Json, Json], fork: Held
) -> None:
    assert seen(shop, stack, fork) == {f"{ARTIFACTS}/{kept[0]['path']}/adapter.safetensors"}


def test_a_fork_writes_and_removes_nothing_of_its_parent(
    shop: Workshop, stack: ExitStack, kept: tuple[Json, Json], fork: Held
) -> None:
    files, key = by_token(shop, stack, fork.token), f"{kept[0]['path']}/adapter.safetensors"
    assert files.remove(key) == 0
    with refused("42501"):
        files.write(f"{kept[0]['path']}/more.safetensors")
    assert fork.drop(kept[0]["id"]) is None


def test_a_fork_that_has_ended_reads_nothing_of_its_parent(
    shop: Workshop, stack: ExitStack, fork: Held
) -> None:
    fork.end("failed")
    assert seen(shop, stack, fork) == set()


def test_a_job_that_is_no_fork_reads_nothing_of_others(
    shop: Workshop, stack: ExitStack, kept: tuple[Json, Json]
) -> None:
    assert seen(shop, stack, shop.held()) == set()


def test_a_fork_is_not_handed_out_without_its_checkpoint(shop: Workshop, kept: tuple[Json, Json]) -> None:
    job = shop.submit(parent_artifact_id=kept[0]["id"])
    shop.asked_by(shop.anne, "delete_artifact", artifact=kept[0]["id"])
    with refused("PT404", "The checkpoint that this job starts from has been deleted."):
        shop.asked_by(shop.anne, "hand_out_job", job=job, token_sha256="0" * 64, wait_seconds=60)
