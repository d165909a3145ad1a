"""The team's store (supabase-py and httpx over a stand-in gateway on a real PostgreSQL) beside the embedded one (SQLite).

Ours is the team's store, theirs the embedded one; both on this machine, so a network's round trips (50-150 ms a call on a hosted
project) come on top of ours. Points travel as a runner ships them, in batches of 200; a page is one `read_job_page`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from benchmarks.harness.line import ROUNDS, Line, Options, compare
from benchmarks.material.live_job import LiveJob, begin, begin_live_job, open_live_job, points
from lora_core.actions.jobs import ChartView, list_jobs, read_job_page
from lora_core.actions.workspace import Workspace
from lora_core.schema.base import new_id, utc_now
from lora_core.schema.job import JobFilter
from lora_core.schema.run import EventKind, RunEvent
from lora_core.schema.runner import RunnerScope
from lora_core.secrets import TokenKind, new_token, token_sha256
from lora_core.settings import Settings
from lora_core.store.supabase.runner_ports import open_runner_ports
from lora_core.store.supabase.store import open_user_store

PACKAGES = ("supabase", "httpx", "psycopg")
SHIPPED_AT_ONCE = 200
CALLS = 30
VIEW = ChartView()


def measure(options: Options) -> list[Line]:
    """Measure shipping, a single point, a renewed lease, the job page and the list, on both stores in turns."""
    count = options.pick(10_000, 600)
    names = ("ship", "one point", "renew", "page", "list")
    ours: dict[str, list[float]] = {name: [] for name in names}
    theirs: dict[str, list[float]] = {name: [] for name in names}
    for number in range(ROUNDS):
        for opened, figures in (
            (_team_job(options.folder / f"team-{number}"), ours),
            (_embedded_job(options.folder / f"home-{number}"), theirs),
        ):
            with opened as live:
                for name, value in _figures(live, count).items():
                    figures[name].append(value)
    return [
        compare(f"{count:,} points in batches of {SHIPPED_AT_ONCE}", ours["ship"], theirs["ship"], "s"),
        compare("one point", ours["one point"], theirs["one point"], "ms"),
        compare("a renewed lease", ours["renew"], theirs["renew"], "ms"),
        compare(f"job page of {count:,} points", ours["page"], theirs["page"], "ms"),
        compare("list of jobs", ours["list"], theirs["list"], "ms"),
    ]


def _figures(live: LiveJob, count: int) -> dict[str, float]:
    events = [RunEvent(seq=1, at=utc_now(), kind=EventKind.PHASE, data=begin(count))]
    for number, (kind, data) in enumerate(points(count), start=2):
        events.append(RunEvent(seq=number, at=utc_now(), kind=kind, data=data))
    ship = partial(live.port.ship, live.job_id, live.attempt)
    began = time.perf_counter()
    for start in range(0, len(events), SHIPPED_AT_ONCE):
        ship(events[start : start + SHIPPED_AT_ONCE])
    shipped = time.perf_counter() - began
    return {
        "ship": shipped,
        "one point": _ms(lambda: ship([_next_point(count, len(events) + 1)])),
        "renew": _ms(lambda: live.port.renew(live.job_id, live.attempt, lease_seconds=60)),
        "page": _ms(lambda: read_job_page(live.workspace, live.job_id, VIEW)),
        "list": _ms(lambda: list_jobs(live.workspace, JobFilter())),
    }


def _next_point(step: int, seq: int) -> RunEvent:
    data = {"kind": "train", "step": step + 1, "loss": 1.0}
    return RunEvent(seq=seq, at=utc_now(), kind=EventKind.METRICS, data=data)


def _ms(work: Callable[[], object]) -> float:
    """Return milliseconds of a call, the mean of some after a first one."""
    work()
    began = time.perf_counter()
    for _ in range(CALLS):
        work()
    return (time.perf_counter() - began) / CALLS * 1000


@contextmanager
def _embedded_job(home: Path) -> Iterator[LiveJob]:
    live = open_live_job(home)
    try:
        yield live
    finally:
        live.close()


@contextmanager
def _team_job(folder: Path) -> Iterator[LiveJob]:
    from tests.supastub.fixtures import shared_rig

    with ExitStack() as stack:
        project: Any = stack.enter_context(shared_rig().project())
        person = project.add_person()
        stores = open_user_store(
            project.url, project.publishable_key, person.id, lambda: str(person.token), spool=folder / "spool"
        )
        stack.callback(stores.close)
        token = new_token(TokenKind.RUNNER)
        stores.registry.register(new_id(), "bench", RunnerScope.MINE, token_sha256(token.reveal()))
        settings = Settings(
            home=folder,
            supabase_url=project.url,
            supabase_key=project.publishable_key,
            runner_token=SecretStr(token.reveal()),
        )
        port, _ = open_runner_ports(settings)
        stack.callback(port.close)
        workspace = Workspace.over(stores, person.id, settings)
        yield begin_live_job(workspace, port, close=lambda: None)
