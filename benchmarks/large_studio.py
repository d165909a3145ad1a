"""Every read of a page, and every action on jobs, in an embedded studio of 10,000 jobs and a million points.

Theirs is the same in a studio of 100 jobs and 10,000 points: what a ratio near 1 says is that size does not matter. The goal is
about 300 ms for each; ours is the median of some calls, in milliseconds.
"""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from statistics import median

from benchmarks.harness.line import Line, Options, compare
from benchmarks.material.large_studio import LargeStudio, make_large_studio
from lora_core.actions import bulk, jobs, overview, queue, results, runners
from lora_core.schema.job import JobFilter, JobStatus

PACKAGES = ("numpy", "pydantic")
ROUNDS = 5
GOAL_MS = 300
SELECTED = 10


def measure(options: Options) -> list[Line]:
    """Measure reads in turns, then actions: each job can be acted on once, so every round takes others."""
    small = make_large_studio(options.folder / "small", 100, options.pick(10_000, 500))
    large = make_large_studio(
        options.folder / "large", options.pick(10_000, 200), options.pick(1_000_000, 2_000)
    )
    try:
        return [
            _line(name, *_in_turns(work_of(large), work_of(small)))
            for calls in (_reads, _acts)
            for name, work_of in calls().items()
        ]
    finally:
        large.live.close()
        small.live.close()


Work = Callable[[], object]


def _reads() -> dict[str, Callable[[LargeStudio], Work]]:
    """What pages read."""

    def page(x: str) -> Callable[[LargeStudio], Work]:
        view = jobs.ChartView(x=x)
        return lambda it: lambda: jobs.read_job_page(it.live.workspace, it.long_job, view)

    def listed(**asked: object) -> Callable[[LargeStudio], Work]:
        wanted = JobFilter.model_validate(asked)
        return lambda it: lambda: jobs.list_jobs(it.live.workspace, wanted, limit=50)

    return {
        "home page": lambda it: lambda: overview.read_overview(it.live.workspace),
        "job page of the long job": page("step"),
        "job page by time": page("recorded_at"),
        "job page of a queued job": lambda it: (
            lambda: jobs.read_job_page(it.live.workspace, it.by_state["queued"][-1], jobs.ChartView())
        ),
        "list": listed(),
        "list, text that many have": listed(search="contract"),
        "list, text that none has": listed(search="nowhere"),
        "list, one state": listed(statuses=(JobStatus.FAILED,)),
        "list, archived": listed(archived=True),
        "list, 100 pages on": _deep_page,
        "counts": lambda it: lambda: it.live.workspace.jobs.counts(),
        "queue": lambda it: lambda: queue.read_queue(it.live.workspace),
        "runners": lambda it: (
            lambda: (
                runners.read_runners(it.live.workspace),
                it.live.workspace.jobs.at_work(),
            )
        ),
        "log, a text": lambda it: lambda: jobs.search_logs(it.live.workspace, it.long_job, search="line 17"),
        "audit trail": lambda it: lambda: jobs.list_events(it.live.workspace, it.long_job),
        "metrics CSV begins": lambda it: (
            lambda: next(results.download_metrics(it.live.workspace, it.long_job)[1])
        ),
        "messages": lambda it: lambda: overview.list_notifications(it.live.workspace),
    }


def _deep_page(it: LargeStudio) -> Work:
    cursor: str | None = None
    for _ in range(100):
        cursor = jobs.list_jobs(it.live.workspace, limit=50, cursor=cursor).cursor or cursor
    return lambda: jobs.list_jobs(it.live.workspace, limit=50, cursor=cursor)


def _acts() -> dict[str, Callable[[LargeStudio], Work]]:
    """What people do; each call takes the next job of its kind."""

    def each(state: str, act: Callable[..., object]) -> Callable[[LargeStudio], Work]:
        def prepare(it: LargeStudio) -> Work:
            waiting = iter(it.by_state[state])
            return lambda: act(it.live.workspace, next(waiting))

        return prepare

    def some(state: str, verb: bulk.Verb) -> Callable[[LargeStudio], Work]:
        def prepare(it: LargeStudio) -> Work:
            waiting: Iterator[str] = reversed(it.by_state[state])
            return lambda: bulk.act_on_jobs(it.live.workspace, list(islice(waiting, SELECTED)), verb)

        return prepare

    return {
        "rename": each("completed", lambda workspace, job: jobs.rename_job(workspace, job, "renamed")),
        "archive": each("completed", jobs.archive_job),
        "priority": each("queued", lambda workspace, job: queue.prioritise_job(workspace, job, 9)),
        "resume": each("paused", jobs.resume_job),
        "cancel": each("paused", jobs.cancel_job),
        "retry": each("failed", jobs.retry_job),
        "delete": each("cancelled", jobs.delete_job),
        f"archive {SELECTED} at once": some("completed", bulk.Verb.ARCHIVE),
        "ask the long job for a checkpoint": lambda it: (
            lambda: jobs.save_checkpoint(it.live.workspace, it.long_job)
        ),
    }


def _in_turns(large: Work, small: Work) -> tuple[list[float], list[float]]:
    ours, theirs = [], []
    for number in range(ROUNDS):
        for work, figures in ((large, ours), (small, theirs)):
            began = time.perf_counter()
            work()
            if number:  # the first fills caches
                figures.append((time.perf_counter() - began) * 1000)
    return ours, theirs


def _line(name: str, large: list[float], small: list[float]) -> Line:
    slowest = f"slowest {max(large):.3g} ms"
    over = f", over {GOAL_MS} ms" if median(large) > GOAL_MS else ""
    return compare(name, large, small, "ms", note=f"{slowest}{over}")
