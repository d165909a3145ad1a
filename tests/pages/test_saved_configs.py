"""Saved configs in the form for a new job: saved, taken, compared, duplicated, renamed, deleted; faults are calm."""

from contextlib import closing

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from lora_core.actions import saved_configs
from lora_core.actions.configs import change_config, config_from_preset, config_from_yaml
from lora_core.actions.workspace import Workspace
from lora_core.schema.saved_config import SavedConfig
from lora_core.store.local.database import connect
from lora_core.studio import Studio
from pages.frame import routes
from tests.pages.conftest import OpenPage
from tests.pages.seeding import ready_dataset
from tests.pages.words import words


@pytest.fixture
def page(open_page: OpenPage, studio: Studio, workspace: Workspace) -> AppTest:
    """The form with its configs open: one is saved, of rank 4."""
    ready_dataset(studio)
    config = change_config(config_from_preset("balanced"), {"adapter.rank": 4})
    saved_configs.save_config(workspace, "small one", config)
    return open_page("train", configs="true")


def confirm(page: AppTest, opener: str, doer: str) -> None:
    """Press a button in a dialog; AppTest knows no fragments, so what opened the dialog is pressed again with it."""
    page.button(key=opener).click()
    page.button(key=doer).click().run()


def stored(workspace: Workspace) -> dict[str, SavedConfig]:
    return {saved.name: saved for saved in saved_configs.list_configs(workspace).items}


def rank(workspace: Workspace, name: str) -> int:
    return saved_configs.readable(stored(workspace)[name]).adapter.rank


def test_the_settings_of_the_form_are_saved_under_a_name(page: AppTest, workspace: Workspace) -> None:
    page.number_input(key="adapter.rank_0").set_value(16).run()
    page.text_input(key="config_name").set_value("  support   tone ").run()
    page.button(key="save_config").click().run()
    assert not page.exception
    assert rank(workspace, "support tone") == 16


def test_a_name_that_is_taken_is_refused_and_replaced_by_a_button_of_its_own(
    page: AppTest, workspace: Workspace
) -> None:
    page.text_input(key="config_name").set_value("small one")
    page.button(key="save_config").click().run()
    assert "You have a config called" in words(page)
    assert rank(workspace, "small one") == 4
    page.button(key="replace_config").click().run()
    assert rank(workspace, "small one") == 32
    assert len(stored(workspace)) == 1


def test_a_config_without_a_name_is_refused_in_words(page: AppTest) -> None:
    page.button(key="save_config").click().run()
    assert "needs a name" in words(page)


def test_a_saved_config_is_compared_with_the_form_and_taken(page: AppTest) -> None:
    difference = page.dataframe[0].value
    assert difference.to_numpy().tolist() == [["adapter.rank", "4", "32"]]
    page.button(key="use_saved").click().run()
    assert page.number_input(key="adapter.rank_1").value == 4
    assert "The same as these settings" in words(page)


def test_a_saved_config_is_duplicated_renamed_and_deleted(page: AppTest, workspace: Workspace) -> None:
    page.button(key="duplicate_config").click().run()
    assert set(stored(workspace)) == {"small one", "small one (copy)"}
    page.selectbox(key="saved_config").set_value(stored(workspace)["small one (copy)"].id).run()
    page.button(key="rename_config").click().run()
    page.text_input(key="new_config_name").set_value("small one")
    confirm(page, "rename_config", "rename_config_do")
    assert "You have a config called" in words(page)
    page.text_input(key="new_config_name").set_value("another")
    confirm(page, "rename_config", "rename_config_do")
    assert set(stored(workspace)) == {"small one", "another"}
    page.button(key="delete_config").click().run()
    confirm(page, "delete_config", "delete_config_do")
    assert set(stored(workspace)) == {"small one"}
    assert not page.exception


def test_a_config_that_cannot_be_read_says_why_and_can_only_be_renamed_or_deleted(
    page: AppTest, workspace: Workspace
) -> None:
    with closing(connect(workspace.settings.database)) as connection:
        connection.execute('UPDATE training_configs SET config = \'{"adapter": {"rnk": 8}}\'')
    page.run()
    assert "adapter.rnk is not a field" in words(page).replace("\\", "")
    keys = {button.key for button in page.button}
    assert keys >= {"rename_config", "delete_config"}
    assert not keys & {"use_saved", "duplicate_config"}


def test_without_saved_configs_the_part_says_what_they_are_for(open_page: OpenPage, studio: Studio) -> None:
    ready_dataset(studio)
    assert "None yet." in words(open_page("train", configs="true"))


def test_the_yaml_of_a_saved_config_is_downloaded_under_its_name(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = saved_configs.save_config(workspace, "Größe: 1/2", config_from_preset("quick-check"))
    monkeypatch.setattr(routes, "open_workspace", lambda _headers: workspace)
    with TestClient(Starlette(routes=routes.ROUTES)) as client:
        answer = client.get(f"/api/download/config/{saved.id}")
    assert "Gr%C3%B6%C3%9Fe-1-2.yaml" in answer.headers["content-disposition"]
    assert config_from_yaml(answer.text) == saved.config
