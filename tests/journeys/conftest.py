"""Stages and visitors for journeys. Of a journey that fails, logs and pictures are kept in build/journeys.

A journey is walked through in the embedded mode. `@pytest.mark.modes("embedded", "team", "pod")` names others or more: then
`open_stage` opens such a studio, and `visit` sends a person there who signs in at the door.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, sync_playwright

from tests.journeys.stage import ROOT, Mode, Stage, script
from tests.journeys.team_stage import PodStage, TeamStage
from tests.journeys.visitor import Visitor
from tests.supastub.access import Person

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
KEPT = ROOT / "build" / "journeys"
LOG_CHARACTERS = 6000
COMPLAINTS = ("Traceback", "within a callback")
"""What the app's log must not hold: a page that failed, and a fragment's callback that draws (it can blank the whole app)."""

STAGES: dict[Mode, type[Stage]] = {Mode.EMBEDDED: Stage, Mode.TEAM: TeamStage, Mode.POD: PodStage}

OpenStage = Callable[..., Stage]
Visit = Callable[..., Visitor]

stages_key = pytest.StashKey[list[Stage]]()
visitors_key = pytest.StashKey[list[Visitor]]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Walk through a journey once for each of its modes."""
    marker = metafunc.definition.get_closest_marker("modes")
    if marker is not None:
        modes = [Mode(name) for name in marker.args]
        metafunc.parametrize("mode", modes, indirect=True, scope="module", ids=[mode.value for mode in modes])


@pytest.fixture(scope="module")
def mode(request: pytest.FixtureRequest) -> Mode:
    """How the studio of this journey is set up."""
    chosen: Mode = getattr(request, "param", Mode.EMBEDDED)
    return chosen


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, once a file: while Playwright runs, no other asyncio loop can run in this thread."""
    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def open_stage(mode: Mode, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[OpenStage]:
    """Open a studio in a fresh folder, with environment variables if need be; nothing runs in it yet."""
    stages: list[Stage] = request.node.stash.setdefault(stages_key, [])

    def opened(**environment: str) -> Stage:
        folder = tmp_path / f"stage-{len(stages)}"
        folder.mkdir()
        stages.append(STAGES[mode](folder, environment))
        return stages[-1]

    yield opened
    close_all(stages)
    for stage in stages:
        assert_no_page_failed(stage)


@pytest.fixture(scope="module")
def shared_environment() -> dict[str, str]:
    """The scripted trainer, a minute of a job. A file whose journeys need something else has a fixture of this name."""
    return script(steps=600, step_seconds=0.1)


@pytest.fixture(scope="module")
def shared_stage(
    mode: Mode, shared_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A running studio for the journeys of one file that do not disturb each other."""
    stage = STAGES[mode](tmp_path_factory.mktemp("shared"), shared_environment)
    try:
        yield stage.start()
    finally:
        stage.close()
    assert_no_page_failed(stage)


def close_all(stages: list[Stage]) -> None:
    """Close every stage, whatever happens to one of them."""
    with ExitStack() as stack:
        for stage in stages:
            stack.callback(stage.close)


def assert_no_page_failed(stage: Stage) -> None:
    """What a page shows as a calm box stands in the app's log as a traceback."""
    printed = stage.logs().get("app.log", "")
    assert not any(complaint in printed for complaint in COMPLAINTS), printed[-LOG_CHARACTERS:]


@pytest.fixture
def team_stage(shared_stage: Stage) -> TeamStage:
    """The shared stage of a file whose journeys are a team's."""
    assert isinstance(shared_stage, TeamStage)
    return shared_stage


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Open a browser profile on a stage; at the end every one of them must have been calm.

    In a team its person is Anne, if no other `person` is given. A `stranger` does not sign in.
    """
    visitors: list[Visitor] = request.node.stash.setdefault(visitors_key, [])

    def visiting(
        stage: Stage, *, person: Person | None = None, stranger: bool = False, **look: object
    ) -> Visitor:
        account = None if stranger else person or getattr(stage, "person", None)
        visitors.append(Visitor(browser, stage.url, account=account, **look))  # type: ignore[arg-type]
        return visitors[-1]

    yield visiting
    try:
        for visitor in visitors:
            visitor.assert_calm()
    finally:
        for visitor in visitors:
            visitor.context.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Of a failure keep the pictures and the logs, and put the logs' ends into the report."""
    report = yield
    if report.failed:
        folder = KEPT / re.sub(r"[^\w-]+", "_", item.name)
        folder.mkdir(parents=True, exist_ok=True)
        stages = [*item.stash.get(stages_key, [])]
        shared = getattr(item, "funcargs", {}).get("shared_stage")
        for stage in [*stages, *([shared] if shared else [])]:
            for name, content in stage.logs().items():
                (folder / name).write_text(content, encoding="utf-8")
                report.sections.append((name, content[-LOG_CHARACTERS:]))
        for number, visitor in enumerate(item.stash.get(visitors_key, [])):
            with suppress(Error):
                visitor.page.screenshot(path=folder / f"page-{number}.png", full_page=True)
    return report
