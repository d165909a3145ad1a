"""What messages say, word for word: one for each event, with iterations, time, loss, cost, link and reason."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from lora_core.notify import describe
from lora_core.notify.words import MAX_REASON
from lora_core.schema.config import TrainingConfig
from lora_core.schema.job import Job, JobStatus
from lora_core.schema.notification import Notification, NotificationKind
from lora_core.secrets import TokenKind, new_token

NOW = datetime(2026, 3, 1, 22, 15, 0, tzinfo=UTC)
LINK = "https://studio.example.org/job?id=j1"

FIGURES = [
    "Iterations 120/1,000, time 01:02:03",
    "Loss 1.2346, validation loss 1.5000, best 1.4000",
    "Cost $1.50",
]
GOLDEN: dict[NotificationKind, tuple[JobStatus, str, dict[str, Any], list[str]]] = {
    NotificationKind.JOB_STARTED: (
        JobStatus.RUNNING,
        "workstation trains it.",
        {"remaining_seconds": 7504.6},
        [
            "workstation trains it.",
            "Tickets: running",
            *FIGURES,
            "Expected end 2026-03-02 00:20:04 UTC, after 02:05:04",
            LINK,
        ],
    ),
    NotificationKind.JOB_QUEUED_AGAIN: (
        JobStatus.QUEUED,
        "The store was away. It is tried again at 22:15:20 UTC (failure 1 of 3 in a row).",
        {"checkpoint_step": 100},
        [
            "The store was away. It is tried again at 22:15:20 UTC (failure 1 of 3 in a row).",
            "Tickets: queued",
            *FIGURES,
            "It goes on from step 100",
            LINK,
        ],
    ),
    NotificationKind.JOB_PAUSED: (
        JobStatus.PAUSED,
        "The loss is not a number any more.",
        {"checkpoint_step": 1100},
        [
            "The loss is not a number any more.",
            "Tickets: paused",
            *FIGURES,
            "Resuming goes on from step 1,100",
            LINK,
        ],
    ),
    NotificationKind.JOB_CANCELLED: (
        JobStatus.CANCELLED,
        "cancelled by its owner",
        {"checkpoint_step": 100},
        [
            "cancelled by its owner",
            "Tickets: cancelled",
            *FIGURES,
            "The checkpoint of step 100 is kept",
            LINK,
        ],
    ),
    NotificationKind.JOB_FAILED: (
        JobStatus.FAILED,
        "CUDA out of memory.",
        {},
        ["CUDA out of memory.", "Tickets: failed", *FIGURES, LINK],
    ),
    NotificationKind.JOB_COMPLETED: (
        JobStatus.COMPLETED,
        "",
        {"checkpoint_step": 1000},
        ["Tickets: completed", *FIGURES, LINK],
    ),
    NotificationKind.ALERT: (
        JobStatus.RUNNING,
        "The smoothed loss stays 1.6 times above its lowest.",
        {},
        ["The smoothed loss stays 1.6 times above its lowest.", "Tickets: running", *FIGURES, LINK],
    ),
}


@pytest.mark.parametrize("kind", NotificationKind)
def test_a_message_says_reason_figures_what_comes_next_and_where(kind: NotificationKind) -> None:
    status, reason, changes, lines = GOLDEN[kind]
    title, body = describe(
        told(kind, reason), job(status=status, **changes), public_url="https://studio.example.org/"
    )
    assert title == "“Tickets” has news"
    assert body.splitlines() == lines


def test_without_a_job_the_text_is_the_notification() -> None:
    message = told(NotificationKind.JOB_FAILED, "CUDA out of memory.")
    assert describe(message, None, public_url="https://x.org") == (
        "“Tickets” has news",
        "CUDA out of memory.",
    )


def test_what_is_not_known_is_left_out() -> None:
    unknown = job(train_loss=None, eval_loss=None, best_eval_loss=None, total_steps=0, status="running")
    _, body = describe(told(NotificationKind.JOB_STARTED, ""), unknown)
    assert body.splitlines() == ["Tickets: running", "Iterations 120, time 01:02:03", "Cost $1.50"]


def test_a_loss_that_is_no_number_is_told_as_such() -> None:
    assert "Loss nan" in describe(told(NotificationKind.ALERT, ""), job(train_loss=math.nan))[1]


def test_before_the_first_steps_the_end_is_expected_as_it_was_estimated() -> None:
    started = job(status="running", estimated_seconds=3600.0, started_at=NOW, heartbeat_at=None)
    lines = describe(told(NotificationKind.JOB_STARTED, ""), started)[1].splitlines()
    assert "Expected end 2026-03-01 23:15:00 UTC, after 01:00:00" in lines


@pytest.mark.parametrize("seconds", [math.inf, math.nan, 1e12, None])
def test_an_end_beyond_all_calendars_is_not_told(seconds: float | None) -> None:
    body = describe(told(NotificationKind.JOB_STARTED, ""), job(status="running", remaining_seconds=seconds))[
        1
    ]
    assert "Expected" not in body


def test_a_fork_without_a_checkpoint_of_its_own_does_not_begin_anew() -> None:
    fork = job(status="queued", parent_artifact_id="c1")
    body = describe(told(NotificationKind.JOB_QUEUED_AGAIN, ""), fork)[1]
    assert "It begins again at the checkpoint that it was forked from" in body.splitlines()


def test_what_was_to_come_is_not_told_of_a_job_that_went_on_meanwhile() -> None:
    done = job(status="completed", checkpoint_step=100, remaining_seconds=60.0)
    for kind in (
        NotificationKind.JOB_STARTED,
        NotificationKind.JOB_QUEUED_AGAIN,
        NotificationKind.JOB_PAUSED,
    ):
        assert describe(told(kind, ""), done)[1].splitlines() == ["Tickets: completed", *FIGURES]


@pytest.mark.parametrize(
    "secret",
    [
        *(pytest.param(new_token(kind).reveal(), id=kind.name) for kind in TokenKind),
        "hf_abcdefghijklmnopqrstuvwxyz",
        "sb_secret_abcdefghijklmnop",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
        "ada:s3cr3t-pass",
    ],
)
def test_a_secret_in_an_error_is_not_sent(secret: str) -> None:
    where = f"https://{secret}@example.org/x" if ":" in secret else secret
    _, body = describe(told(NotificationKind.JOB_FAILED, f"Refused: {where}, 401"), job())
    assert secret not in body
    assert "Refused: " in body
    assert ", 401" in body


def test_a_long_reason_leaves_room_for_figures_and_link() -> None:
    _, body = describe(
        told(NotificationKind.JOB_FAILED, "line of a log\n" * 1000), job(), public_url="https://x"
    )
    assert len(body) < MAX_REASON + 300
    assert body.endswith("https://x/job?id=j1")
    assert " …\nTickets: failed\nIterations" in body


def told(kind: NotificationKind, body: str) -> Notification:
    return Notification(
        id="n1",
        user_id="ada",
        job_id="j1",
        kind=kind,
        title="“Tickets” has news",
        body=body,
        created_at=NOW,
    )


def job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "status": JobStatus.FAILED,
        "current_step": 120,
        "total_steps": 1000,
        "elapsed_seconds": 3723.9,
        "train_loss": 1.23456,
        "eval_loss": 1.5,
        "best_eval_loss": 1.4,
        "cost_usd": 1.5,
        "heartbeat_at": NOW,
    }
    return Job(
        id="j1",
        user_id="ada",
        name="Tickets",
        dataset_id="d1",
        config=TrainingConfig(),
        created_at=NOW,
        updated_at=NOW,
        **(values | changes),
    )
