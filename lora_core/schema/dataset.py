"""Data sets: what was uploaded, what format it has, and what the check found."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from lora_core.schema.base import Frozen


class DatasetFormat(StrEnum):
    """How rows are laid out. `text` rows are learned whole; the rest have answers."""

    ALPACA = "alpaca"
    SHAREGPT = "sharegpt"
    MESSAGES = "messages"
    PROMPT_COMPLETION = "prompt_completion"
    TEXT = "text"
    UNKNOWN = "unknown"


class FileKind(StrEnum):
    """How rows are written in the file, after decompression."""

    JSONL = "jsonl"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    TEXT = "text"


class DatasetStatus(StrEnum):
    """Where a data set stands between upload and use."""

    UPLOADED = "uploaded"
    CHECKING = "checking"
    READY = "ready"
    NEEDS_MAPPING = "needs_mapping"
    HAS_ERRORS = "has_errors"
    UNREADABLE = "unreadable"


class ColumnMapping(Frozen):
    """Which column plays which part; chosen by hand where detection is unsure. Empty: the format's own name."""

    instruction: str | None = None
    input: str | None = None
    output: str | None = None
    messages: str | None = None
    prompt: str | None = None
    completion: str | None = None
    text: str | None = None
    system: str | None = None


class RowIssue(Frozen):
    """One fault of one row."""

    line: int = Field(description="1-based line of the file (for JSON and Parquet: 1-based row).")
    row: int = Field(description="1-based row.")
    code: str = Field(description="Short fixed name, such as empty_answer.")
    field: str = ""
    message: str


class Histogram(Frozen):
    """Counts of values in equal bins: `counts[i]` values lie in [edges[i], edges[i + 1])."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class LengthStats(Frozen):
    """Lengths of rows, in characters or tokens."""

    minimum: float
    median: float
    mean: float
    p95: float
    maximum: float
    total: int
    histogram: Histogram


class TokenReport(Frozen):
    """Lengths in tokens of one base model's tokenizer."""

    model: str
    lengths: LengthStats
    learned_tokens: int
    over_length_rows: int
    max_length: int
    nothing_to_learn_rows: int


class CheckReport(Frozen):
    """What the check found in a data set file."""

    file_kind: FileKind
    compression: str = ""
    encoding: str = "utf-8"
    delimiter: str = ""
    format: DatasetFormat
    confidence: float = Field(ge=0, le=1, description="How sure detection is of the format, 0 to 1.")
    format_reason: str = Field("", description="Why this format, in words.")
    mapping: ColumnMapping = Field(
        default_factory=ColumnMapping,
        description="Columns the check used; only a suggestion where format is unknown.",
    )
    suggested_format: DatasetFormat = Field(
        DatasetFormat.UNKNOWN,
        description="Where format is unknown: what `mapping` would make of it, if confirmed.",
    )
    columns: tuple[str, ...] = ()
    rows: int = 0
    good_rows: int = 0
    error_rows: int = 0
    warning_rows: int = 0
    duplicate_rows: int = 0
    turns: int = 0
    roles: dict[str, int] = Field(default_factory=dict)
    issue_counts: dict[str, int] = Field(default_factory=dict)
    errors: tuple[RowIssue, ...] = Field(
        (), description="The first errors; the full list is in the issues file."
    )
    warnings: tuple[RowIssue, ...] = ()
    characters: LengthStats | None = None
    tokens: TokenReport | None = None
    seconds: float = 0.0
    fatal: str = Field("", description="Why the file cannot be read at all, and what to do.")


class Dataset(Frozen):
    """One version of one data set; its content never changes after upload."""

    id: str
    user_id: str
    name: str = Field(min_length=1, max_length=120)
    file_name: str = Field("", description="The person's own file name, for show only; never part of a path.")
    storage_bucket: str = "lora-datasets"
    storage_path: str
    bytes: int = Field(ge=0)
    sha256: str = ""
    rows: int = 0
    status: DatasetStatus = DatasetStatus.UPLOADED
    format: DatasetFormat = DatasetFormat.UNKNOWN
    mapping: ColumnMapping = Field(default_factory=ColumnMapping)
    report: CheckReport | None = None
    parent_id: str | None = Field(None, description="The version this one was made from (bad rows dropped).")
    created_at: datetime
