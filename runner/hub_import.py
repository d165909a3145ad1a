"""Brings one split of a Hugging Face data set here as JSON Lines, row by row: memory stays flat whatever its size.

The `datasets` library finds configs, splits and files, and runs no code of the data set. The token, for private and gated ones,
comes from the environment.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

from lora_core.errors import DataError, Unavailable
from lora_core.schema.base import Frozen

ASK_SECONDS = 20.0
_NOT_TEXT = ("Image", "Audio", "Video", "Pdf", "Nifti")
_TELL_ROWS = 1000
_TRY_LATER = (
    "Look at the network of the runner's machine, and at HF_ENDPOINT if it is set; then import again."
)


class HubSource(Frozen):
    """What to import."""

    repo: str
    config: str = ""
    split: str = "train"
    revision: str = ""
    row_limit: int | None = Field(None, description="Most rows taken, from the beginning; None for all.")
    max_bytes: int = Field(description="Most bytes written.")


class Imported(Frozen):
    """What came."""

    rows: int
    revision: str = Field(description="The commit that was read.")


def import_from_hub(source: HubSource, destination: Path, tell: Callable[[str], None]) -> Imported:
    """Write a split as JSON Lines.

    Raises:
        Unavailable: The Hub cannot be reached.
        DataError: No such data set, config, split or revision; no access; pictures or sounds; too large.
    """
    tell(f"Asking the Hub for {source.repo}.")
    with _in_words(source):
        commit, rows, count = _open(source)
    written = size = 0
    with destination.open("wb") as file:
        for value in _rows(rows, source):
            line = _line(value, source)
            size += len(line)
            if size > source.max_bytes:
                raise DataError(
                    f"{source.repo} is larger than {source.max_bytes / 2**30:.1f} GiB.",
                    "Set a limit of rows.",
                )
            file.write(line)
            written += 1
            if written % _TELL_ROWS == 0:
                tell(f"{written:,} rows{f' of {count:,}' if count else ''} are here.")
            if written == source.row_limit:
                break
    return Imported(rows=written, revision=commit)


def _open(source: HubSource) -> tuple[str, Iterable[dict[str, Any]], int | None]:
    """Find the commit and open the split; the rows come as they are read."""
    import datasets
    from huggingface_hub import HfApi

    endpoint = os.environ.get("HF_ENDPOINT") or None
    facts = HfApi(endpoint=endpoint).dataset_info(
        source.repo, revision=source.revision or None, timeout=ASK_SECONDS
    )
    commit = facts.sha or source.revision
    opened = datasets.load_dataset(
        source.repo,
        source.config or None,
        split=source.split,
        revision=commit or None,
        streaming=True,
    )
    features = opened.features or {}
    for name, feature in features.items():
        if any(kind in str(feature) for kind in _NOT_TEXT):
            raise DataError(
                f"Column {name!r} holds {type(feature).__name__} data.", "Only text can be learned."
            )
    splits = opened.info.splits or {}
    known = splits.get(source.split)
    return commit, opened, known.num_examples if known else None


def _rows(rows: Iterable[dict[str, Any]], source: HubSource) -> Iterator[dict[str, Any]]:
    each = iter(rows)
    while True:
        with _in_words(source):
            value = next(each, None)
        if value is None:
            return
        yield value


def _line(value: dict[str, Any], source: HubSource) -> bytes:
    try:
        return (
            json.dumps(value, ensure_ascii=False, default=_plain).encode("utf-8", "backslashreplace") + b"\n"
        )
    except TypeError as error:
        raise DataError(
            f"{source.repo} has values that are no text: {error}.", "Only text can be learned."
        ) from None


def _plain(value: object) -> str:
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise TypeError(type(value).__name__)


@contextmanager
def _in_words(source: HubSource) -> Iterator[None]:
    """Turn what the libraries raise into what a person can act on."""
    import httpx2  # what huggingface_hub 2 talks through, and lets its errors pass
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError
    from huggingface_hub import errors
    from huggingface_hub.errors import OfflineModeIsEnabled

    place = f"{source.repo}{f' at {source.revision}' if source.revision else ''}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise DataError(
            f"{source.repo} is gated.",
            "Accept its terms on its page, and give the runner a token as HF_TOKEN.",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DataError(
            f"{source.repo} has no revision {source.revision!r}.", "Name a branch, tag or commit."
        ) from error
    except (errors.RepositoryNotFoundError, DatasetNotFoundError) as error:
        raise DataError(
            f"The Hub knows no data set {place} that this runner may read.",
            "Look at the spelling. A private one needs a token: start the runner with HF_TOKEN.",
        ) from error
    except (DataFilesNotFoundError, EmptyDatasetError) as error:
        raise DataError(
            f"{place} has no files that can be read as rows.", "Download what it has, and upload that."
        ) from error
    except OfflineModeIsEnabled as error:
        raise Unavailable(
            "The Hub is not asked: HF_HUB_OFFLINE is set for the runner.", "Start it without."
        ) from error
    except ValueError as error:
        raise DataError(f"{source.repo}: {_first_line(error)[:500]}", "Choose one of those.") from error
    except (httpx2.HTTPError, OSError, RuntimeError) as error:
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if 400 <= status < 500 and status != 429:
            raise DataError(f"The Hub refuses {place}: {_first_line(error)[:300]}") from error
        why = _first_line(error)[:300]
        raise Unavailable(f"The Hugging Face Hub cannot be reached ({why}).", _TRY_LATER) from error


def _first_line(error: Exception) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
