"""Files that are no data set: the page names what is wrong and where, and stays calm."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.journeys.conftest import Visit
from tests.journeys.stage import Stage
from tests.journeys.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

GOOD = b'{"prompt": "hi", "completion": "hello"}\n'
UNREADABLE = {
    "latin.jsonl": (
        GOOD * 2 + '{"prompt": "Straße", "completion": "ja"}\n'.encode("latin-1"),
        "Line 3 is not UTF-8",
        "Save the file as UTF-8",
    ),
    "picture.jsonl": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, "The file is a picture", "Upload text"),
    "program.csv": (bytes(range(256)) * 40, "The file is binary, not text", "Upload JSONL"),
}


def upload(person: Visitor, file: Path) -> None:
    """Drop a file on the data sets' page."""
    person.open("/datasets")
    person.sees_title("Data sets")
    person.upload(file)


@pytest.mark.modes("embedded", "team")
def test_an_empty_file_is_refused_where_it_was_dropped(
    shared_stage: Stage, visit: Visit, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    person = visit(shared_stage)
    upload(person, empty)
    person.sees("empty.jsonl is empty.")
    person.sees("Choose a file with at least one row.")


@pytest.mark.modes("embedded", "team")
@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_cannot_be_read_is_explained(
    shared_stage: Stage, visit: Visit, tmp_path: Path, name: str
) -> None:
    content, *explanation = UNREADABLE[name]
    file = tmp_path / name
    file.write_bytes(content)
    person = visit(shared_stage)
    upload(person, file)
    person.sees_title(file.stem)
    person.sees_status("Cannot be read")
    person.sees("This file cannot be read")
    for words in explanation:
        person.sees(words)
    expect(person.button("Train on this data set")).to_be_disabled()


@pytest.mark.modes("embedded", "team")
def test_a_broken_row_is_named_by_its_line_and_can_be_dropped(
    shared_stage: Stage, visit: Visit, tmp_path: Path
) -> None:
    file = tmp_path / "broken.jsonl"
    file.write_bytes(
        GOOD.replace(b"hi", b"hi there") + GOOD + b'{"prompt": "hi", \n' + GOOD.replace(b"hi", b"hey")
    )
    person = visit(shared_stage)
    upload(person, file)
    person.sees_title("broken")
    person.sees_status("Has bad rows")
    expect(person.button("Train on this data set")).to_be_disabled()

    person.main.get_by_role("tab", name="Problems").click()
    person.sees("1 row cannot be learned from")
    cell = person.main.locator("[role=gridcell]").filter(has_text="Line 3 is not valid JSON")
    expect(cell).to_have_count(1)
    report = person.download("download_issues", tmp_path)
    assert '"line":3' in report.read_text(encoding="utf-8").replace(" ", "")

    person.button("Drop rows").click()
    expect(person.dialog).to_contain_text("Bad rows, that nothing can be learned from: 1")
    person.dialog.get_by_role("button", name="Make the new version").click()
    person.main.get_by_role("button", name="Made from this").click()
    person.sees_status("Ready")
    person.sees("all can be learned from")
