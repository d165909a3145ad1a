"""A project in a process of its own, for journeys: it outlives nothing and blocks nobody's event loop."""

import json
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.supastub.access import Access, Person
from tests.supastub.cluster import SUPERUSER
from tests.supastub.keys import Keys


class LocalProject(Access):
    """`python -m tests.supastub` and what tests do with it. It ends with the block, or when this process is killed."""

    def __init__(
        self,
        *,
        people: Sequence[str] = (),
        operators: Sequence[str] = (),
        port: int = 0,
        largest_file_bytes: int = 0,
    ) -> None:
        command = [sys.executable, "-m", "tests.supastub", "--obey", "--port", str(port)]
        command += ["--largest-file", str(largest_file_bytes)] if largest_file_bytes else []
        command += [part for email in people for part in ("--person", email)]
        command += [part for email in operators for part in ("--operator", email)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise RuntimeError("The local project did not start: see its standard error.")
        told = json.loads(line)
        dsn: str = told["dsn"]
        keys = Keys(told["jwt_secret"], told["publishable_key"], told["secret_key"])
        super().__init__(told["url"], keys, lambda account: dsn.replace(f"//{SUPERUSER}@", f"//{account}@"))
        self.people = [Person(**person) for person in told["people"]]

    def stop_gateway(self) -> None:
        """Take the project off the network: the port is closed and every connection is cut."""
        self._tell("stop")

    def start_gateway(self) -> None:
        """Bring it back, under the same address."""
        self._tell("start")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        if self._process.stdout.readline().strip() != "done":
            raise RuntimeError(f"The local project did not obey: {line}")

    def close(self) -> None:
        """End the process and with it all data."""
        super().close()
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait(30)
        if self._process.stdout:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
