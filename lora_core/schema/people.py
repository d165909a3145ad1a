"""People of a team as the operator sees them: totals, quotas and invitations. None of their content."""

from datetime import datetime

from pydantic import Field

from lora_core.schema.base import Frozen


class Quota(Frozen):
    """What one person may use; None does not limit."""

    user_id: str
    max_live_jobs: int | None = Field(
        None, ge=0, title="Live jobs", description="Jobs queued or running at the same time."
    )
    running_jobs: int | None = Field(
        None,
        ge=0,
        title="Running jobs",
        description="Jobs that runners work on at the same time; others wait.",
    )
    gpu_hours_per_month: float | None = Field(
        None, ge=0, title="GPU hours", description="Hours times GPUs in a calendar month (UTC)."
    )
    storage_bytes: int | None = Field(
        None, ge=0, title="Storage", description="Data sets and artifacts together, in bytes."
    )
    usd_per_month: float | None = Field(
        None, ge=0, title="Spend", description="Dollars for rented machines in a calendar month (UTC)."
    )


class PersonTotals(Frozen):
    """One person's use of the team's studio."""

    user_id: str
    email: str
    operator: bool = False
    created_at: datetime
    last_sign_in_at: datetime | None = None
    live_jobs: int = 0
    jobs: int = Field(0, description="Jobs of all time, without deleted ones.")
    gpu_hours: float = Field(0.0, description="GPU hours of this calendar month (UTC).")
    storage_bytes: int = 0
    usd: float = Field(0.0, description="Dollars of this calendar month (UTC).")
    quota: Quota | None = None


class Invitation(Frozen):
    """A place in the team that is kept for one e-mail address. Its code is shown once, to the operator."""

    id: str
    email: str
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None = None
