"""The runner's side of a team's tasks: claim, report, close, and the data set a task is about. All by tokens, over HTTP.

As with jobs, the claim makes a token for the task, which this process invents and keeps.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lora_core.errors import Conflict, Forbidden, NotFound, SignedOut
from lora_core.schema.dataset import Dataset
from lora_core.schema.runner import RunnerInfo, Task
from lora_core.secrets import Secret, TokenKind, token_sha256
from lora_core.store.supabase.files import StorageFiles
from lora_core.store.supabase.gateway import Gateway
from lora_core.store.supabase.holder import ClaimTokens, as_machine, files_for
from lora_core.store.supabase.rows import dataset_row, read_dataset, read_task, runner_row

_HASH_BYTES = 2**20


@dataclass(frozen=True)
class _Claimed:
    """A task of this process and its token."""

    task: Task
    token: Secret


class SupabaseTaskPort:
    """TaskPort over the functions for runners. Safe for several threads; its task tokens live in this process only.

    Args:
        gateway: The project's functions.
        files: The project's Storage, seen without a token.
        key: The publishable key.
        token: The runner's token.
    """

    def __init__(self, gateway: Gateway, files: StorageFiles, key: str, token: Secret) -> None:
        self._gateway = gateway
        self._files = files
        self._key = key
        self._token = token
        self._claim_tokens = ClaimTokens(TokenKind.TASK)
        self._claimed: dict[str, _Claimed] = {}

    def claim_task(self, runner: RunnerInfo, *, lease_seconds: float) -> Task | None:
        """Take the oldest waiting task, or one whose lease ran out; see `TaskPort.claim_task`.

        Raises:
            SignedOut: The runner's token is not accepted (any more).
        """
        with self._claim_tokens.token(runner.id) as token:
            answer = self._gateway.rpc(
                "task_claim",
                p_token=self._token.reveal(),
                p_runner=runner_row(runner),
                p_lease_seconds=lease_seconds,
                p_task_token_sha256=token_sha256(token.reveal()),
            )
        if answer is None:
            return None
        task = read_task(answer)
        self._claimed[task.id] = _Claimed(task, token)
        return task

    def progress_task(self, task_id: str, *, progress: float, message: str, lease_seconds: float) -> None:
        """Report progress and keep the task; see `TaskPort.progress_task`.

        Raises:
            Conflict: The task has ended, or another runner has it.
        """
        share = min(1.0, max(0.0, progress))
        self._call(
            "task_progress", task_id, p_progress=share, p_message=message, p_lease_seconds=lease_seconds
        )

    def end_task(self, task_id: str, *, error: str = "") -> None:
        """Close the task; see `TaskPort.end_task`. Closing it again in the same way changes nothing."""
        self._call("task_end", task_id, p_error=error)

    def task_dataset(self, task_id: str) -> Dataset:
        """Return the data set a task is about; see `TaskPort.task_dataset`."""
        return read_dataset(self._call("task_dataset", task_id))

    def open_task_dataset(self, task_id: str) -> BinaryIO:
        """Open the file of the data set a task is about; see `TaskPort.open_task_dataset`."""
        dataset = self.task_dataset(task_id)
        with as_machine():
            return self._files_of(task_id).open(dataset.storage_bucket, dataset.storage_path)

    def task_peer(self, task_id: str) -> Dataset | None:
        """Return the data set to compare with; see `TaskPort.task_peer`."""
        answer = self._call("task_peer", task_id)
        return read_dataset(answer) if answer is not None else None

    def open_task_peer(self, task_id: str) -> BinaryIO:
        """Open the file of the data set to compare with; see `TaskPort.open_task_peer`."""
        peer = self.task_peer(task_id)
        if peer is None:
            raise NotFound("The task compares with no data set.")
        with as_machine():
            return self._files_of(task_id).open(peer.storage_bucket, peer.storage_path)

    def save_task_issues(self, task_id: str, issues: Path) -> None:
        """Store the list of issues beside the data set; see `TaskPort.save_task_issues`.

        Raises:
            Conflict: The task has ended, or another runner has it.
        """
        dataset = self.task_dataset(task_id)
        folder = dataset.storage_path.rsplit("/", 1)[0]
        with as_machine():
            self._files_of(task_id).put(dataset.storage_bucket, f"{folder}/issues.jsonl", issues, upsert=True)

    def save_task_dataset(self, task_id: str, dataset: Dataset, content: Path | None = None) -> Dataset:
        """Write back what the task found, or store a new version; see `TaskPort.save_task_dataset`.

        Raises:
            Conflict: The task has ended, or another runner has it.
            Forbidden: The data set is not the one the task is about, nor a new version of it.
        """
        task = self._claim(task_id).task
        if content is None:
            if dataset.id != task.subject_id:
                raise Forbidden("A task writes back the data set it is about.")
            return read_dataset(self._call("task_save_dataset", task_id, p_dataset=dataset_row(dataset)))
        size, sha256 = _measure(content)
        filled = dataset.id == task.subject_id and self._may_fill(task_id, size, sha256)
        if not filled and dataset.parent_id != task.subject_id:
            raise Forbidden("The content of a data set never changes: store it as a new version of this one.")
        if dataset.user_id != task.user_id or not dataset.storage_path.startswith(
            f"{task.user_id}/datasets/{dataset.id}/"
        ):
            raise Forbidden("A new version lies in its own folder, under the person it belongs to.")
        stored = dataset.model_copy(update={"bytes": size, "sha256": sha256})
        with as_machine(), suppress(Forbidden):  # it may have its row already, and only that answer been lost
            self._files_of(task_id).put(stored.storage_bucket, stored.storage_path, content, upsert=True)
        function = "task_save_dataset" if filled else "task_add_dataset"
        return read_dataset(self._call(function, task_id, p_dataset=dataset_row(stored)))

    def _may_fill(self, task_id: str, size: int, sha256: str) -> bool:
        """Whether the task's data set has no content yet, or this one already (only the answer was lost)."""
        known = self.task_dataset(task_id)
        return not known.bytes or (known.bytes, known.sha256) == (size, sha256)

    def _claim(self, task_id: str) -> _Claimed:
        claimed = self._claimed.get(task_id)
        if claimed is None:
            raise Conflict("The task has ended, or another runner has it.")
        return claimed

    def _files_of(self, task_id: str) -> StorageFiles:
        return files_for(self._files, self._key, self._claim(task_id).token)

    def _call(self, function: str, task_id: str, **parameters: Any) -> Any:
        token = self._claim(task_id).token
        with _refusal_is_conflict():
            return self._gateway.rpc(function, p_token=token.reveal(), p_task=task_id, **parameters)


@contextmanager
def _refusal_is_conflict() -> Iterator[None]:
    """A task token that is not accepted any more is that of a task which somebody else has, or nobody needs."""
    try:
        yield
    except SignedOut as error:
        raise Conflict("The task has ended, or another runner has it.") from error


def _measure(path: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_HASH_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()
