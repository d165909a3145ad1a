"""The secret key of a project passes every policy: nothing but the operator's set-up may know even its name."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAME = "SUPABASE_SECRET_KEY"
MAY_NAME_IT = {"lora_core/store/supabase/set_up.py", "lora_core/cli_team.py", "README.md", "CHANGELOG.md"}
MAY_NAME_IT_FOLDERS = ("docs/", "tests/")


def test_the_secret_key_is_named_in_the_set_up_alone() -> None:
    command = ["git", "grep", "--untracked", "--name-only", "--text", "--fixed-strings", "-i", NAME]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout.split()
    assert MAY_NAME_IT & set(found), "the search found nothing at all"
    elsewhere = [
        file for file in found if file not in MAY_NAME_IT and not file.startswith(MAY_NAME_IT_FOLDERS)
    ]
    assert not elsewhere


def test_no_stored_file_holds_a_secret_key() -> None:
    """Keys begin with sb_secret_ (or are service_role JWTs); examples in texts are shorter than real ones."""
    command = [
        "git",
        "grep",
        "--untracked",
        "--text",
        "-nE",
        "sb_secret_[A-Za-z0-9_-]{20,}|eyJhbGciOi[A-Za-z0-9_-]{20,}",
    ]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout
    assert not found
