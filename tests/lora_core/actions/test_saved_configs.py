"""Saved configs: checked names, what is replaced and what refused, copies, and those that cannot be read."""

from contextlib import closing

import pytest

from lora_core.actions import saved_configs
from lora_core.actions.configs import config_from_preset, config_from_yaml
from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError, Conflict, NotAllowed, NotFound
from lora_core.schema.config import TrainingConfig
from lora_core.store.local.database import connect

FIRST, SECOND = config_from_preset("balanced"), config_from_preset("quick-check")


def names(workspace: Workspace) -> list[str]:
    return sorted(saved.name for saved in saved_configs.list_configs(workspace).items)


def old_one(workspace: Workspace, document: str) -> str:
    """A config as another version of the studio might have stored it."""
    saved = saved_configs.save_config(workspace, "old", FIRST)
    with closing(connect(workspace.settings.database)) as connection:
        connection.execute("UPDATE training_configs SET config = ? WHERE id = ?", (document, saved.id))
    return saved.id


def test_a_name_is_made_fit_to_show_and_an_empty_one_refused(workspace: Workspace) -> None:
    assert saved_configs.save_config(workspace, " a\n\0 b ", FIRST).name == "a b"
    with pytest.raises(ConfigError):
        saved_configs.save_config(workspace, " \n", FIRST)


def test_another_config_under_a_taken_name_is_refused_unless_it_is_to_be_replaced(
    workspace: Workspace,
) -> None:
    saved = saved_configs.save_config(workspace, "mine", FIRST)
    assert saved_configs.save_config(workspace, "mine", FIRST) == saved
    with pytest.raises(Conflict):
        saved_configs.save_config(workspace, "mine", SECOND)
    replaced = saved_configs.save_config(workspace, "mine", SECOND, replace=True)
    assert (replaced.id, replaced.config, replaced.created_at) == (saved.id, SECOND, saved.created_at)
    assert workspace.configs.get(saved.id) == replaced
    assert names(workspace) == ["mine"]


def test_copies_find_free_names_however_long_the_name_is(workspace: Workspace) -> None:
    saved = saved_configs.save_config(workspace, "n" * 120, FIRST)
    copies = [saved_configs.duplicate_config(workspace, saved.id).name for _ in range(2)]
    assert copies == [f"{'n' * 113} (copy)", f"{'n' * 111} (copy 2)"]


def test_a_config_is_found_by_name_or_id(workspace: Workspace) -> None:
    saved = saved_configs.save_config(workspace, "mine", FIRST)
    assert saved_configs.find_config(workspace, " mine ") == saved
    assert saved_configs.find_config(workspace, saved.id) == saved
    with pytest.raises(NotFound):
        saved_configs.find_config(workspace, "min")


def test_a_config_is_exported_under_its_name(workspace: Workspace) -> None:
    saved = saved_configs.save_config(workspace, "../größe: 1/2", FIRST)
    file_name, content = saved_configs.download_config(workspace, saved.id)
    assert file_name == "größe-1-2.yaml"
    assert config_from_yaml(b"".join(content).decode()) == FIRST


def test_missing_fields_of_an_older_config_have_their_defaults(workspace: Workspace) -> None:
    old = workspace.configs.get(old_one(workspace, '{"schema_version": 1}'))
    assert (old.config, old.fault) == (TrainingConfig(), "")


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ('{"adapter": {"rnk": 8}}', "adapter.rnk is not a field; did you mean adapter.rank?"),
        ('{"schema_version": 2}', "schema_version"),
        ("[1]", "config"),
    ],
)
def test_a_config_that_cannot_be_read_is_listed_with_the_reason_and_can_be_tidied_up(
    workspace: Workspace, document: str, why: str
) -> None:
    config_id = old_one(workspace, document)
    saved_configs.save_config(workspace, "good", SECOND)
    listed = {saved.name: saved for saved in saved_configs.list_configs(workspace).items}
    assert (listed["old"].config, listed["good"].config) == (None, SECOND)
    assert why in listed["old"].fault
    with pytest.raises(ConfigError, match="cannot be read"):
        saved_configs.duplicate_config(workspace, config_id)
    with pytest.raises(NotAllowed):
        workspace.configs.put(listed["old"])
    assert saved_configs.rename_config(workspace, config_id, "older").fault == listed["old"].fault
    assert saved_configs.save_config(workspace, "older", FIRST, replace=True).id == config_id
    saved_configs.delete_config(workspace, config_id)
    assert names(workspace) == ["good"]
