"""The fixtures that a backend overrides, and the stage that is made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lora_core.schema.base import Page
from lora_core.store.base import RunnerPort, TaskPort
from tests.contracts.samples import (
    ANNE,
    BEN,
    Studio,
    UserStore,
)


class StoreContract:
    """The fixtures that a backend overrides, and the stage that is made of them."""

    @pytest.fixture
    def store_for(self) -> Callable[[str], UserStore]:
        """Return the stores of a person by id."""
        raise NotImplementedError

    @pytest.fixture
    def runner_port(self) -> RunnerPort:
        """Return what runners may do with jobs."""
        raise NotImplementedError

    @pytest.fixture
    def task_port(self) -> TaskPort:
        """Return what runners may do with tasks."""
        raise NotImplementedError

    @pytest.fixture
    def pass_time(self) -> Callable[[float], None]:
        """Return a function that lets seconds pass for the store."""
        raise NotImplementedError

    @pytest.fixture
    def studio(self, store_for: Callable[[str], UserStore], runner_port: RunnerPort) -> Studio:
        return Studio(store_for(ANNE), store_for(BEN), runner_port)


def walk(read: Callable[[str | None], Page[Any]]) -> list[Any]:
    """Read a list page by page to its end."""
    items: list[Any] = []
    cursor = None
    while True:
        page = read(cursor)
        items += page.items
        cursor = page.cursor
        if cursor is None:
            return items
