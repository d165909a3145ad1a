"""What a machine says of itself, and names that two runners never share."""

from pathlib import Path

import pytest

from runner.machine import Identity, describe_machine, usable_cpus, usable_memory_bytes


@pytest.mark.parametrize(
    ("text", "cpus"), [("50000 100000", 1), ("100000 100000", 1), ("max 100000", None), ("", None)]
)
def test_cpus_are_cut_by_the_quota_of_the_container(tmp_path: Path, text: str, cpus: int | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cpus(tmp_path) == (cpus or usable_cpus(tmp_path / "none"))


def test_memory_is_cut_by_the_limit_of_the_container(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    assert usable_memory_bytes(tmp_path) == 1_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert usable_memory_bytes(tmp_path) > 1_000_000


def test_a_runner_keeps_its_id_over_restarts_and_no_other_takes_it(tmp_path: Path) -> None:
    first = Identity(tmp_path, "box")
    second = Identity(tmp_path, "box")
    assert (first.name, second.name) == ("box", "box-2")
    assert first.id != second.id
    first.release()
    again = Identity(tmp_path, "box")
    assert again.id == first.id
    again.release()
    second.release()


def test_a_name_with_slashes_stays_in_its_folder(tmp_path: Path) -> None:
    identity = Identity(tmp_path / "runners", "../../etc/box")
    assert [path.parent for path in tmp_path.rglob("*.id")] == [tmp_path / "runners"]
    assert describe_machine(identity, "1").name == "../../etc/box"
    identity.release()
