"""The benchmarks that need neither a browser nor a training run work, in their quick form."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["data_check", "ingest", "job_page", "large_studio", "stores"])
def test_a_benchmark_runs_in_its_quick_form(name: str) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "| ours | theirs |" in done.stdout
