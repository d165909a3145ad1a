"""Tells base models apart by their weights without reading them as a whole. Knows safetensors files, no torch."""

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

SAMPLE_BYTES = 4096
SAMPLES = 3
"""Pieces read of each tensor: at its start, in the middle and at its end. Training changes every piece of a tensor."""

OF_THE_LIBRARY = frozenset({"transformers_version", "_name_or_path", "torch_dtype", "dtype"})
"""Entries of config.json that say who wrote it, not what the model computes."""


def weights_identity(folder: Path) -> str:
    """Hash names, formats, shapes and samples of all tensors.

    How they are spread over files does not matter, so a model that was saved anew or fetched in other pieces is the same.

    Args:
        folder: Holds `*.safetensors`.

    Returns:
        A sha256, in hexadecimal.
    """
    tensors = sorted(tensor for file in sorted(folder.glob("*.safetensors")) for tensor in _tensors(file))
    return hashlib.sha256("\n".join(tensors).encode()).hexdigest()


def config_identity(folder: Path) -> str:
    """Hash what config.json says of the model's computing."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    said = {name: value for name, value in config.items() if name not in OF_THE_LIBRARY}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _tensors(file: Path) -> Iterator[str]:
    """Yield a line for each tensor. A file begins with the length of its header, then the header as JSON."""
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header: dict[str, Any] = json.loads(stream.read(length))
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                sample = _sample(stream, 8 + length + begin, end - begin)
                yield f"{name} {entry['dtype']} {entry['shape']} {sample}"


def _sample(stream: BinaryIO, start: int, size: int) -> str:
    digest = hashlib.sha256()
    for number in range(SAMPLES):
        stream.seek(start + max(0, size - SAMPLE_BYTES) * number // (SAMPLES - 1))
        digest.update(stream.read(min(SAMPLE_BYTES, size)))
    return digest.hexdigest()
