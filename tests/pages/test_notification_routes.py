"""The section about notifications on the settings page: empty, adding, what became of a message, testing, removing."""

from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from lora_core.actions.notification_routes import add_route, read_routes
from lora_core.actions.workspace import Workspace
from lora_core.schema.base import new_id
from lora_core.schema.notification import DeliveryState, NotificationKind, NotificationRoute
from lora_core.settings import Settings
from lora_core.studio import Studio
from tests.pages.conftest import OpenPage
from tests.pages.words import words

SLACK = "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"


@pytest.fixture
def route(workspace: Workspace) -> NotificationRoute:
    return add_route(workspace, "My *phone*", "json://127.0.0.1:9/hook/s3cr3t")


def add(page: AppTest, address: str, name: str = "Team channel") -> AppTest:
    page.button(key="route_add").click().run()
    page.text_input(key="route_name").set_value(name)
    page.text_input(key="route_address_Slack").set_value(address)
    return page.button(key="route_add_do").click().run()


def test_without_routes_it_says_what_they_are(open_page: OpenPage) -> None:
    assert "nothing is sent anywhere else yet" in words(open_page("settings"))


def test_a_route_is_added_and_its_address_is_not_shown(open_page: OpenPage, workspace: Workspace) -> None:
    page = add(open_page("settings"), SLACK)
    (route,) = read_routes(workspace).routes
    assert (route.name, route.shown) == ("Team channel", "Slack")
    assert NotificationKind.JOB_FAILED in route.events
    text = words(page)
    assert "Team channel" in text
    assert "No message yet" in text
    assert "TIiajk" not in text
    assert not [field for field in page.text_input if field.key == "route_name"]


def test_a_wrong_address_is_told_in_the_dialog_without_repeating_it(
    open_page: OpenPage, workspace: Workspace
) -> None:
    page = add(open_page("settings"), "file:///etc/s3cr3t")
    assert "not among the services" in words(page)
    assert "s3cr3t" not in words(page)
    assert not read_routes(workspace).routes


def test_a_mail_route_is_made_of_its_fields(open_page: OpenPage, workspace: Workspace) -> None:
    page = open_page("settings")
    page.button(key="route_add").click().run()
    page.segmented_control(key="route_kind").set_value("E-mail").run()
    page.text_input(key="route_mail_to").set_value("ada@example.org")
    page.text_input(key="route_mail_server").set_value("smtp.example.org")
    page.text_input(key="route_mail_user").set_value("ada@example.org")
    page.text_input(key="route_mail_password").set_value("p@ss/w:rd")
    page = page.button(key="route_add_do").click().run()
    (route,) = read_routes(workspace).routes
    assert route.shown == "E-mail via smtp.example.org"
    assert "w:rd" not in words(page)


def test_events_are_chosen_by_pills(
    open_page: OpenPage, workspace: Workspace, route: NotificationRoute
) -> None:
    page = open_page("settings")
    page.pills(key=f"route_events_{route.id}").set_value([NotificationKind.ALERT]).run()
    assert read_routes(workspace).routes[0].events == (NotificationKind.ALERT,)


def test_a_test_waits_for_a_runner_and_its_end_is_told(
    open_page: OpenPage, studio: Studio, route: NotificationRoute
) -> None:
    page = open_page("settings")
    page.button(key=f"route_test_{route.id}").click().run()
    assert "Waits for a runner, since" in words(page)
    from lora_core.vault import open_vault

    port, keys = studio.dispatch_port(), open_vault(studio.settings).key_ids
    delivery = port.claim_delivery(new_id(), keys, lease_seconds=30)
    assert delivery is not None
    assert "A runner is sending it" in words(page.run())
    port.end_delivery(
        delivery, DeliveryState.FAILED, error="The service did not accept the message (HTTP 403)."
    )
    assert "was not sent" in words(page.run())
    assert "HTTP 403" in words(page)


def test_the_bell_does_not_ring_for_a_test(
    open_page: OpenPage, workspace: Workspace, route: NotificationRoute
) -> None:
    open_page("settings").button(key=f"route_test_{route.id}").click().run()
    assert workspace.notifications.unread() == 0


def test_removing_asks_first(open_page: OpenPage, workspace: Workspace, route: NotificationRoute) -> None:
    page = open_page("settings")
    page.button(key=f"route_remove_{route.id}").click().run()
    page.button(key="route_remove_keep").click().run()
    assert read_routes(workspace).routes
    page.button(key=f"route_remove_{route.id}").click().run()
    page = page.button(key="route_remove_do").click().run()
    assert not read_routes(workspace).routes
    assert "nothing is sent anywhere else yet" in words(page)


class TestTeamWithoutAKey:
    @pytest.fixture
    def workspace(self, studio: Studio, tmp_path: Path) -> Workspace:
        team = Settings(home=tmp_path, supabase_url="http://127.0.0.1:1", supabase_key="sb_publishable_x")
        return replace(studio.workspace(), settings=team)

    def test_it_says_what_is_missing(self, open_page: OpenPage) -> None:
        page = open_page("settings")
        assert "no LORA\\_STUDIO\\_ENCRYPTION\\_KEY" in words(page)
        assert page.button(key="route_add").disabled
