"""What a runner does with a job of a team: claim, renew, ship, fetch and store files, end. All by tokens, over HTTP.

The runner's token claims; the claim makes a job token, which this process invents, keeps, and tells only as its sha256
beforehand. Every later call about the attempt shows the job token. A job token that is not accepted any more (revoked
with its runner, run out, gone with its job) can never be accepted again: that is Conflict, as for a lost attempt.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from lora_core.errors import (
    Conflict,
    Forbidden,
    NotFound,
    SignedOut,
    StoreError,
    StudioError,
    TooLarge,
    Unavailable,
)
from lora_core.schema.artifact import Artifact, ArtifactFile
from lora_core.schema.job import EndOfAttempt, Outcome
from lora_core.schema.run import RunEvent
from lora_core.schema.runner import Claim, Directive, RunnerInfo
from lora_core.secrets import Secret, TokenKind, token_sha256
from lora_core.store.batch import MAX_BATCH
from lora_core.store.keys import ARTIFACT_BUCKET, check_key, files_of
from lora_core.store.supabase.files import StorageFiles
from lora_core.store.supabase.gateway import Gateway
from lora_core.store.supabase.holder import ClaimTokens, Holder, as_machine, files_for
from lora_core.store.supabase.rows import artifact_row, read_artifact, read_dataset, read_job, runner_row
from lora_core.store.supabase.shipment import pack

log = logging.getLogger(__name__)

_HASH_BYTES = 2**20


class SupabaseRunnerPort:
    """RunnerPort over the functions for runners. Safe for several threads; its job tokens live in this process only.

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
        self._claim_tokens = ClaimTokens(TokenKind.JOB)
        self._holders: dict[tuple[str, int], Holder] = {}
        self._doomed: dict[str, Artifact] = {}

    def announce(self, runner: RunnerInfo) -> None:
        """Say that this runner is alive; see `RunnerPort.announce`.

        Raises:
            SignedOut: The runner's token is not accepted (any more).
        """
        self._gateway.rpc("runner_announce", p_token=self._token.reveal(), p_runner=runner_row(runner))

    def claim(self, runner: RunnerInfo, *, lease_seconds: float) -> Claim | None:
        """Take the first queued job this machine can run; see `RunnerPort.claim`.

        Raises:
            SignedOut: The runner's token is not accepted (any more).
        """
        if "train" not in runner.roles:
            return None
        with self._claim_tokens.token(runner.id) as token:
            answer = self._gateway.rpc(
                "runner_claim",
                p_token=self._token.reveal(),
                p_runner=runner_row(runner),
                p_lease_seconds=lease_seconds,
                p_job_token_sha256=token_sha256(token.reveal()),
            )
        return self._hold_readable(answer, token) if answer is not None else None

    def take_up(self, claim: Claim) -> None:
        """Go on with an earlier claim, by the token in it; see `RunnerPort.take_up`.

        Raises:
            Conflict: It has no token: it is a claim of the embedded mode.
        """
        if not claim.job_token:
            raise Conflict("The claim has no token: it was made without a team.")
        self._holders[claim.job.id, claim.attempt] = Holder(Secret(claim.job_token), claim.job.user_id)

    def renew(self, job_id: str, attempt: int, *, lease_seconds: float) -> Directive:
        """Keep the job and read what the person wants; see `RunnerPort.renew`."""
        answer = self._call("job_renew", job_id, attempt, p_lease_seconds=lease_seconds)
        return Directive(
            requested_action=answer.get("requested_action"), request_id=answer.get("request_id") or ""
        )

    def ship(self, job_id: str, attempt: int, events: Sequence[RunEvent]) -> None:
        """Store a batch of run-folder events; see `RunnerPort.ship`."""
        if len(events) > MAX_BATCH:
            raise TooLarge(f"A batch holds at most {MAX_BATCH} events; this one has {len(events)}.")
        self._call("job_ship", job_id, attempt, p_batch=pack(events))

    def open_dataset(self, job_id: str, attempt: int, dataset_id: str) -> BinaryIO:
        """Open a data set of the job; see `RunnerPort.open_dataset`."""
        row = self._call("job_dataset", job_id, attempt, p_dataset=dataset_id)
        dataset = read_dataset(row)
        with as_machine(), _named(f"The file of the data set {dataset.name!r}"):
            return self._files_of(job_id, attempt).open(dataset.storage_bucket, dataset.storage_path)

    def open_artifact(self, job_id: str, attempt: int, artifact_id: str, file_name: str) -> BinaryIO:
        """Open one file of one of the job's artifacts; see `RunnerPort.open_artifact`."""
        artifact = read_artifact(self._call("job_artifact", job_id, attempt, p_artifact=artifact_id))
        if file_name not in {file.name for file in artifact.files}:
            raise NotFound(f"The artifact has no file {file_name!r}.")
        with as_machine(), _named(f"The file {file_name} of {artifact.name}"):
            return self._files_of(job_id, attempt).open(artifact.bucket, f"{artifact.path}/{file_name}")

    def put_artifact(self, attempt: int, artifact: Artifact, folder: Path) -> Artifact:
        """Store the files of a folder, then the row; see `RunnerPort.put_artifact`.

        A call that was cut off may be made again: files that have arrived are not sent twice.
        """
        job_id = artifact.job_id
        holder = self._holder(job_id, attempt)
        if artifact.user_id != holder.user_id:
            raise Forbidden("An artifact belongs to the person whose job made it.")
        known = self._known(artifact, attempt)
        if known is not None:
            return known
        path = f"{holder.user_id}/jobs/{job_id}/{attempt}/{artifact.id}"
        described = _describe(folder, path)
        stored = artifact.model_copy(
            update={
                "attempt": attempt,
                "bucket": ARTIFACT_BUCKET,
                "path": path,
                "files": described,
                "bytes": sum(file.bytes for file in described),
            }
        )
        files = self._files_of(job_id, attempt)
        try:
            with as_machine():
                for file in described:
                    _upload(files, f"{path}/{file.name}", folder / file.name)
            return read_artifact(
                self._call("job_put_artifact", job_id, attempt, p_artifact=artifact_row(stored))
            )
        except Unavailable:
            raise  # it is tried again, and what has arrived counts
        except _RefusedByStorage:
            self._known(artifact, attempt)  # raises Conflict if the attempt is over, which would be why
            raise
        except StudioError:
            with suppress(StudioError):  # the policies keep what a row owns
                _remove(files, stored)
            raise

    def drop_artifact(self, job_id: str, attempt: int, artifact_id: str) -> None:
        """Remove a rotated checkpoint, first the row and then the files; see `RunnerPort.drop_artifact`."""
        row = self._call("job_drop_artifact", job_id, attempt, p_artifact=artifact_id)
        if row is not None:
            self._doomed[artifact_id] = read_artifact(row)
        doomed = self._doomed.get(artifact_id)
        if doomed is not None:
            with as_machine():
                _remove(self._files_of(job_id, attempt), doomed)
            del self._doomed[artifact_id]

    def end(self, job_id: str, attempt: int, end: EndOfAttempt) -> None:
        """Close the attempt and move the job; see `RunnerPort.end`. The same end again changes nothing."""
        self._call("job_end", job_id, attempt, p_end=end.model_dump(mode="json"))

    def close(self) -> None:
        """Close the connections."""
        self._gateway.close()
        self._files.close()

    def _hold_readable(self, answer: dict[str, Any], token: Secret) -> Claim | None:
        """Return the claim that was answered; None for a job that this studio cannot read, which is given back."""
        try:
            return self._hold(answer, token)
        except ValueError as error:
            self._refuse_unreadable(answer, token, error)
            return None

    def _hold(self, answer: dict[str, Any], token: Secret) -> Claim:
        """Read a claim's answer and keep its token for the calls that follow."""
        validation, checkpoint = answer.get("validation"), answer.get("checkpoint")
        claim = Claim(
            job=read_job(answer["job"]),
            attempt=answer["attempt"],
            job_token=token.reveal(),
            dataset=read_dataset(answer["dataset"]),
            validation=read_dataset(validation) if validation is not None else None,
            checkpoint=read_artifact(checkpoint) if checkpoint is not None else None,
        )
        self._holders[claim.job.id, claim.attempt] = Holder(token, claim.job.user_id)
        return claim

    def _refuse_unreadable(self, answer: dict[str, Any], token: Secret, error: ValueError) -> None:
        """Give back a job that this studio cannot read: a newer one may have made it, and a newer runner takes it after a pause.

        Meanwhile the others go on. A job that no runner can read fails after the last try: it must not go from machine to machine
        for ever.
        """
        job_id, attempt = answer["job"]["id"], answer["attempt"]
        log.warning(
            "job %s cannot be read by this runner and is given back: is the runner older than the app?",
            job_id,
        )
        faults = error.errors() if isinstance(error, ValidationError) else []
        where = ", ".join(".".join(map(str, fault["loc"])) for fault in faults[:5])
        what = f"The runner cannot read this job{f' ({where})' if where else ''}"
        reason = "The runner cannot read this job."
        said = f"{what}: another version of the studio made it. Bring that runner up to date."
        self._holders[job_id, attempt] = Holder(token, answer["job"]["user_id"])
        with suppress(Conflict):
            self.end(
                job_id,
                attempt,
                EndOfAttempt(outcome=Outcome.FAILED, reason=reason, error=said, transient=True),
            )

    def _holder(self, job_id: str, attempt: int) -> Holder:
        holder = self._holders.get((job_id, attempt))
        if holder is None:
            raise Conflict("This machine has no token for that attempt of the job.")
        return holder

    def _files_of(self, job_id: str, attempt: int) -> StorageFiles:
        return files_for(self._files, self._key, self._holder(job_id, attempt).token)

    def _call(self, function: str, job_id: str, attempt: int, **parameters: Any) -> Any:
        token = self._holder(job_id, attempt).token
        with _refusal_is_conflict(attempt):
            return self._gateway.rpc(
                function, p_token=token.reveal(), p_job=job_id, p_attempt=attempt, **parameters
            )

    def _known(self, artifact: Artifact, attempt: int) -> Artifact | None:
        """Return the artifact if it is stored already: the answer to an earlier call was lost."""
        try:
            row = self._call("job_artifact", artifact.job_id, attempt, p_artifact=artifact.id)
        except NotFound:
            return None
        known = read_artifact(row)
        if known.attempt != attempt:
            raise Conflict("There is another artifact with this id.")
        return known


@contextmanager
def _refusal_is_conflict(attempt: int) -> Iterator[None]:
    try:
        yield
    except SignedOut as error:
        raise Conflict(f"The token of attempt {attempt} has ended: {error.message}") from error


@contextmanager
def _named(file: str) -> Iterator[None]:
    try:
        yield
    except NotFound as error:
        raise NotFound(f"{file} is not in the project's Storage, or this attempt may not read it.") from error


def _describe(folder: Path, path: str) -> tuple[ArtifactFile, ...]:
    """Return the files of a folder with sizes and hashes; links are left out.

    Raises:
        NotFound: There is no file in it.
        Forbidden: A name cannot be part of a key.
    """
    described = []
    for source in files_of(folder):
        name = source.relative_to(folder).as_posix()
        check_key(ARTIFACT_BUCKET, f"{path}/{name}")
        digest, size = hashlib.sha256(), 0
        with source.open("rb") as stream:
            while chunk := stream.read(_HASH_BYTES):
                digest.update(chunk)
                size += len(chunk)
        described.append(ArtifactFile(name=name, bytes=size, sha256=digest.hexdigest()))
    if not described:
        raise NotFound(f"There is no file in {folder}.")
    return tuple(described)


class _RefusedByStorage(StoreError):
    """Storage does not take a file from this attempt. Whether the attempt is over, the database knows."""


def _upload(files: StorageFiles, key: str, path: Path) -> None:
    """Store a file of an artifact that has no row yet. What a try that was cut off has left is replaced."""
    try:
        try:
            files.put(ARTIFACT_BUCKET, key, path)
        except Conflict:
            files.remove(ARTIFACT_BUCKET, [key])
            files.put(ARTIFACT_BUCKET, key, path)
    except (Conflict, Forbidden) as error:
        raise _RefusedByStorage(
            f"The project's Storage refuses {path.name}.", "Its policies may be older than this studio."
        ) from error


def _remove(files: StorageFiles, artifact: Artifact) -> None:
    files.remove(artifact.bucket, [f"{artifact.path}/{file.name}" for file in artifact.files])
