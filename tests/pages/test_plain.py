"""People's own words in Markdown are text: no link, no picture, no formula."""

import re

import pytest

from pages.widgets.plain import WORD_JOINER, plain

AUTOLINKS = (r"(https?://|www(?=\.))([-.\w]+)([^ \t\r\n]*)", r"([-.\w+]+)@([-\w]+(?:\.[-\w]+)+)")
"""What becomes a link in text that is parsed already. Source: mdast-util-gfm-autolink-literal, which Streamlit uses."""


@pytest.mark.parametrize(
    "name",
    [
        "https://evil.test/a",
        "see HTTP://evil.test",
        "www.evil.test",
        "WWW.evil.test",
        "ben@studio.test",
        "mailto:ben@studio.test",
    ],
)
def test_an_address_in_a_name_is_no_link(name: str) -> None:
    drawn = plain(name).replace("\\", "")
    assert not [pattern for pattern in AUTOLINKS if re.search(pattern, drawn, re.IGNORECASE | re.ASCII)]
    assert drawn.replace(WORD_JOINER, "") == name


def test_a_name_without_an_address_gets_nothing_in_between() -> None:
    assert WORD_JOINER not in plain("my job: 3 / 4 at www")
