"""For all tests: assertions in shared modules explain themselves, and a terminal is wide enough for whole sentences."""

import os

import pytest

os.environ["COLUMNS"] = "200"  # rich reads it once, when its console is made

pytest.register_assert_rewrite(
    "tests.contracts.store_contract",
    "tests.contracts.samples",
    "tests.contracts.team",
    "tests.faults.invariants",
    "tests.faults.matrix",
)
