"""The bench of these tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runner.agent.bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "home")
    yield bench
    bench.close()
