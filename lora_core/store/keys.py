"""What a bucket and a key may look like, and which files of a folder are stored. The same in every store; touches no bucket.

A key is made by the studio, never from a person's file name. The letters are those that every object storage takes.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from lora_core.errors import Forbidden

ARTIFACT_BUCKET = "model-artifacts"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_PART = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._=@+-]{1,200}")


def check_key(bucket: str, key: str) -> None:
    """Refuse what could lead out of a bucket.

    Raises:
        Forbidden: The bucket or key could lead out of its folder, or has characters a key never has.

    >>> check_key("lora-datasets", "user/datasets/1/data")
    """
    if not _BUCKET.fullmatch(bucket):
        raise Forbidden(f"{bucket!r} is not the name of a bucket.")
    if len(key) > 1000 or not all(_PART.fullmatch(part) for part in key.split("/")):
        raise Forbidden(f"{key[:100]!r} is not a key: letters, digits and . _ - = @ + between slashes.")


def check_own_key(user_id: str, key: str) -> None:
    """Refuse a key that does not lie in a person's folder.

    Raises:
        Forbidden: It lies elsewhere.
    """
    folder, _, rest = key.partition("/")
    if folder != user_id or not rest:
        raise Forbidden("A key begins with the id of the person whose file it is.")


def files_of(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, nested ones too, in order of name. Links are left out: they could lead anywhere."""
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted(names):
            path = Path(parent) / name
            if path.is_file() and not path.is_symlink():
                yield path
