"""Training configs that a person keeps under names: saved, loaded, renamed, duplicated, removed."""

from collections.abc import Iterator

from lora_core.actions.configs import config_to_yaml
from lora_core.actions.datasets import MAX_NAME, clean_name
from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError, Conflict, NotFound
from lora_core.schema.base import Page, new_id, utc_now
from lora_core.schema.config import TrainingConfig
from lora_core.schema.saved_config import SavedConfig

MOST_COPIES = 100


def list_configs(workspace: Workspace, *, limit: int = 200, cursor: str | None = None) -> Page[SavedConfig]:
    """Return saved configs, the last changed first; those that cannot be read say why."""
    return workspace.configs.list(limit=limit, cursor=cursor)


def save_config(
    workspace: Workspace, name: str, config: TrainingConfig, *, replace: bool = False
) -> SavedConfig:
    """Save a config under a name. Saving the same one again changes nothing.

    Args:
        replace: Put it in the place of the one that has the name.

    Raises:
        ConfigError: The name is empty.
        Conflict: Another config has the name.
    """
    name = checked_name(name)
    now = utc_now()
    known = workspace.configs.named(name)
    if known is not None and known.config == config:
        return known
    if known is not None and replace:
        saved = known.model_copy(update={"config": config, "fault": "", "updated_at": now})
    else:
        saved = SavedConfig(
            id=new_id(), user_id=workspace.user_id, name=name, config=config, created_at=now, updated_at=now
        )
    workspace.configs.put(saved)
    return saved


def rename_config(workspace: Workspace, config_id: str, name: str) -> SavedConfig:
    """Give a saved config another name.

    Raises:
        ConfigError: The name is empty.
        Conflict: Another config has the name.
    """
    return workspace.configs.rename(config_id, checked_name(name))


def duplicate_config(workspace: Workspace, config_id: str) -> SavedConfig:
    """Save a config a second time, under the first name of the kind “mine (copy)” that is free.

    Raises:
        ConfigError: It cannot be read.
        Conflict: There are a hundred copies already.
    """
    saved = workspace.configs.get(config_id)
    config = readable(saved)
    for number in range(1, MOST_COPIES + 1):
        end = " (copy)" if number == 1 else f" (copy {number})"
        name = saved.name[: MAX_NAME - len(end)] + end
        if workspace.configs.named(name) is None:
            return save_config(workspace, name, config)
    raise Conflict(f"There are {MOST_COPIES} copies of “{saved.name}” already.", "Delete some, or rename it.")


def delete_config(workspace: Workspace, config_id: str) -> None:
    """Remove a saved config; jobs that were made from it keep theirs."""
    workspace.configs.delete(config_id)


def find_config(workspace: Workspace, wanted: str) -> SavedConfig:
    """Return the saved config of this name or id.

    Raises:
        NotFound: There is none.
    """
    by_name = workspace.configs.named(clean_name(wanted, default=""))
    if by_name is not None:
        return by_name
    try:
        return workspace.configs.get(wanted)
    except NotFound:
        raise NotFound(f"You have no saved config “{wanted}”.", "`configs` lists them.") from None


def readable(saved: SavedConfig) -> TrainingConfig:
    """Return the config of a saved one.

    Raises:
        ConfigError: This version of the studio cannot read it; the message says why.
    """
    if saved.config is None:
        raise ConfigError(
            f"“{saved.name}” cannot be read by this version of the studio: {saved.fault}",
            "Save the settings anew, or delete it.",
        )
    return saved.config


def download_config(workspace: Workspace, config_id: str) -> tuple[str, Iterator[bytes]]:
    """Return a name for the YAML file of a saved config, and its content.

    Raises:
        ConfigError: It cannot be read.
    """
    saved = workspace.configs.get(config_id)
    words = "".join(sign if sign.isalnum() or sign in "-_" else " " for sign in saved.name).split()
    content = config_to_yaml(readable(saved)).encode()
    return f"{'-'.join(words)[:60] or 'config'}.yaml", iter([content])


def checked_name(name: str) -> str:
    """Return a name as it is stored.

    Raises:
        ConfigError: Nothing of it is left.
    """
    cleaned = clean_name(name, default="")
    if not cleaned:
        raise ConfigError("A saved config needs a name.", f"Give it one of at most {MAX_NAME} signs.")
    return cleaned
