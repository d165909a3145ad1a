"""Assertions in modules that several test files share explain themselves as those in test files do."""

import pytest

pytest.register_assert_rewrite(
    "tests.contracts.store_contract", "tests.contracts.samples", "tests.contracts.team"
)
