"""The commands about configs say what they did, and their exit status tells scripts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lora_core.actions.configs import config_from_preset, config_from_yaml
from lora_core.cli import app
from tests.lora_core.actions.scenes import ROW

Command = Callable[..., Result]

FOREIGN = "model_name_or_path: smollm2-135m-instruct\nlora_rank: 4\nlora_rnk: 2\nplot_loss: true\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("LORA_STUDIO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "llama.yaml").write_text(FOREIGN)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_a_saved_config_is_listed_printed_and_deleted(run: Command) -> None:
    assert run("save-config", "my [b]usual", "--set", "adapter.rank=8").exit_code == 0
    listed = run("configs").stdout
    assert "my [b]usual" in listed
    assert "preset Balanced" in listed
    printed = run("export-config", "my [b]usual", "--set", "adapter.alpha=8")
    wanted = config_from_preset("balanced", ["adapter.rank=8", "adapter.alpha=8"])
    assert config_from_yaml(printed.stdout) == wanted
    assert run("delete-config", "my [b]usual").stdout == "my [b]usual: deleted.\n"
    assert "No saved configs yet" in run("configs").stdout


def test_a_taken_name_is_refused_and_replaced_when_asked(run: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("adapter: {rank: 4}")
    run("save-config", "mine")
    refused = run("save-config", "mine", "--config", "mine.yaml")
    assert (refused.exit_code, "already" in refused.stderr) == (1, True)
    assert run("save-config", "mine", "--config", "mine.yaml", "--replace").exit_code == 0
    assert config_from_yaml(run("export-config", "mine").stdout).adapter.rank == 4


def test_a_preset_and_a_saved_config_are_compared_field_by_field(run: Command) -> None:
    run("save-config", "mine", "--set", "adapter.rank=8")
    (line,) = [
        line for line in run("compare-configs", "balanced", "mine").stdout.splitlines() if "rank" in line
    ]
    assert [cell.strip() for cell in line.strip("│").split("│")] == ["adapter.rank", "32", "8"]
    assert run("compare-configs", "mine", "mine").stdout == "They are the same.\n"


def test_signs_that_look_like_markup_are_told_as_they_are(run: Command) -> None:
    result = run("export-config", "balanced", "--set", "[/INST]")
    assert result.exit_code == 1
    assert "'[/INST]' is not an override." in result.stderr


def test_a_name_of_neither_preset_nor_saved_config_is_one_sentence(run: Command) -> None:
    result = run("export-config", "nothing")
    assert result.exit_code == 1
    assert "no preset 'nothing'" in result.stderr
    assert "quick-check" in result.stderr


def test_another_tools_config_is_reported_and_its_yaml_can_be_piped(run: Command) -> None:
    result = run("import-config", "llama.yaml")
    assert config_from_yaml(result.stdout).adapter.rank == 4
    lines = {line.split("│")[2].strip(): line for line in result.stderr.splitlines() if line.startswith("│")}
    assert "means the same" in lines["lora_rank"]
    assert "adapter.rank = 4" in lines["lora_rank"]
    assert "not known" in lines["lora_rnk"]
    assert "has no effect here" in lines["plot_loss"]
    assert "A config of LLaMA-Factory. Of its lines" in result.stderr


def test_another_tools_config_is_written_to_a_file_but_never_over_itself(
    run: Command, tmp_path: Path
) -> None:
    result = run("import-config", "llama.yaml", "-o", "ours.yaml")
    assert (result.exit_code, "lora_rank" in result.stdout) == (0, True)
    assert config_from_yaml((tmp_path / "ours.yaml").read_text()).adapter.rank == 4
    refused = run("import-config", "llama.yaml", "-o", "llama.yaml")
    assert (refused.exit_code, (tmp_path / "llama.yaml").read_text()) == (1, FOREIGN)


def test_a_job_from_another_tools_config_is_refused_with_the_way_there(run: Command, tmp_path: Path) -> None:
    (tmp_path / "good.jsonl").write_bytes(ROW)
    result = run("submit", "good.jsonl", "--config", "llama.yaml")
    assert result.exit_code == 1
    assert "import-config llama.yaml" in result.stderr.replace("\n", " ")
