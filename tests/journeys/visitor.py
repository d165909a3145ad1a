"""A person at a real browser: opens pages of a studio, waits for them, and notes what a calm page must not do."""

import re
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page, WebSocket, expect
from streamlit.proto.BackMsg_pb2 import BackMsg

from tests.supastub.access import Person

WAIT_MS = 60_000
"""Longest wait for anything on a page: CI has two slow cores."""

expect.set_options(timeout=WAIT_MS)

CALAMITY = ("Traceback (most recent call last)", "Something went wrong on this page")


class Visitor:
    """One browser profile of its own, with one page.

    Args:
        account: Who it is in a team's studio; signs in at the door that the first address opens.
    """

    def __init__(
        self,
        browser: Browser,
        url: str,
        *,
        account: Person | None = None,
        scheme: str = "light",
        width: int = 1280,
        height: int = 900,
    ) -> None:
        self.url = url
        self._account = account
        self.context = browser.new_context(
            color_scheme="dark" if scheme == "dark" else "light",
            viewport={"width": width, "height": height},
            accept_downloads=True,
        )
        self.context.set_default_timeout(WAIT_MS)
        self.requests: list[str] = []
        self.page_errors: list[str] = []
        self.heard: list[bytes] = []
        """All that the app has sent over the pages' connections."""
        self.ticks: Counter[str] = Counter()
        """How often each timer (fragment) of the page has asked for a refresh."""
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page: Page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.page_errors.append(str(error)))
        self.page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        self.requests.append(socket.url)

        def sent(content: str | bytes) -> None:
            if isinstance(content, bytes):
                fragment = BackMsg.FromString(content).rerun_script.fragment_id
                if fragment:
                    self.ticks[fragment] += 1

        def received(content: str | bytes) -> None:
            self.heard.append(content if isinstance(content, bytes) else content.encode())

        socket.on("framesent", sent)
        socket.on("framereceived", received)

    # Going about

    def open(self, path: str = "/") -> None:
        """Open an address of the studio and wait until it is drawn; in a team, sign in there the first time."""
        self.page.goto(self.url + path)
        self.idle()
        if self._account is not None:
            account, self._account = self._account, None
            self.sign_in(account.email, account.password)

    @property
    def door(self) -> Locator:
        """The form at the door, of all that it has the one that is shown."""
        return self.page.locator("form[data-mode]:visible")

    def knock(self, email: str, password: str) -> None:
        """Fill in what the door asks for, and press its button."""
        self.door.locator("input[name=email]").fill(email)
        self.door.locator("input[name=password]").fill(password)
        self.door.locator("button.main").click()

    def sign_in(self, email: str, password: str) -> None:
        """Go through the door; the page behind it is loaded anew."""
        expect(self.door).to_have_attribute("data-mode", "sign_in")
        with self.page.expect_navigation():
            self.knock(email, password)
        self.idle()

    def sign_out(self) -> None:
        """Press the button in the sidebar and wait for the door."""
        with self.page.expect_navigation():
            self.page.get_by_test_id("stSidebar").get_by_role("button", name="Sign out").click()
        expect(self.door).to_have_attribute("data-mode", "sign_in")

    def reload(self) -> None:
        """Press F5."""
        self.page.reload()
        self.idle()

    def idle(self) -> None:
        """Wait until the page is connected and drawn. On a page with a timer, wait for content instead."""
        app = self.page.get_by_test_id("stApp")
        expect(app).to_have_attribute("data-test-connection-state", "CONNECTED")
        expect(app).to_have_attribute("data-test-script-state", "notRunning")
        expect(self.page.get_by_test_id("stSkeleton")).to_have_count(0)

    def key(self, name: str) -> Locator:
        """Find a widget or container by its key."""
        return self.page.locator(".st-key-" + re.sub(r"[^a-zA-Z0-9_-]", "-", name))

    def button(self, label: str) -> Locator:
        """Find a button in the page's body by what is written on it."""
        return self.main.get_by_role("button", name=label, exact=True)

    def metric(self, label: str) -> Locator:
        """Find a metric by its label."""
        return self.main.get_by_test_id("stMetric").filter(has_text=label)

    @property
    def main(self) -> Locator:
        """The page without the sidebar."""
        return self.page.get_by_test_id("stMain")

    @property
    def dialog(self) -> Locator:
        """The open dialog."""
        return self.page.get_by_role("dialog")

    def sees(self, words: str | re.Pattern[str], *, within: float = WAIT_MS / 1000) -> None:
        """Wait until these words stand in the page's body."""
        expect(self.main.get_by_text(words).filter(visible=True).first).to_be_visible(timeout=within * 1000)

    def sees_title(self, title: str, *, within: float = WAIT_MS / 1000) -> None:
        """Wait for a page by its heading."""
        expect(self.main.get_by_role("heading", name=title, level=1)).to_be_visible(timeout=within * 1000)

    def sees_status(self, word: str, *, within: float = WAIT_MS / 1000) -> None:
        """Wait until the badge beside the title says this."""
        badge = self.key("header").locator(".stMarkdownBadge").filter(has_text=word)
        expect(badge).to_be_visible(timeout=within * 1000)

    def fill(self, key: str, value: str | int) -> None:
        """Type into an input and leave it."""
        box = self.key(key).locator("input")
        box.fill(str(value))
        box.press("Tab")

    def choose(self, key: str, option: str) -> None:
        """Choose in a select box by typing and Enter, as people do in long lists."""
        box = self.key(key).locator("input")
        box.click()
        box.fill(option)
        self.page.get_by_role("option").filter(has_text=option).first.click()

    def upload(self, file: Path) -> None:
        """Give the streamed uploader a file."""
        self.key("upload").locator("input[type=file]").set_input_files(file)

    def download(self, key: str, to: Path) -> Path:
        """Click a download link and keep the file under the name it offers."""
        with self.page.expect_download(timeout=WAIT_MS) as started:
            self.key(key).locator("a").click()
        target = to / started.value.suggested_filename
        started.value.save_as(target)
        return target

    def step_shown(self) -> int:
        """Return the step that the progress bar of the job page tells, 0 if it tells none."""
        found = re.search(r"Step ([\d,]+) of", self.main.inner_text())
        return int(found[1].replace(",", "")) if found else 0

    def answer_of(self, path: str) -> int:
        """Return the status of the app's answer to this browser's own request for a path."""
        return int(self.page.evaluate("async path => (await fetch(path)).status", path))

    # Afterwards

    def foreign_requests(self) -> list[str]:
        """Return every address asked for that is not the studio's own."""
        own = urlsplit(self.url).netloc
        asked = [urlsplit(url) for url in self.requests]
        return [part.geturl() for part in asked if part.scheme not in ("data", "blob") and part.netloc != own]

    def assert_calm(self) -> None:
        """Check that nothing broke, no traceback is shown, and nothing was fetched from elsewhere."""
        assert not self.page_errors, self.page_errors
        foreign = self.foreign_requests()
        assert not foreign, foreign
        if self.page.is_closed() or not self.page.url.startswith(self.url):
            return
        expect(self.page.get_by_test_id("stException")).to_have_count(0)
        words = self.page.locator("body").inner_text()
        shown = [calamity for calamity in CALAMITY if calamity in words]
        assert not shown, shown
