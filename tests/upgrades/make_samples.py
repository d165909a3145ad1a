"""Writes what a version of the studio leaves on a machine, for the tests of later versions. `samples/README.md` says how.

It runs with the code of the version that is sampled, so it uses little of it.
"""

import base64
import os
import shutil
import signal
import sqlite3
import sys
import tarfile
from contextlib import closing
from pathlib import Path

from lora_core.actions.jobs import pause_job
from lora_core.actions.notification_routes import add_route
from lora_core.schema.base import utc_now
from lora_core.schema.job import Job, JobFilter, JobStatus
from lora_core.schema.notification import NotificationKind
from lora_core.store.local.migrations import newest_schema
from lora_core.studio import Studio
from tests.runner.agent.bench import Bench, kill_group, wait_until

KEY = base64.b64encode(b"a public key of thirty-two bytes").decode()
ROOT = "/tmp/sample"
"""Where a sample lay when it was made."""

LONG = {"steps": 30, "step_seconds": 0.1, "checkpoint_every": 10}


def main(target: Path) -> None:
    """Write both samples of the code that is imported."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "LORA_STUDIO_ENCRYPTION_KEY": KEY}
    root = Path(ROOT)
    root.mkdir()
    try:
        _studio(root / "home", target / f"studio-{newest_schema():04d}")
        _real_run(root / "train", target / "real-run")
    finally:
        shutil.rmtree(root)


def _studio(home: Path, target: Path) -> None:
    bench = Bench(home)
    try:
        _live(bench)
    finally:
        bench.close()
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with tarfile.open(target / "files.tar.gz", "w:gz") as archive:
        for part in ("files", "runs"):
            archive.add(home / part, part, filter=_nobodys)
    with closing(sqlite3.connect(bench.settings.database)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        lines = [*connection.iterdump(), f"PRAGMA user_version = {version};", ""]
    (target / "studio.sql").write_text("\n".join(lines), encoding="utf-8")


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out locks and whose it was."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return None if Path(entry.name).suffix == ".lock" or Path(entry.name).name == "lock" else entry


def _live(bench: Bench) -> None:
    """Let jobs come to every state, and leave two that a runner held when the machine went down."""
    _named(bench, "queued", not_before=utc_now().replace(year=2990), priority=7)
    _named(bench, "cancelled")
    with closing(Studio(bench.settings)) as studio:
        events = [NotificationKind.JOB_COMPLETED, NotificationKind.ALERT]
        add_route(studio.workspace(), "My hook", "json://192.0.2.1/hook/s3cr3t", events)
    cancelled = _find(bench, "cancelled")
    bench.user.jobs.move(cancelled.id, JobStatus.CANCELLED, reason="cancelled by its owner")
    bench.user.jobs.archive(cancelled.id, archived=True)

    _work(bench, "completed", {"steps": 12, "nan_at": 7}, JobStatus.COMPLETED)
    _work(bench, "failed", {"steps": 12, "fail_at": 8, "message": "The rows are too long."}, JobStatus.FAILED)

    paused = _named(bench, "paused")
    agent = bench.start(script=LONG)
    bench.wait_for_step(paused, 12)
    with closing(Studio(bench.settings)) as studio:
        pause_job(studio.workspace(), paused.id)
    bench.wait_for(paused, JobStatus.PAUSED)
    agent.stop()
    wait_until(lambda: not agent.runs, "the agent to end")

    cut, unwatched = _named(bench, "cut off"), _named(bench, "ended unwatched")
    process = bench.start_process(
        "--name", "workstation", "--slots", "2", script={**LONG, "step_seconds": 0.2}, lease_seconds=3600
    )
    bench.wait_for_step(cut, 12)
    os.killpg(process.pid, signal.SIGKILL)
    kill_group(bench.run_folder(cut))
    wait_until((bench.run_folder(unwatched) / "exit_code").exists, "the trainer to end")

    starting = _named(bench, "starting")
    claim = bench.store.runner_port().claim(bench.agent(script={}).info, lease_seconds=3600)
    assert claim is not None
    assert claim.job.id == starting.id


def _named(bench: Bench, name: str, **fields: object) -> Job:
    job = bench.submit(**fields)
    bench.user.jobs.rename(job.id, name)
    return job


def _find(bench: Bench, name: str) -> Job:
    (job,) = bench.user.jobs.list(JobFilter(search=name)).items
    return job


def _work(bench: Bench, name: str, script: dict[str, object], end: JobStatus) -> None:
    job = _named(bench, name)
    agent = bench.start(script=script)
    bench.wait_for(job, end)
    agent.stop()
    wait_until(lambda: not agent.runs, "the agent to end")


def _real_run(folder: Path, target: Path) -> None:
    """Train a tiny model to the end, and keep a checkpoint from the middle with what it said of later steps."""
    from runner.models.tiny import build_tiny_model
    from tests.runner.train.bench import Bench as TrainBench

    folder.mkdir()
    bench = TrainBench(folder, build_tiny_model(folder / "model"))
    run = bench.folder(
        adapter={"rank": 2, "alpha": 4, "dropout": 0.1, "targets": ["q_proj", "v_proj"]},
        checkpoints={"every_steps": 3, "keep": 5},
        evaluation={"every_steps": 2},
        data={"max_length": 64, "validation_fraction": 0.2},
    )
    ended = bench.spawn(run)
    assert ended.code == 0, run.log_file.read_text()
    shutil.rmtree(target, ignore_errors=True)
    kept = run.checkpoints / "step-000003"
    shutil.copytree(kept, target / "checkpoints" / kept.name)
    for file in (run.spec_file, run.events_file):
        shutil.copy(file, target / file.name)
    shutil.copy(bench.data.path, target / "train.jsonl")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
