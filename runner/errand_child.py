"""`python -m runner.errand_child FOLDER`: does one piece of heavy work and leaves a report. Knows no store.

It runs under limits of address space and computing time, because what it reads is hostile: a file of a person.
"""

import os
import resource
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.errors import DataError, StudioError, Unavailable
from lora_core.schema.base import utc_now
from lora_core.schema.dataset import (
    CheckReport,
    ColumnMapping,
    Dataset,
    DatasetFormat,
    DatasetStatus,
    DropKind,
)
from lora_core.schema.run import DataFile
from lora_core.schema.runner import TaskKind
from lora_core.secrets import Secret
from lora_core.settings import Settings
from runner.errand import Order, Progress, Report, reference_of
from runner.run_folder import write_atomically

if TYPE_CHECKING:
    from lora_core.datasets.similar_rows import Comparison

PROGRESS_SECONDS = 0.5
NICENESS = 10


def main(folder: Path) -> None:
    """Do what `order.json` says and write `report.json`."""
    order = Order.model_validate_json((folder / "order.json").read_bytes())
    os.nice(NICENESS)
    try:
        report = WORK[order.kind](order, folder, Teller(folder, order.agent_pid))
    except StudioError as error:
        retry = isinstance(error, Unavailable)
        report = Report(error=error.message, next_step=error.next_step, retry=retry)
    except MemoryError:
        report = Report(error="This machine has too little memory for it.", next_step="Use a smaller file.")
    write_atomically(folder / "report.json", report.model_dump_json().encode())


class Teller:
    """Tells the agent how far the work is, and ends it when the agent is gone: nobody would read the report."""

    def __init__(self, folder: Path, agent_pid: int) -> None:
        self._file = folder / "progress.json"
        self._agent_pid = agent_pid
        self._next = 0.0

    def tell(self, share: float, message: str) -> None:
        """Write it down, at most twice a second."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PROGRESS_SECONDS
        progress = Progress(progress=min(1.0, max(0.0, share)), message=message)
        write_atomically(self._file, progress.model_dump_json().encode())
        try:
            os.kill(self._agent_pid, 0)
        except ProcessLookupError:
            sys.exit("The runner is gone.")
        except PermissionError:
            return

    def share(self, message: str) -> Callable[[float], None]:
        """Return a callback for work that knows its share."""
        return lambda share: self.tell(share, message)


def limit(order: Order) -> None:
    """Bound address space and computing time of this process, for good."""
    for kind, most in ((resource.RLIMIT_AS, order.memory_bytes), (resource.RLIMIT_CPU, order.cpu_seconds)):
        _, hard = resource.getrlimit(kind)
        if most is not None and (hard == resource.RLIM_INFINITY or most < hard):
            resource.setrlimit(kind, (most, hard))


def check_dataset(order: Order, folder: Path, teller: Teller) -> Report:
    """Check every row; the report and the list of all issues come back."""
    limit(order)
    dataset, file = _needed(order)
    chosen = DatasetFormat(order.arguments.get("format") or DatasetFormat.UNKNOWN)
    mapping = order.arguments.get("mapping")
    checked = _checked(
        dataset, file, folder, teller, chosen, ColumnMapping.model_validate(mapping) if mapping else None
    )
    if checked.report is not None and order.arguments.get("source"):
        report = checked.report.model_copy(update={"source": str(order.arguments["source"])})
        checked = checked.model_copy(update={"report": report})
    if order.arguments.get("similar") and checked.report is not None and checked.report.good_rows:
        checked = checked.model_copy(update={"report": _with_similar(order, checked, folder, teller)})
    return Report(dataset=checked, issues=folder / "issues.jsonl")


def _with_similar(order: Order, checked: Dataset, folder: Path, teller: Teller) -> CheckReport:
    """Add the rows that repeat others to the report and to the list of issues."""
    from lora_core.datasets.issues import add_warnings

    assert checked.report is not None
    found = _compared(order, checked, folder, teller)
    peer = order.peer
    report = add_warnings(checked.report, found.issues(), folder / "issues.jsonl")
    similar = found.report(peer.id, peer.name) if peer else found.report()
    return report.model_copy(update={"similar": similar})


def _compared(order: Order, dataset: Dataset, folder: Path, teller: Teller) -> "Comparison":
    from lora_core.datasets.similar_rows import SplitChoice, compare_rows

    assert order.file is not None
    scratch = folder / "sketches"
    scratch.mkdir()
    peer = _data_file(order.peer, order.peer_file) if order.peer and order.peer_file else None
    split = order.arguments.get("split") or {}
    return compare_rows(
        _data_file(dataset, order.file),
        scratch,
        other=peer,
        split=SplitChoice(**split),
        progress=teller.share("Looking for rows that repeat others."),
    )


def _data_file(dataset: Dataset, file: Path) -> DataFile:
    return DataFile(path=str(file), name=dataset.file_name, format=dataset.format, mapping=dataset.mapping)


def drop_bad_rows(order: Order, folder: Path, teller: Teller) -> Report:
    """Write a version without the kinds of rows that were chosen, and check that."""
    from lora_core.datasets.clean import write_without

    limit(order)
    dataset, file = _needed(order)
    kinds = {DropKind(kind) for kind in order.arguments.get("kinds", [DropKind.ERRORS])}
    repeated = kinds - {DropKind.ERRORS}
    content = folder / "good.jsonl"
    rows = write_without(
        file,
        content,
        dataset.format,
        dataset.mapping,
        drop_errors=DropKind.ERRORS in kinds,
        dropped_rows=_compared(order, dataset, folder, teller).dropped(repeated) if repeated else frozenset(),
        file_name=dataset.file_name,
        progress=teller.share("Copying the other rows."),
    )
    if not rows:
        raise DataError("No row would be left.", "Map the columns by hand or upload another file.")
    cleaned = _new_version(order, dataset, content, "cleaned")
    checked = _checked(cleaned, content, folder, teller, dataset.format, dataset.mapping)
    return Report(dataset=checked, content=content)


def import_dataset(order: Order, folder: Path, teller: Teller) -> Report:
    """Bring a split of a Hugging Face data set here as the content of the data set, and check it."""
    os.environ.update(
        {
            "HF_HUB_CACHE": str(folder / "hub"),
            "HF_DATASETS_CACHE": str(folder / "datasets"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
    )  # read once, when the libraries are imported; what they keep goes with the task's folder
    from runner.hub_import import HubSource, import_from_hub

    limit(order)
    assert order.dataset is not None
    source = HubSource.model_validate(order.arguments)
    content = folder / "imported.jsonl"
    imported = import_from_hub(source, content, lambda words: teller.tell(0.0, words))
    if not imported.rows:
        raise DataError(f"{source.repo} has no rows in {source.split!r}.", "Choose another split.")
    dataset = order.dataset.model_copy(update={"bytes": content.stat().st_size})
    checked = _checked(dataset, content, folder, teller, DatasetFormat.UNKNOWN, None)
    assert checked.report is not None
    parts = [source.repo, source.config, source.split, f"commit {imported.revision[:12]}"]
    came_from = ", ".join(part for part in parts if part)
    report = checked.report.model_copy(update={"source": came_from})
    return Report(
        dataset=checked.model_copy(update={"report": report}), content=content, issues=folder / "issues.jsonl"
    )


CONVERTED = {
    DatasetFormat.MESSAGES: "chat",
    DatasetFormat.UNPAIRED_PREFERENCE: "rated answers",
}
"""What is put behind a data set's name when it is converted."""


def convert_dataset(order: Order, folder: Path, teller: Teller) -> Report:
    """Write a version in another format, and check that."""
    from lora_core.datasets.clean import write_converted

    limit(order)
    dataset, file = _needed(order)
    target = DatasetFormat(order.arguments["target"])
    content = folder / "converted.jsonl"
    rows = write_converted(
        file,
        content,
        dataset.format,
        dataset.mapping,
        target,
        file_name=dataset.file_name,
        progress=teller.share("Laying the rows out anew."),
    )
    if not rows:
        raise DataError("No row would be left.", "All answers are labelled as bad ones.")
    converted = _new_version(order, dataset, content, CONVERTED[target])
    checked = _checked(converted, content, folder, teller, target, None)
    return Report(dataset=checked, content=content)


def _new_version(order: Order, dataset: Dataset, content: Path, what: str) -> Dataset:
    """Describe a version made from a data set; the same task again makes the same one."""
    new_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"lora-studio/cleaned/{order.task_id}"))
    return Dataset(
        id=new_id,
        user_id=dataset.user_id,
        name=f"{dataset.name[: 117 - len(what)]} ({what})",
        file_name=f"{Path(dataset.file_name or 'data').stem}.jsonl",
        storage_bucket=dataset.storage_bucket,
        storage_path=f"{dataset.user_id}/datasets/{new_id}/data",
        bytes=content.stat().st_size,
        parent_id=dataset.id,
        created_at=utc_now(),
    )


def measure_dataset(order: Order, folder: Path, teller: Teller) -> Report:
    """Count tokens with a base model's tokenizer; the model is fetched first if it is not here."""
    from lora_core.datasets.measure import measure_tokens
    from lora_core.datasets.tokenizer import ChatTokenizer

    dataset, file = _needed(order)
    if dataset.report is None:
        raise DataError("The data set has not been checked yet.", "Wait for its check, then measure again.")
    arguments = order.arguments
    model = str(arguments["model"])
    model_folder = _obtain(order, model, teller)
    limit(order)
    tokens = measure_tokens(
        file,
        dataset.format,
        dataset.mapping,
        ChatTokenizer.load(model_folder),
        model=model,
        max_length=int(arguments.get("max_length", 1024)),
        loss_on=arguments.get("loss_on", "completion"),
        file_name=dataset.file_name,
        progress=teller.share("Counting tokens."),
    )
    tokens = tokens.model_copy(update={"revision": str(arguments.get("revision") or "")})
    report = dataset.report.model_copy(update={"tokens": tokens})
    return Report(dataset=dataset.model_copy(update={"report": report}))


def fetch_model(order: Order, folder: Path, teller: Teller) -> Report:
    """Bring a base model's weights onto this machine."""
    return Report(folder=str(_obtain(order, str(order.arguments["model"]), teller)))


WORK: dict[TaskKind, Callable[[Order, Path, Teller], Report]] = {
    TaskKind.CHECK_DATASET: check_dataset,
    TaskKind.DROP_BAD_ROWS: drop_bad_rows,
    TaskKind.CONVERT_DATASET: convert_dataset,
    TaskKind.IMPORT_DATASET: import_dataset,
    TaskKind.MEASURE_DATASET: measure_dataset,
    TaskKind.FETCH_MODEL: fetch_model,
}


def _checked(
    dataset: Dataset,
    file: Path,
    folder: Path,
    teller: Teller,
    chosen: DatasetFormat,
    mapping: ColumnMapping | None,
) -> Dataset:
    from lora_core.datasets.check import check_file

    report = check_file(
        file,
        file_name=dataset.file_name,
        format=chosen,
        mapping=mapping,
        progress=teller.share("Checking every row."),
        issues_path=folder / "issues.jsonl",
    )
    known = report.format is not DatasetFormat.UNKNOWN
    return dataset.model_copy(
        update={
            "status": status_of(report),
            "format": report.format,
            "mapping": report.mapping if known else dataset.mapping,
            "rows": report.rows,
            "report": report,
        }
    )


def status_of(report: CheckReport) -> DatasetStatus:
    """What a check means for the use of a data set."""
    if report.fatal:
        return DatasetStatus.UNREADABLE
    if report.format is DatasetFormat.UNKNOWN:
        return DatasetStatus.NEEDS_MAPPING
    return DatasetStatus.HAS_ERRORS if report.error_rows or not report.good_rows else DatasetStatus.READY


def _obtain(order: Order, model: str, teller: Teller) -> Path:
    from lora_core.models.catalogue import find_model
    from runner.models.obtain import obtain_model

    models = Settings(home=order.home).models
    info = find_model(reference_of(model, order.arguments.get("revision")), local_roots=order.model_roots)
    token = os.environ.get("HF_TOKEN")

    def tell(here: int, total: int) -> None:
        text = f"Fetching {info.title}: {here / 1e6:,.0f} of {total / 1e6:,.0f} MB."
        teller.tell(here / total if total else 0.0, text)

    teller.tell(0.0, f"Looking for {info.title}.")
    return obtain_model(info, models, token=Secret(token) if token else None, progress=tell)


def _needed(order: Order) -> tuple[Dataset, Path]:
    assert order.dataset is not None
    assert order.file is not None
    return order.dataset, order.file


if __name__ == "__main__":
    main(Path(sys.argv[1]))
