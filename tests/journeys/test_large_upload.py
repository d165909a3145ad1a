"""A file far larger than Streamlit's own uploader takes: it streams, the app's memory stays flat, every row is checked."""

import json
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from lora_core.actions import datasets
from lora_core.schema.dataset import DatasetStatus
from tests.journeys.conftest import OpenStage, Visit
from tests.journeys.stage import eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

ROWS = 100_000
ROW_BYTES = 2_000
UPLOAD_BYTES_PER_SECOND = 40_000_000
"""The browser is slowed down to this, so that there is some progress to see."""

MAX_GROWTH_BYTES = 60_000_000


def write_rows(file: Path) -> Path:
    """Write about 200 MB, no row like another."""
    answer = "a word or two more, " * (ROW_BYTES // 20)
    with file.open("w", encoding="utf-8") as out:
        for number in range(ROWS):
            out.write(
                f"{json.dumps({'prompt': f'Say number {number}.', 'completion': f'{number}: {answer}'})}\n"
            )
    return file


@pytest.mark.modes("embedded", "team")
def test_a_large_file_streams_through_the_app(open_stage: OpenStage, visit: Visit, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "large.jsonl")
    assert file.stat().st_size > 190_000_000
    stage = open_stage().start()
    person = visit(stage)
    person.open("/datasets")
    person.sees("No data sets yet")
    network = person.context.new_cdp_session(person.page)
    network.send(
        "Network.emulateNetworkConditions",
        {
            "offline": False, "latency": 0, "downloadThroughput": -1,
            "uploadThroughput": UPLOAD_BYTES_PER_SECOND,
        },
    )  # fmt: skip
    assert stage.app is not None
    app = psutil.Process(stage.app.pid)
    before = most = app.memory_info().rss
    percents: list[float] = []
    bar = person.key("upload").locator("progress")

    def arrived() -> bool:
        nonlocal most
        most = max(most, app.memory_info().rss)
        percents.extend(bar.evaluate_all("bars => bars.map(bar => bar.value)"))
        return bool(datasets.list_datasets(stage.workspace).items)

    person.upload(file)
    eventually(arrived, "the file is in the store", within=240)
    person.sees_title("large")
    person.sees_status("Ready", within=300)
    person.sees(f"{ROWS:,}")
    person.sees("all can be learned from")
    most = max(most, app.memory_info().rss)

    between = {percent for percent in percents if 0 < percent < 100}
    assert len(between) >= 3, "the progress bar moved"
    assert all(earlier <= later for earlier, later in pairwise(percents))
    (dataset,) = datasets.list_datasets(stage.workspace).items
    assert (dataset.rows, dataset.bytes) == (ROWS, file.stat().st_size)
    assert dataset.status is DatasetStatus.READY
    assert most - before < MAX_GROWTH_BYTES
