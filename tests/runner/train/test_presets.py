"""Every preset trains as it stands: three updates of a tiny model, nothing of the preset changed but the number of updates."""

import pytest

from lora_core.presets import list_presets
from lora_core.schema.run import ExitCode
from tests.runner.train.bench import Bench

UPDATES = 3


@pytest.mark.slow
@pytest.mark.parametrize("name", [preset.name for preset in list_presets()])
def test_a_preset_trains(bench: Bench, name: str) -> None:
    (preset,) = [preset for preset in list_presets() if preset.name == name]
    folder = bench.folder()
    config = preset.config()
    config = config.model_copy(
        update={"optimisation": config.optimisation.model_copy(update={"max_steps": UPDATES, "epochs": 3.0})}
    )
    spec = folder.spec().model_copy(update={"config": config})
    folder.spec_file.write_text(spec.model_dump_json())
    ended = bench.train(folder)
    assert ended.code == ExitCode.DONE, ended.result
    assert len(ended.column("loss")) == UPDATES
    assert (folder.adapter / "adapter_config.json").exists()
