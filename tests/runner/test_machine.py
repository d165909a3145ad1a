"""What a machine says of itself, and names that two runners never share."""

from pathlib import Path

import pytest

from runner.machine import Identity, describe_machine, find_origin, usable_cpus, usable_memory_bytes


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


def test_a_copied_home_gives_the_other_machine_a_name_and_an_id_of_its_own(tmp_path: Path) -> None:
    first = Identity(tmp_path, "box", machine="a")
    first.release()  # the copy does not see its lock
    copied = Identity(tmp_path, "box", machine="b")
    assert copied.name == "box-2"
    assert copied.id != first.id
    copied.release()
    again = [Identity(tmp_path, "box", machine=machine) for machine in ("a", "b")]
    assert [(each.name, each.id) for each in again] == [("box", first.id), ("box-2", copied.id)]
    for each in again:
        each.release()


def test_an_id_from_before_goes_to_the_machine_that_uses_it_first(tmp_path: Path) -> None:
    (tmp_path / "box.id").write_text("some-id")
    first = Identity(tmp_path, "box", machine="a")
    first.release()
    second = Identity(tmp_path, "box", machine="b")
    second.release()
    assert (first.id, second.name) == ("some-id", "box-2")


def test_a_pod_keeps_its_id_wherever_its_volume_goes(tmp_path: Path) -> None:
    first = Identity(tmp_path, "pod-1", alone=True, machine="a")
    first.release()
    second = Identity(tmp_path, "pod-2", alone=True, machine="b")
    second.release()
    assert first.id == second.id


def test_a_machine_knows_itself_and_does_not_give_away_how(tmp_path: Path) -> None:
    here = find_origin()
    assert here == find_origin()
    assert not here.has_restarted(here)
    assert not here.is_elsewhere(here)
    boot = Path("/proc/sys/kernel/random/boot_id")
    if boot.exists():
        assert here.boot
        assert here.boot not in boot.read_text()


def test_two_machines_of_one_name_in_a_team_are_told_apart_by_their_names(tmp_path: Path) -> None:
    machines = [Identity(tmp_path / home, "box", among_others=True) for home in "ab"]
    assert [each.name for each in machines] == [f"box ({each.id[:4]})" for each in machines]
    machines[0].release()
    again = Identity(tmp_path / "a", "box", among_others=True)
    assert again.name == machines[0].name
    for each in (again, machines[1]):
        each.release()
