"""People's own words inside Markdown: escaped, so that a name cannot become a link, a picture or a formula."""

import re

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~$:@&^=])")


def plain(text: str) -> str:
    r"""Escape text from outside (names, messages, file contents) for use in any Streamlit label or Markdown.

    >>> plain("a [link](x) :red[b] $y$")
    'a \\[link\\]\\(x\\) \\:red\\[b\\] \\$y\\$'
    """
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
