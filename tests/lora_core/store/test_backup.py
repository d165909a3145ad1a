"""A backup is whole or not there, and a restore puts back exactly that, or nothing."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from lora_core.errors import Conflict, DiskFull, NotFound, StoreError, Unavailable
from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.job import EndOfAttempt, JobFilter, JobStatus, Outcome, RequestedAction
from lora_core.schema.metrics import MetricKind
from lora_core.settings import Settings
from lora_core.store.local import LocalStore, backup, presence, restore
from lora_core.store.local.backup import BackupReport, write_backup
from lora_core.store.local.restore import RestoreReport, check_backup, restore_backup
from tests.contracts.samples import (
    ANNE,
    ROWS,
    START,
    Studio,
    artifact_of,
    folder_of,
    runner_of,
    task_of,
)

LATER = START + timedelta(days=3)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def store(settings: Settings) -> Iterator[LocalStore]:
    opened = LocalStore(settings, lambda: START)
    yield opened
    opened.close()


@pytest.fixture
def studio(store: LocalStore) -> Studio:
    return stage(store)


def stage(store: LocalStore) -> Studio:
    return Studio(store.for_user(ANNE), store.for_user("ben"), store.runner_port())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backup"


def save(settings: Settings, folder: Path) -> BackupReport:
    return write_backup(settings.database, settings.files, folder, studio_version="0.1.0", made_at=START)


def put_back(folder: Path, home: Path, *, replace: bool = False) -> RestoreReport:
    return restore_backup(folder, home, replace=replace, now=LATER)


def trained(studio: Studio, tmp_path: Path) -> str:
    """Leave a completed job with points, a log line and an adapter; returns its id."""
    claim, events = studio.running()
    studio.port.ship(claim.job.id, claim.attempt, [*events.curve([3.0, 2.0, 1.0]), events.log("hello")])
    studio.port.put_artifact(
        claim.attempt, artifact_of(claim, ArtifactKind.ADAPTER), folder_of(tmp_path / "run")
    )
    studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=Outcome.COMPLETED))
    return claim.job.id


def everything(store: LocalStore) -> dict[str, object]:
    """What a person sees of the studio, with the bytes of all files."""
    anne = store.for_user(ANNE)
    found: dict[str, object] = {
        "datasets": anne.datasets.list(limit=500),
        "bell": anne.notifications.list(limit=500),
    }
    for dataset in anne.datasets.list(limit=500).items:
        with anne.blobs.open(dataset.storage_bucket, dataset.storage_path) as file:
            found[dataset.storage_path] = file.read()
    for job in anne.jobs.list(JobFilter(), limit=500).items:
        found[job.id] = (
            job,
            anne.jobs.attempts(job.id),
            anne.jobs.events(job.id, limit=500),
            anne.metrics.points(job.id, MetricKind.TRAIN, limit=500),
            anne.metrics.series(job.id, MetricKind.TRAIN, ["loss"]),
            anne.metrics.logs(job.id, limit=500),
            anne.artifacts.list(job.id),
        )
        for artifact in anne.artifacts.list(job.id):
            for file in artifact.files:
                with anne.artifacts.open(artifact.id, file.name) as stream:
                    found[f"{artifact.path}/{file.name}"] = stream.read()
    return found


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- a backup


def test_a_restored_studio_is_the_one_that_was_backed_up(
    studio: Studio, store: LocalStore, settings: Settings, folder: Path, tmp_path: Path
) -> None:
    trained(studio, tmp_path)
    studio.submit(name="waits")
    before = everything(store)
    save(settings, folder)
    put_back(folder, tmp_path / "other")
    other = LocalStore(Settings(home=tmp_path / "other"))
    assert everything(other) == before
    other.close()


def test_the_report_counts_what_was_copied(
    studio: Studio, settings: Settings, folder: Path, tmp_path: Path
) -> None:
    trained(studio, tmp_path)
    report = save(settings, folder)
    assert (report.datasets, report.jobs, report.files, report.missing, report.altered) == (1, 1, 2, (), ())
    assert report.bytes == sum(
        len(content) for name, content in contents(folder).items() if "manifest" not in name
    )


def test_the_list_of_issues_goes_with_its_data_set(studio: Studio, settings: Settings, folder: Path) -> None:
    dataset = studio.add_dataset()
    key = f"{dataset.storage_path.rsplit('/', 1)[0]}/issues.jsonl"
    studio.anne.blobs.put(dataset.storage_bucket, key, iter([b"{}\n"]))
    save(settings, folder)
    assert (folder / "files" / dataset.storage_bucket / key).read_bytes() == b"{}\n"


def test_models_caches_run_folders_and_keys_are_not_copied(
    studio: Studio, settings: Settings, folder: Path
) -> None:
    studio.add_dataset()
    for name in (
        "models/m/model.safetensors",
        "cache/x",
        "runs/j/1/events.jsonl",
        "runners/pc.id",
        "secret.key",
    ):
        (settings.root / name).parent.mkdir(parents=True, exist_ok=True)
        (settings.root / name).write_bytes(b"x")
    (settings.files / "lora-datasets" / "orphan").write_bytes(b"no row names it")
    save(settings, folder)
    assert {name.split("/")[0] for name in contents(folder)} == {"studio.sqlite3", "files", "manifest.jsonl"}
    assert not [name for name in contents(folder) if "orphan" in name]


def test_a_backup_is_a_single_database_file_without_log(
    studio: Studio, settings: Settings, folder: Path
) -> None:
    studio.submit()
    save(settings, folder)
    with closing(sqlite3.connect(f"file:{folder / 'studio.sqlite3'}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("SELECT count(*) FROM training_jobs").fetchone() == (1,)


def test_only_its_owner_may_look_into_a_backup(studio: Studio, settings: Settings, folder: Path) -> None:
    save(settings, folder)
    assert folder.stat().st_mode & 0o077 == 0


def test_a_backup_while_a_runner_writes_is_of_one_moment(
    studio: Studio, settings: Settings, folder: Path, tmp_path: Path
) -> None:
    claim, events = studio.running()
    stop, shipped = threading.Event(), threading.Event()

    def write() -> None:
        step = 0
        while not stop.is_set():
            step += 10
            studio.port.ship(claim.job.id, claim.attempt, events.curve([1.0] * 10, first=step - 9))
            if step == 20:
                shipped.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert shipped.wait(30)
        save(settings, folder)
    finally:
        stop.set()
        writer.join(30)
    put_back(folder, tmp_path / "other")
    other = LocalStore(Settings(home=tmp_path / "other")).for_user(ANNE)
    job = other.jobs.get(claim.job.id)
    series = other.metrics.series(job.id, MetricKind.TRAIN, ["loss"], points=100_000)
    assert series.last_step == job.current_step == series.total
    assert series.total % 10 == 0  # whole batches


def test_what_is_deleted_while_the_backup_runs_is_not_in_it(
    studio: Studio, settings: Settings, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doomed = trained(studio, tmp_path)
    copy_database = backup._copy_database

    def copy_then_delete(live: sqlite3.Connection, target: Path) -> int:
        size = copy_database(live, target)
        studio.anne.jobs.delete(doomed)
        return size

    monkeypatch.setattr(backup, "_copy_database", copy_then_delete)
    assert save(settings, folder).missing == ()
    put_back(folder, tmp_path / "other")
    with pytest.raises(NotFound):
        LocalStore(Settings(home=tmp_path / "other")).for_user(ANNE).jobs.get(doomed)


def test_files_that_were_lost_or_altered_before_are_named(
    studio: Studio, settings: Settings, folder: Path, tmp_path: Path
) -> None:
    lost = studio.add_dataset(name="lost")
    trained(studio, tmp_path)
    (settings.files / lost.storage_bucket / lost.storage_path).unlink()
    weights = next(settings.files.glob("model-artifacts/**/adapter.safetensors"))
    weights.write_bytes(b"rotten!")
    report = save(settings, folder)
    assert report.missing == (f"files/{lost.storage_bucket}/{lost.storage_path}",)
    assert report.altered == (f"files/{weights.relative_to(settings.files)}",)
    assert put_back(folder, tmp_path / "other").ending.missing == report.missing


def test_progress_ends_at_the_whole(studio: Studio, settings: Settings, folder: Path) -> None:
    studio.add_dataset()
    told: list[tuple[int, int]] = []
    write_backup(
        settings.database,
        settings.files,
        folder,
        studio_version="0",
        made_at=START,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1][0] == told[-1][1] > len(ROWS)


def test_without_a_studio_there_is_nothing_to_back_up_and_none_is_made(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(NotFound, match="There is no studio"):
        write_backup(
            tmp_path / "none" / "studio.sqlite3",
            tmp_path / "none" / "files",
            folder,
            studio_version="0",
            made_at=START,
        )
    assert not (tmp_path / "none").exists()
    assert not folder.exists()


def test_a_folder_that_holds_something_is_left_alone(
    studio: Studio, settings: Settings, folder: Path
) -> None:
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    with pytest.raises(Conflict, match="not empty"):
        save(settings, folder)
    assert contents(folder) == {"mine.txt": b"keep"}


def test_an_empty_folder_is_taken(studio: Studio, settings: Settings, folder: Path) -> None:
    folder.mkdir()
    save(settings, folder)
    check_backup(folder)


def test_an_interrupted_backup_leaves_nothing(
    studio: Studio, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.add_dataset()

    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backup, "write_file", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(settings, folder)
    assert list(folder.parent.glob("backup*")) == []


def test_what_a_killed_backup_left_is_made_anew(studio: Studio, settings: Settings, folder: Path) -> None:
    partial = folder.with_name("backup.partial")
    (partial / "files").mkdir(parents=True)
    (partial / "studio.sqlite3").write_bytes(b"half")
    save(settings, folder)
    check_backup(folder)
    assert not partial.exists()


def test_a_folder_of_somebody_elses_with_that_name_is_not_emptied(
    studio: Studio, settings: Settings, folder: Path
) -> None:
    partial = folder.with_name("backup.partial")
    partial.mkdir()
    (partial / "thesis.txt").write_text("keep")
    with pytest.raises(Conflict, match=r"thesis\.txt"):
        save(settings, folder)
    assert contents(partial) == {"thesis.txt": b"keep"}


def test_two_backups_into_one_folder_do_not_mix(
    studio: Studio, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_database = backup._copy_database

    def copy_and_try_another(live: sqlite3.Connection, target: Path) -> int:
        monkeypatch.setattr(backup, "_copy_database", copy_database)
        with pytest.raises(Conflict, match="Another backup"):
            save(settings, folder)
        return copy_database(live, target)

    monkeypatch.setattr(backup, "_copy_database", copy_and_try_another)
    save(settings, folder)
    check_backup(folder)


def test_a_full_disk_is_told_before_files_are_copied(
    studio: Studio, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(settings.root)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=2**20))
    with pytest.raises(DiskFull, match="another disk"):
        save(settings, folder)
    assert list(folder.parent.glob("backup*")) == []


def test_a_damaged_studio_is_not_backed_up_as_if_it_were_whole(
    studio: Studio, store: LocalStore, settings: Settings, folder: Path
) -> None:
    for _ in range(200):
        studio.submit()
    store.close()
    with settings.database.open("r+b") as file:
        file.seek(8192 * 12)
        file.write(os.urandom(8192 * 8))
    with pytest.raises(StoreError, match="damaged"):
        save(settings, folder)
    assert list(folder.parent.glob("backup*")) == []


# -- a restore


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "other"


def test_a_job_that_was_live_waits_in_the_queue_and_says_why(
    studio: Studio, settings: Settings, folder: Path, home: Path
) -> None:
    claim, _ = studio.running(name="long")
    save(settings, folder)
    assert put_back(folder, home).ended == ("long",)
    jobs = LocalStore(Settings(home=home)).for_user(ANNE).jobs
    job, (attempt,) = jobs.get(claim.job.id), jobs.attempts(claim.job.id)
    assert (job.status, attempt.outcome, attempt.lease_until) == (JobStatus.QUEUED, Outcome.RELEASED, None)
    assert attempt.reason == job.status_reason == "Restored from the backup of 2026-03-01 12:00 UTC."
    assert attempt.ended_at == LATER
    assert jobs.events(claim.job.id).items[0].action == "released"


def test_a_job_that_was_asked_to_pause_is_paused(
    studio: Studio, settings: Settings, folder: Path, home: Path
) -> None:
    claim, _ = studio.running()
    studio.anne.jobs.request(claim.job.id, RequestedAction.PAUSE)
    save(settings, folder)
    put_back(folder, home)
    assert LocalStore(Settings(home=home)).for_user(ANNE).jobs.get(claim.job.id).status is JobStatus.PAUSED


def test_the_old_runner_cannot_go_on_in_a_restored_studio(
    studio: Studio, settings: Settings, folder: Path, home: Path
) -> None:
    claim, events = studio.running()
    save(settings, folder)
    put_back(folder, home)
    port = LocalStore(Settings(home=home), lambda: LATER + timedelta(hours=1)).runner_port()
    with pytest.raises(Conflict):
        port.ship(claim.job.id, claim.attempt, [events.train(5)])
    again = port.claim(runner_of(), lease_seconds=30)
    assert again is not None
    assert (again.job.id, again.attempt) == (claim.job.id, 2)


def test_work_in_progress_waits_again_and_old_runners_are_not_shown(
    studio: Studio, store: LocalStore, settings: Settings, folder: Path, home: Path
) -> None:
    dataset = studio.add_dataset()
    task = studio.anne.tasks.add(task_of(ANNE, dataset.id))
    studio.port.announce(runner_of())
    assert store.task_port().claim_task(runner_of(), lease_seconds=30) is not None
    save(settings, folder)
    put_back(folder, home)
    anne = LocalStore(Settings(home=home)).for_user(ANNE)
    assert (anne.tasks.get(task.id).status.value, list(anne.runners.list())) == ("waiting", [])


@pytest.fixture
def saved(studio: Studio, store: LocalStore, settings: Settings, folder: Path, tmp_path: Path) -> Path:
    """A backup of a studio with a completed job; the studio is closed."""
    trained(studio, tmp_path)
    save(settings, folder)
    store.close()
    return folder


def test_a_studio_is_not_overwritten(saved: Path, settings: Settings) -> None:
    before = contents(settings.root)
    with pytest.raises(Conflict, match="--replace"):
        put_back(saved, settings.root)
    assert contents(settings.root) == before


def test_a_replaced_studio_is_set_aside_with_its_runs_and_can_be_opened(
    saved: Path, settings: Settings
) -> None:
    changed = LocalStore(settings, lambda: START)
    stage(changed).submit(name="only in the old one")
    changed.close()
    for name in ("runs/j/1/events.jsonl", "models/m/model.safetensors"):
        (settings.root / name).parent.mkdir(parents=True)
        (settings.root / name).write_bytes(b"x")
    report = put_back(saved, settings.root, replace=True)
    assert report.set_aside is not None
    assert report.set_aside.parent == settings.root
    assert not (settings.root / "runs").exists()
    assert (settings.root / "models/m/model.safetensors").exists()
    jobs = LocalStore(Settings(home=report.set_aside)).for_user(ANNE).jobs
    assert "only in the old one" in {job.name for job in jobs.list(JobFilter()).items}
    now = LocalStore(settings).for_user(ANNE).jobs
    assert "only in the old one" not in {job.name for job in now.list(JobFilter()).items}


def test_a_broken_studio_is_set_aside_all_the_same(saved: Path, settings: Settings) -> None:
    settings.database.write_bytes(b"no database at all")
    assert put_back(saved, settings.root, replace=True).set_aside is not None
    assert LocalStore(settings).for_user(ANNE).jobs.list(JobFilter()).items


def test_a_studio_in_use_is_not_replaced(saved: Path, settings: Settings) -> None:
    opened = LocalStore(settings)
    with pytest.raises(Conflict, match="in use"):
        put_back(saved, settings.root, replace=True)
    opened.close()
    put_back(saved, settings.root, replace=True)


@pytest.mark.parametrize("lock", ["runners/pc.id", "runs/j/1/lock"])
def test_a_home_with_a_living_runner_or_trainer_is_not_restored_into(
    saved: Path, home: Path, lock: str
) -> None:
    (home / lock).parent.mkdir(parents=True)
    script = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(home / lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(Conflict, match="in use"):
            put_back(saved, home)
        process.communicate(b"")
    put_back(saved, home)


def test_nobody_opens_a_home_while_a_backup_is_restored(
    saved: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = restore._settle
    monkeypatch.setattr(presence, "_WAIT_SECONDS", 0.05)

    def settle_with_visitor(*arguments: object) -> tuple[str, ...]:
        with pytest.raises(Unavailable, match="being restored"):
            LocalStore(Settings(home=home))
        return settle(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(restore, "_settle", settle_with_visitor)
    put_back(saved, home)


def test_every_damaged_or_missing_file_is_found(saved: Path, home: Path) -> None:
    names = [str(line["path"]) for line in lines(saved) if "path" in line]
    assert len(names) == 3
    for name in names:
        good = (saved / name).read_bytes()
        for harm in (good[:-1], good + b"x", b"y" + good[1:], None):
            if harm is None:
                (saved / name).unlink()
            else:
                (saved / name).write_bytes(harm)
            for attempt in (lambda: check_backup(saved), lambda: put_back(saved, home)):
                with pytest.raises(StoreError, match=r"damaged|missing"):
                    attempt()
            assert [path.name for path in home.iterdir()] == ["in-use.lock"]
        (saved / name).write_bytes(good)
    check_backup(saved)


@pytest.mark.parametrize("cut", ["last line", "a line", "half", "a byte", "all"])
def test_a_damaged_list_of_files_is_found(saved: Path, home: Path, cut: str) -> None:
    file = saved / "manifest.jsonl"
    raw = file.read_bytes()
    whole = raw.splitlines(keepends=True)
    damaged = {
        "last line": b"".join(whole[:-1]),
        "a line": b"".join([whole[0], *whole[2:]]),
        "half": raw[: len(raw) // 2],
        "a byte": raw.replace(b'"bytes":', b'"bytes":1', 1),
        "all": b"",
    }[cut]
    file.write_bytes(damaged)
    with pytest.raises(StoreError, match="damaged"):
        put_back(saved, home)
    assert not (home / "studio.sqlite3").exists()


def test_a_folder_that_is_no_backup_says_so(tmp_path: Path, home: Path) -> None:
    with pytest.raises(NotFound, match="no backup"):
        put_back(tmp_path, home)
    assert not home.exists()


@pytest.mark.parametrize(
    "path", ["../outside", "/etc/passwd", "files/../x", "runners/pc.id", "files/b", "files\\x"]
)
def test_a_list_that_leads_elsewhere_is_refused(saved: Path, home: Path, path: str) -> None:
    manifest = lines(saved)
    manifest[1]["path"] = path
    (saved / "manifest.jsonl").write_text(
        "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in manifest)
    )
    (saved.parent / "outside").write_bytes(ROWS)
    with pytest.raises(StoreError):
        put_back(saved, home)
    assert not (home / "studio.sqlite3").exists()


def test_links_in_a_backup_are_refused(saved: Path, home: Path, tmp_path: Path) -> None:
    name = next(
        str(line["path"]) for line in lines(saved) if str(line.get("path")).startswith("files/lora-datasets")
    )
    (saved / name).rename(tmp_path / "elsewhere")
    (saved / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link"):
        put_back(saved, home)


def test_a_backup_of_a_newer_studio_is_refused(
    saved: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, *rest = (saved / "manifest.jsonl").read_text().splitlines()
    newer = re.sub(r'"schema_number":\d+', '"schema_number":99', header)
    (saved / "manifest.jsonl").write_text("\n".join([newer, *rest]) + "\n")
    with pytest.raises(StoreError, match=r"schema 99.*Update LoRA Studio"):
        put_back(saved, home)
    newer = header.replace('"version":1', '"version":2')
    (saved / "manifest.jsonl").write_text("\n".join([newer, *rest]) + "\n")
    with pytest.raises(StoreError, match="Update LoRA Studio"):
        put_back(saved, home)


def test_a_backup_of_an_older_studio_is_brought_up_to_date(
    saved: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = tmp_path / "sql"
    shutil.copytree(
        Path(restore.migrate.__code__.co_filename).parent, newer, ignore=shutil.ignore_patterns("*.py*")
    )
    (newer / "0099_next.sql").write_text("CREATE TABLE brand_new (x);")
    migrate = restore.migrate
    monkeypatch.setattr(restore, "migrate", lambda path: migrate(path, newer))
    put_back(saved, home)
    with closing(sqlite3.connect(home / "studio.sqlite3")) as connection:
        assert connection.execute("SELECT count(*) FROM brand_new").fetchone() == (0,)
    assert not [name for name in contents(home) if "before" in name]


def test_a_disk_without_room_is_told_before_anything_is_copied(
    saved: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(saved)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=2**20))
    with pytest.raises(DiskFull):
        put_back(saved, home)


# -- a restore that is cut off: at every rename the studio is the old one or the new one, never half of each

Cut = Callable[[Path], None]


def renames_of_a_restore(saved: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> int:
    """Count the renames of a whole restore, on a copy of the home."""
    count = 0
    rename = Path.rename

    def counted(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        return rename(self, target)

    copy = settings.root.with_name("copy")
    shutil.copytree(settings.root, copy)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", counted)
        put_back(saved, copy, replace=True)
    return count


@pytest.mark.parametrize("had_a_studio", [True, False])
def test_a_restore_that_is_cut_off_is_whole_at_the_next_start(
    saved: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, had_a_studio: bool
) -> None:
    changed = LocalStore(settings, lambda: START)
    stage(changed).submit(name="old")
    changed.close()
    (settings.root / "runs").mkdir()
    rename = Path.rename
    total = renames_of_a_restore(saved, settings, monkeypatch)
    assert total >= 6
    for allowed in range(total):
        home = tmp_path / f"home{allowed}"
        if had_a_studio:
            shutil.copytree(settings.root, home)
        left = allowed

        def cut_off(self: Path, target: Path) -> Path:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return rename(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", cut_off)
            try:
                put_back(saved, home, replace=had_a_studio)
            except KeyboardInterrupt:
                pass
            else:
                assert not had_a_studio
                break
        opened = LocalStore(Settings(home=home))
        names = {job.name for job in opened.for_user(ANNE).jobs.list(JobFilter()).items}
        opened.close()
        if allowed == 0:  # cut off before the point of no return
            assert names == ({"First try", "old"} if had_a_studio else set())
        else:
            assert names == {"First try"}
        assert not list(home.glob("restore.*"))
        assert len(list(home.glob("replaced-*"))) == (had_a_studio and allowed > 0)


def test_what_a_killed_restore_left_is_removed_at_the_next_start(settings: Settings) -> None:
    (settings.root / "restore.partial" / "new").mkdir(parents=True)
    LocalStore(settings).close()
    assert not (settings.root / "restore.partial").exists()
