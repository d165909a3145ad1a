"""Where the weights of base models lie on this machine, and how they come from the Hugging Face Hub. Loads nothing into memory.

Only safetensors, tokenizer and config files are fetched: no pickles, no Python files, never `trust_remote_code`.
"""

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from lora_core.errors import DiskFull, ModelError, StudioError, Unavailable
from lora_core.models.info import BaseModelInfo
from lora_core.models.local_folder import describe_folder
from lora_core.secrets import Secret

Progress = Callable[[int, int], None]
"""Called with (bytes here, bytes in all), about once a second."""

WANTED = (".safetensors", ".json", ".txt", ".model", ".jinja")
"""Ends of names. Weights, configs, and the tokenizer in its forms (JSON, merges and words, SentencePiece, chat template)."""

RESERVE_BYTES = 512 * 2**20
"""Left free on the disk beside the model: database, logs and the run itself write there too."""

LOSSY_FILE = "lossy.json"
POLL_SECONDS = 1.0
LISTING_SECONDS = 15.0


def folder_of(info: BaseModelInfo, models_folder: Path) -> Path:
    """Where the weights of a model lie, or would lie once fetched.

    Args:
        info: The model, from `find_model`.
        models_folder: `Settings().models`.

    >>> from lora_core.models.catalogue import DEMO_MODEL
    >>> folder_of(DEMO_MODEL, Path("/home/me/models")).name
    'HuggingFaceTB--SmolLM2-135M-Instruct'
    """
    return info.folder or models_folder / info.slug


def is_present(folder: Path) -> bool:
    """Whether a folder holds a whole model: config, tokenizer, and every file that the weights' index names."""
    if not (folder / "config.json").is_file() or not any(folder.glob("tokenizer*")):
        return False
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return any(folder.glob("*.safetensors"))
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return all((folder / Path(name).name).is_file() for name in names)


def completed(info: BaseModelInfo, models_folder: Path) -> BaseModelInfo:
    """Fill in the numbers that a model's entry lacks, if its weights are here; otherwise give it back as it is."""
    folder = folder_of(info, models_folder)
    if not is_present(folder):
        return info
    found = describe_folder(folder).model_dump(
        exclude={"id", "title", "hub_id", "revision", "folder"}, exclude_none=True
    )
    given = info.model_dump(exclude_none=True, exclude_defaults=True)
    return BaseModelInfo.model_validate({**found, **given})


def lossy_note(folder: Path) -> str | None:
    """What a person should know about these weights if they are not the original ones, else None."""
    try:
        note = json.loads((folder / LOSSY_FILE).read_bytes())["note"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(note)


def is_wanted(name: str) -> bool:
    """Whether a file of a model on the Hub is fetched. Sub-folders and `consolidated*` hold the same weights in other forms.

    >>> [name for name in ("model.safetensors", "pytorch_model.bin", "onnx/config.json", "modeling.py") if is_wanted(name)]
    ['model.safetensors']
    """
    plain = "/" not in name and not name.startswith("consolidated")
    return plain and (name.endswith(WANTED) or name.upper().startswith(("LICENSE", "LICENCE")))


def fetch_from_hub(
    info: BaseModelInfo, models_folder: Path, *, token: Secret | None = None, progress: Progress | None = None
) -> Path:
    """Fetch a model's weights from the Hub, unless they are here.

    Files go to a partial folder beside the final one, which is renamed at the end: an interrupted fetch goes on where it
    stopped, and a folder with the final name is whole. Safe to call from several processes: the others wait for the first.

    Args:
        info: A model of the Hub.
        models_folder: `Settings().models`.
        token: Hub token for gated or private models.
        progress: Told about bytes on the disk.

    Returns:
        The folder with the weights.

    Raises:
        Unavailable: The Hub cannot be reached.
        ModelError: No such model or revision, a gated one without access, or one without safetensors.
        DiskFull: Not enough free space.
    """
    folder = folder_of(info, models_folder)
    if is_present(folder):
        return folder
    if info.hub_id is None:
        raise ModelError(f"The folder {str(folder)!r} holds no whole model.")
    with lock_of(folder):
        if is_present(folder):
            return folder
        partial = folder.with_name(f".{folder.name}.partial")
        try:
            _download(info.hub_id, info.revision, partial, token, progress)
        except StudioError:
            raise
        except Exception as error:
            raise _explained(error, info.hub_id) from error
        if not is_present(partial):
            raise ModelError(f"{info.hub_id} is not a whole model in the form that the studio loads.")
        shutil.rmtree(partial / ".cache", ignore_errors=True)
        partial.rename(folder)
    return folder


def require_space(folder: Path, needed_bytes: int) -> None:
    """Check the disk before a model is written to it.

    Args:
        folder: An existing folder on that disk.
        needed_bytes: What will be written.

    Raises:
        DiskFull: Less is free than that plus `RESERVE_BYTES`.
    """
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes + RESERVE_BYTES > free_bytes:
        raise DiskFull(
            f"The model needs {needed_bytes / 1e9:.1f} GB, and {max(free_bytes - RESERVE_BYTES, 0) / 1e9:.1f} GB are free for it "
            f"in {str(folder)!r}.",
            "Delete models that are no longer used, or move the studio with LORA_STUDIO_HOME.",
        )


@contextmanager
def lock_of(folder: Path) -> Iterator[None]:
    """Let one process at a time write a model's folder; ends with the process. Makes the parent folder."""
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        yield


def _download(
    hub_id: str, revision: str | None, partial: Path, token: Secret | None, progress: Progress | None
) -> None:
    """List, check the disk, then fetch that very commit, reporting the bytes on the disk meanwhile."""
    from huggingface_hub import HfApi, snapshot_download

    secret = token.reveal() if token else False
    listing = HfApi(token=secret).model_info(
        hub_id, revision=revision, files_metadata=True, timeout=LISTING_SECONDS
    )
    sizes = {file.rfilename: file.size or 0 for file in listing.siblings or () if is_wanted(file.rfilename)}
    if not any(name.endswith(".safetensors") for name in sizes):
        raise ModelError(
            f"{hub_id} offers no safetensors.",
            "Choose another copy of the model: other formats can run code when opened.",
        )
    partial.mkdir(parents=True, exist_ok=True)
    total_bytes = sum(sizes.values())
    require_space(partial, max(total_bytes - _bytes_in(partial), 0))
    with ThreadPoolExecutor(max_workers=1) as pool:
        running = pool.submit(
            snapshot_download,
            hub_id,
            revision=listing.sha,
            local_dir=partial,
            token=secret,
            allow_patterns=list(sizes),
        )
        while not wait([running], timeout=POLL_SECONDS).done:
            if progress is not None:
                progress(min(_bytes_in(partial), total_bytes), total_bytes)
        running.result()
    if progress is not None:
        progress(total_bytes, total_bytes)


def _bytes_in(folder: Path) -> int:
    """Bytes of all files below a folder; a file that is renamed meanwhile counts 0."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total


def _offline(hub_id: str) -> Unavailable:
    return Unavailable(
        f"{hub_id} could not be fetched: the Hugging Face Hub cannot be reached from this machine.",
        "Check the connection (and HF_HUB_OFFLINE) and try again: what was fetched is kept. Without a network, copy the model's "
        "folder here and choose it as a local folder.",
    )


def _explained(error: Exception, hub_id: str) -> Exception:
    """What a failure of the Hub client means for a person."""
    from huggingface_hub import errors as hub

    if isinstance(error, hub.GatedRepoError):
        return ModelError(
            f"{hub_id} is gated.",
            "Accept its licence on its page on the Hub, then give a Hub token with read access in Settings.",
        )
    if isinstance(error, hub.RepositoryNotFoundError | hub.RevisionNotFoundError):
        return ModelError(
            f"The Hub has no model {hub_id} (or not that revision), or it is private.",
            "Check the spelling, or give a Hub token that may read it in Settings.",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"The disk filled up while {hub_id} was fetched.",
            "Free some space and try again: it goes on from there.",
        )
    # Beside its own errors the Hub client lets through those of the HTTP library that it happens to use.
    network = ConnectionError | TimeoutError | hub.LocalEntryNotFoundError | hub.HfHubHTTPError
    if isinstance(error, network) or type(error).__module__.split(".")[0] in {"httpx", "httpx2", "requests"}:
        return _offline(hub_id)
    return error
