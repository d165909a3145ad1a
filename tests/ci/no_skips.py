"""Fails a run in which a slow or browser test was skipped, or none ran: a green CI that tested nothing is worse than a red one.

As a pytest plugin (`-p tests.ci.no_skips`) it writes each test's markers into the JUnit file; as a script it reads such files,
one of each run.
"""

import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import pytest

MUST_RUN = ("slow", "browser")
PROPERTY = "must_run"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note the markers that matter as properties of the test case."""
    for item in items:
        for marker in MUST_RUN:
            if item.get_closest_marker(marker):
                item.user_properties.append((PROPERTY, marker))


def complaints(junits: Sequence[Path], must_run: Sequence[str] = MUST_RUN) -> list[str]:
    """Say what is wrong with all runs together: a line for each skipped test that must run and each marker of which none ran."""
    found: list[str] = []
    ran = dict.fromkeys(must_run, 0)
    for case in (case for junit in junits for case in ET.parse(junit).iter("testcase")):
        markers = [entry.get("value", "") for entry in case.iter("property") if entry.get("name") == PROPERTY]
        skipped = case.find("skipped")
        for marker in markers:
            if skipped is None:
                ran[marker] = ran.get(marker, 0) + 1
            else:
                name = f"{case.get('classname')}::{case.get('name')}"
                found.append(f"{marker} test skipped: {name} ({skipped.get('message', 'no reason')})")
    return found + [f"no {marker} test ran" for marker, count in ran.items() if count == 0]


def main(arguments: Sequence[str]) -> int:
    """Print the complaints; exit status 1 if there is one."""
    found = complaints([Path(argument) for argument in arguments])
    for line in found:
        sys.stderr.write(f"{line}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
