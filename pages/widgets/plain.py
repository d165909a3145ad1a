"""People's own words inside Markdown: escaped, so that a name cannot become a link, a picture or a formula."""

import re

WORD_JOINER = "\N{WORD JOINER}"
"""Takes no room. Streamlit makes links of addresses in the finished text, whatever was escaped; this breaks the pattern."""

_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~$:@&^=])")


def plain(text: str) -> str:
    r"""Escape text from outside (names, messages, file contents) for use in any Streamlit label or Markdown.

    >>> plain("a [link](x) :red[b] $y$")
    'a \\[link\\]\\(x\\) \\:red\\[b\\] \\$y\\$'
    """
    return _SPECIAL.sub(r"\\\1", _ADDRESS.sub(WORD_JOINER, " ".join(text.split())))
