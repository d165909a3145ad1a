"""The sample data set that comes with the studio, for a first try without a file of one's own."""

from pathlib import Path

from lora_core.actions.datasets import upload_dataset
from lora_core.actions.files import chunks_of
from lora_core.actions.workspace import Workspace
from lora_core.errors import NotFound
from lora_core.schema.dataset import Dataset

SAMPLE = Path(__file__).parents[2] / "examples" / "support_tickets" / "train.jsonl"
SAMPLE_NAME = "Support tickets (sample)"


def add_sample_dataset(workspace: Workspace) -> Dataset:
    """Store the sample as a data set, or return the one that was stored before. A runner checks it like any upload.

    Raises:
        NotFound: This installation has no examples folder.
    """
    stored = workspace.datasets.list(search=SAMPLE_NAME, limit=1).items
    if stored:
        return stored[0]
    if not SAMPLE.is_file():
        raise NotFound("The sample data is not part of this installation.", "Upload a file of your own.")
    return upload_dataset(workspace, SAMPLE.name, chunks_of(SAMPLE.open("rb")), name=SAMPLE_NAME)
