"""Files that come to this machine: where they may go, and which ones stay in the cache."""

import os
from pathlib import Path

import pytest

from lora_core.errors import DataError
from runner.fetching import prune, safe_relative


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b", "a\\b", ""])
def test_an_artifact_names_no_file_outside_of_its_folder(name: str) -> None:
    with pytest.raises(DataError):
        safe_relative(name)


def test_the_least_recently_used_files_leave_the_cache_first(tmp_path: Path) -> None:
    for age, name in enumerate(("newest", "middle", "oldest")):
        (tmp_path / name).write_bytes(b"x" * 100)
        os.utime(tmp_path / name, (1_000_000 - age, 1_000_000 - age))
    prune(tmp_path, 200)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["middle", "newest"]
    prune(tmp_path, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["newest"]
