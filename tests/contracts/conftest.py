"""Assertions in the shared contract explain themselves as those in test files do; and a Supabase project to keep it."""

import pytest

pytest.register_assert_rewrite(
    "tests.contracts.store_contract", "tests.contracts.samples", "tests.contracts.team"
)

from tests.supastub.fixtures import project, rig  # noqa: E402

__all__ = ["project", "rig"]
