"""What all schema classes share: immutable, closed to unknown keys, times in UTC."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")


class Frozen(BaseModel):
    """Base of every stored or shown value."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null", protected_namespaces=())


class Page(Frozen, Generic[T]):
    """One page of a list. `cursor` is opaque; None means there is no further page."""

    items: Sequence[T]
    cursor: str | None = None


def new_id() -> str:
    """Make a random UUID. Ids are made by the client, so that a lost reply can be repeated without a second row."""
    return str(uuid.uuid4())


def utc_now() -> datetime:
    """The time now, with its zone (UTC)."""
    return datetime.now(UTC)
