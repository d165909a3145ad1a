"""Data sets: what was uploaded, what format it has, and what the check found."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from lora_core.schema.base import Frozen


class DatasetFormat(StrEnum):
    """How rows are laid out. `text` rows are learned whole; preferences compare answers; the rest have answers."""

    ALPACA = "alpaca"
    SHAREGPT = "sharegpt"
    MESSAGES = "messages"
    PROMPT_COMPLETION = "prompt_completion"
    PREFERENCE = "preference"
    UNPAIRED_PREFERENCE = "unpaired_preference"
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
    chosen: str | None = None
    rejected: str | None = None
    label: str | None = None
    tools: str | None = None


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


class AuditKind(StrEnum):
    """Why a row is shown in the audit."""

    USUAL = "usual"
    NOTHING_LEARNED = "nothing_learned"
    ANSWER_CUT = "answer_cut"
    NO_END = "no_end"
    REFUSED = "refused"


class AuditRow(Frozen):
    """One row as the model sees it: ids, what each stands for, and whether it is learned."""

    line: int
    row: int
    kind: AuditKind
    tokens: int = Field(description="Tokens of the row after the cut.")
    learned: int = Field(description="How many of them are learned.")
    start: int = Field(0, description="Tokens before the first one that is listed here.")
    ids: tuple[int, ...] = ()
    pieces: tuple[str, ...] = Field(
        (), description="Text of each id; empty where a character goes on from the last."
    )
    mask: str = Field("", description="For each id 1 if it is learned, else 0.")
    message: str = Field("", description="Why the chat template refuses the row.")


class TokenReport(Frozen):
    """Lengths in tokens of one base model's tokenizer, and the audit of what is learned."""

    model: str
    lengths: LengthStats
    learned_tokens: int
    over_length_rows: int
    max_length: int
    nothing_to_learn_rows: int
    loss_on: str = ""
    revision: str = ""
    kept_tokens: int = Field(0, description="Tokens of all rows after the cut at `max_length`.")
    counted_rows: int = Field(0, description="Rows that were tokenised.")
    answer_cut_rows: int = Field(0, description="Rows that lose learned tokens at the cut.")
    no_end_rows: int = Field(
        0, description="Rows with an answer that no token ends, so the model does not learn to stop."
    )
    refused_rows: int = Field(0, description="Good rows that the chat template refuses.")
    own_template: bool = Field(True, description="Whether the model brings a chat template of its own.")
    audit: tuple[AuditRow, ...] = ()


class DropKind(StrEnum):
    """Rows that a new version may leave out, each only if it is chosen."""

    ERRORS = "errors"
    DUPLICATES = "duplicates"
    NEAR_DUPLICATES = "near_duplicates"
    LEAKED = "leaked"


class SimilarReport(Frozen):
    """Rows that nearly repeat others, within the file, across its split and in a validation file."""

    similarity: float = Field(
        description="Share of three-word runs in common from which rows are near-duplicates."
    )
    near_duplicate_rows: int = Field(
        description="Rows that nearly repeat an earlier one (exact ones not counted)."
    )
    validation_fraction: float = 0.0
    seed: int = 0
    row_limit: int | None = None
    across_split_rows: int = Field(
        0, description="Validation rows of that split which nearly repeat a training row."
    )
    compared_with: str = Field("", description="Id of the data set compared with; empty for none.")
    compared_name: str = ""
    in_both_rows: int = Field(0, description="Rows that are exactly in the other data set too.")
    near_in_both_rows: int = Field(0, description="Rows that nearly repeat one of the other data set.")


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
    similar: SimilarReport | None = None
    seconds: float = 0.0
    source: str = Field("", description="Where imported rows came from: data set, config, split and commit.")
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
