"""Which base models a person can choose, and which of them are on this machine already."""

from dataclasses import dataclass

from lora_core.actions.workspace import Workspace
from lora_core.models.catalogue import CATALOGUE, BaseModelInfo, find_model
from lora_core.models.learning_rate import suggest_learning_rate
from lora_core.models.weights import folder_of, is_present, lossy_note


@dataclass(frozen=True)
class BaseModelChoice:
    """A base model, whether its weights are on this machine, and the learning rate its width suggests (None if unknown)."""

    info: BaseModelInfo
    present: bool
    note: str = ""
    learning_rate: float | None = None


def list_base_models(workspace: Workspace) -> list[BaseModelChoice]:
    """Return the catalogue, smallest model first, those on this machine marked."""
    models = sorted(CATALOGUE, key=lambda info: info.parameters or 0)
    return [_choice(workspace, info) for info in models]


def look_up_model(workspace: Workspace, reference: str) -> BaseModelChoice:
    """Return the model that a catalogue id, Hub id or local folder means. The Hub is not asked.

    Raises:
        ModelError: The reference has no valid form, or the folder holds no model or may not be used.
    """
    return _choice(workspace, find_model(reference, local_roots=workspace.settings.model_roots))


def _choice(workspace: Workspace, info: BaseModelInfo) -> BaseModelChoice:
    folder = folder_of(info, workspace.settings.models)
    return BaseModelChoice(info, is_present(folder), lossy_note(folder) or "", suggest_learning_rate(info))
