"""How a data set's status and format are put into words and badges, the same on every page."""

from collections.abc import Mapping

import streamlit as st

from lora_core.schema.dataset import Dataset, DatasetFormat, DatasetStatus

STATUS: Mapping[DatasetStatus, tuple[str, str, str]] = {
    DatasetStatus.UPLOADED: ("Waiting for its check", "hourglass_empty", "gray"),
    DatasetStatus.CHECKING: ("Being checked", "progress_activity", "blue"),
    DatasetStatus.READY: ("Ready", "check_circle", "green"),
    DatasetStatus.NEEDS_MAPPING: ("Needs mapping", "alt_route", "orange"),
    DatasetStatus.HAS_ERRORS: ("Has bad rows", "error", "red"),
    DatasetStatus.UNREADABLE: ("Cannot be read", "block", "red"),
}
"""Label, Material icon and colour of each status."""

NO_CONTENT = ("To be imported", "cloud_download", "gray")
"""The same for a data set whose rows are still elsewhere."""

FORMAT: Mapping[DatasetFormat, tuple[str, str]] = {
    DatasetFormat.MESSAGES: ("Chat", "Messages with role and content, as OpenAI writes them."),
    DatasetFormat.SHAREGPT: ("ShareGPT", "Turns with from and value."),
    DatasetFormat.ALPACA: ("Alpaca", "An instruction, an optional input, and the output to learn."),
    DatasetFormat.PROMPT_COMPLETION: ("Prompt pairs", "A prompt and the completion to learn."),
    DatasetFormat.PREFERENCE: (
        "Preferences",
        "A prompt with a chosen and a rejected answer, for DPO and ORPO.",
    ),
    DatasetFormat.UNPAIRED_PREFERENCE: (
        "Rated answers",
        "A prompt, an answer, and whether it is good, for KTO.",
    ),
    DatasetFormat.TEXT: ("Plain text", "Text that is learned as a whole; there are no answers."),
    DatasetFormat.UNKNOWN: ("Unknown", "No format was recognised."),
}
"""Title and explanation of each format."""

UNDER_CHECK = (DatasetStatus.UPLOADED, DatasetStatus.CHECKING)


def status_badge(dataset: Dataset) -> None:
    """Draw the status as icon, word and colour."""
    label, icon, color = STATUS[dataset.status] if dataset.bytes else NO_CONTENT
    st.badge(label, icon=f":material/{icon}:", color=color)


def many(count: int, one: str, more: str = "") -> str:
    """Count things with the right noun.

    >>> many(1, "row"), many(12_000, "row")
    ('1 row', '12,000 rows')
    """
    return f"{count:,} {one if count == 1 else more or one + 's'}"
