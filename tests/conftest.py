"""For all tests: assertions in shared modules explain themselves, and a terminal is wide enough for whole sentences."""

import os

import pytest
from hypothesis import HealthCheck, settings

os.environ["COLUMNS"] = "200"  # rich reads it once, when its console is made

settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(
    "shared machine"
)  # how long an example takes says nothing where several processes test at once

pytest.register_assert_rewrite(
    "tests.contracts.store_contract",
    "tests.contracts.samples",
    "tests.contracts.team",
    "tests.faults.invariants",
    "tests.faults.matrix",
)
