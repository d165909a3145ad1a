"""A Streamlit server in a process of its own, and a visitor without a browser: it speaks the websocket protocol itself."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self
from urllib.error import URLError
from urllib.request import urlopen

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from benchmarks.harness.line import NotMeasured
from benchmarks.harness.turns import ENVIRONMENT, ROOT

HOST = "127.0.0.1"
PATIENCE_SECONDS = 120.0
CHARTS = ("arrow_vega_lite_chart", "vega_lite_chart")
POLL_SECONDS = 0.01
QUIET_SECONDS = 0.15
"""Streamlit collects garbage after it has said that a run is over; what follows within this time belongs to the run."""


@dataclass
class App:
    """A server that answers."""

    process: psutil.Process
    port: int
    start_seconds: float

    def cpu_seconds(self) -> float:
        """Return the CPU time the server has used so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


class Drawn(NamedTuple):
    """What one run of the script, or of a fragment, sent and took until it said that it was over."""

    seconds: float
    size_bytes: int
    fragments: tuple[str, ...]
    charts: int


@contextmanager
def serve(
    command: Sequence[str], port: int, home: Path, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[App]:
    """Start a server, wait until it is healthy, end it afterwards.

    Raises:
        NotMeasured: It does not come up.
    """
    began = time.perf_counter()
    with log.open("w") as messages:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={
                **os.environ,
                **ENVIRONMENT,
                "PYTHONPATH": str(ROOT),
                "LORA_STUDIO_HOME": str(home),
                **(environment or {}),
            },
            stdout=messages,
            stderr=messages,
        )
    try:
        while not _is_healthy(port):
            if process.poll() is not None or time.perf_counter() - began > PATIENCE_SECONDS:
                raise NotMeasured("the server does not come up:\n" + log.read_text()[-2000:])
            time.sleep(POLL_SECONDS)
        yield App(psutil.Process(process.pid), port, time.perf_counter() - began)
    finally:
        process.kill()
        process.wait()


class Visitor:
    """One session, as a browser tab would open it."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._page = ""

    @classmethod
    @contextmanager
    def of(cls, app: App) -> Iterator[Self]:
        """Open the websocket, and close it afterwards."""
        address = f"ws://{HOST}:{app.port}/_stcore/stream"
        with connect(address, subprotocols=["streamlit"], max_size=None) as connection:  # type: ignore[list-item]
            yield cls(connection)

    def open(self, page: str = "", query: str = "") -> Drawn:
        """Open a page."""
        return self._rerun(page_name=page, query_string=query)

    def refresh(self, fragment: str, query: str = "") -> Drawn:
        """Do what the browser's timer does for a live fragment."""
        return self._rerun(
            fragment_id=fragment, is_auto_rerun=True, page_script_hash=self._page, query_string=query
        )

    def _rerun(self, **state: str | bool) -> Drawn:
        message = BackMsg()
        for name, value in state.items():
            setattr(message.rerun_script, name, value)
        message.rerun_script.SetInParent()
        began, size, charts, fragments = time.perf_counter(), 0, 0, []
        self._connection.send(message.SerializeToString())
        while True:
            content = self._connection.recv(timeout=PATIENCE_SECONDS)
            assert isinstance(content, bytes)
            size += len(content)
            answer = ForwardMsg.FromString(content)
            match answer.WhichOneof("type"):
                case "new_session":
                    self._page = answer.new_session.page_script_hash
                case "auto_rerun":
                    fragments.append(answer.auto_rerun.fragment_id)
                case "delta":
                    element = answer.delta.new_element
                    if element.WhichOneof("type") == "exception":
                        raise NotMeasured(f"the page failed: {element.exception.message}")
                    charts += element.WhichOneof("type") in CHARTS
                case "script_finished" if answer.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                    return Drawn(time.perf_counter() - began, size, tuple(fragments), charts)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_healthy(port: int) -> bool:
    try:
        with urlopen(f"http://{HOST}:{port}/_stcore/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
