"""One live refresh of the job page on the server, of a running job with 20,000 points: CPU, time and bytes sent.

Theirs is a plain page with the snapshot's own points, or every point, through st.altair_chart, served by `streamlit run`; it
shows less. The visitor has no browser, so what a browser then does is not in it. Four new points arrive before each refresh.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks.harness.app import HOST, QUIET_SECONDS, App, Visitor, free_port, serve
from benchmarks.harness.line import Line, NotMeasured, Options, compare
from benchmarks.material.live_job import LiveJob, open_live_job, points
from lora_core.launch import app_command
from lora_core.schema.base import utc_now
from lora_core.schema.run import RunEvent
from lora_core.settings import Settings

PACKAGES = ("streamlit", "altair", "pandas")
ROUNDS = 4
WARM_UP = 5
NEW_POINTS = 4


class Tab(NamedTuple):
    """A visitor's open job page."""

    app: App
    visitor: Visitor
    query: str
    fragment: str


class Cost(NamedTuple):
    """One refresh, mean of a round."""

    cpu_ms: float
    ms: float
    kilobytes: float


def measure(options: Options) -> list[Line]:
    """Measure what a refresh costs."""
    live = open_live_job(options.folder / "home")
    count = options.pick(20_000, 2_000)
    live.ship_points(count)
    costs: dict[str, list[Cost]] = {}
    with ExitStack() as stack:
        tabs = {
            "ours": _open(stack, options, live, "ours", f"id={live.job_id}"),
            "same points": _open(stack, options, live, "same points", f"id={live.job_id}"),
            "every point": _open(stack, options, live, "every point", f"id={live.job_id}&rows=all"),
        }
        fresh = _Fresh(live, count)
        for tab in tabs.values():
            _refresh(tab, fresh, WARM_UP)
        for _ in range(ROUNDS):
            for name, tab in tabs.items():
                costs.setdefault(name, []).append(_refresh(tab, fresh, options.pick(15, 4)))
    live.close()
    return [
        line
        for peer, goal in (("same points", ""), ("every point", "<= 1"))
        for line in (
            compare(f"server CPU, against {peer}", *_two(costs, peer, "cpu_ms"), "ms", goal),
            compare(f"until drawn, against {peer}", *_two(costs, peer, "ms"), "ms", goal),
            compare(f"sent, against {peer}", *_two(costs, peer, "kilobytes"), "kB", goal),
        )
    ]


class _Fresh:
    """Lets the job's run go on, four points at a time."""

    def __init__(self, live: LiveJob, count: int) -> None:
        self._live, self._step = live, count

    def arrive(self) -> None:
        events = []
        for kind, data in points(NEW_POINTS, seed=self._step):
            self._step += 1
            events.append(
                RunEvent(seq=2 * self._step, at=utc_now(), kind=kind, data={**data, "step": self._step})
            )
        self._live.port.ship(self._live.job_id, self._live.attempt, events)


def _open(stack: ExitStack, options: Options, live: LiveJob, side: str, query: str) -> Tab:
    port = free_port()
    command = app_command(Settings(host=HOST, port=port))
    if side != "ours":
        script = "benchmarks/sides/plain_job_page.py"
        command = [sys.executable, *(script if part == "app.py" else part for part in command[1:])]
    log = options.folder / f"{side.replace(' ', '-')}.log"
    app = stack.enter_context(serve(command, port, live.workspace.settings.root, log))
    visitor = stack.enter_context(Visitor.of(app))
    fragments = visitor.open("job" if side == "ours" else "", query).fragments
    fragment = next((one for one in fragments if visitor.refresh(one, query).charts), None)
    if fragment is None:
        raise NotMeasured(f"{side}: the job page has no live part with a chart (yet)")
    return Tab(app, visitor, query, fragment)


def _refresh(tab: Tab, fresh: _Fresh, times: int) -> Cost:
    seconds, size = 0.0, 0
    cpu_before = tab.app.cpu_seconds()
    for _ in range(times):
        fresh.arrive()
        drawn = tab.visitor.refresh(tab.fragment, tab.query)
        seconds, size = seconds + drawn.seconds, size + drawn.size_bytes
        time.sleep(QUIET_SECONDS)
    cpu = tab.app.cpu_seconds() - cpu_before
    return Cost(cpu / times * 1000, seconds / times * 1000, size / times / 1000)


def _two(costs: dict[str, list[Cost]], peer: str, what: str) -> tuple[Sequence[float], Sequence[float]]:
    ours, theirs = ([getattr(cost, what) for cost in costs[side]] for side in ("ours", peer))
    return ours, theirs
