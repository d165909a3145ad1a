"""Signs of a broken encoding in text that can be read: replacement characters, control characters, mojibake."""

import re

import numpy as np

_ODD = re.compile(
    "(?P<replacement>\ufffd)"
    "|(?P<control>[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f])"
    "|(?P<mojibake>\u00e2\u20ac[\u0080-\u00bf\u2018-\u2122\u0153\u02dc]"  # quotes and dashes read as cp1252
    "|\u00c3[\u00a0-\u00bf](?=[a-z ])|\u00c2[\u00a0-\u00bf])"  # accented letters, and signs with a stray capital A
)
_SIGN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00c2\u00c3\u00e2\ufffd]")
"""One character of each fault: ten times as fast to look for, and mostly not there."""
_SIGN_ESCAPED = re.compile(rb"\\u(?:00[01789]|00[cC][23]|00[eE]2|[fF]{3}[dD]|[dD][89a-fA-F])")
_C1_CONTROL = re.compile(rb"\xc2[\x80-\x84\x86-\x9f]")
_MESSAGES = {
    "replacement": (
        "replacement_character",
        "has a replacement character (\ufffd): text was lost in a conversion",
    ),
    "control": ("control_character", "has a control character (U+{code:04X})"),
    "mojibake": ("mojibake", "looks like text read in the wrong encoding ({found!r})"),
}


def oddity(text: str) -> tuple[str, str] | None:
    """Find the first sign of a broken encoding.

    Returns:
        Its code and what it is, to be put behind the name of the place; None if there is none.

    Example:
        >>> oddity("It\u00e2\u20ac\u2122s")[0]
        'mojibake'
    """
    match = _ODD.search(text) if _SIGN.search(text) is not None else None
    if match is None or match.lastgroup is None:
        return None
    code, message = _MESSAGES[match.lastgroup]
    found = match.group()
    return code, message.format(code=ord(found[0]), found=found)


def may_be_odd(lines: bytes) -> bool:
    """Whether lines of JSON can hold anything that `oddity` looks for, or half a surrogate pair. Made to be quick.

    Raises:
        UnicodeDecodeError: They are not UTF-8.
    """
    escaped = _has_escape(lines) and _SIGN_ESCAPED.search(lines) is not None
    if lines.isascii():
        return escaped or b"\x7f" in lines
    text = lines.decode("utf-8")
    return (
        escaped
        or any(sign in text for sign in "\x7f\ufffd\u00c2\u00c3")
        or ("\u00e2" in text and "\u00e2\u20ac" in text)
        or (b"\xc2" in lines and _C1_CONTROL.search(lines) is not None)
    )


def _has_escape(lines: bytes) -> bool:
    if b"\\" not in lines:
        return False
    if len(lines) < 4096:
        return b"\\u" in lines
    content = np.frombuffer(lines, dtype=np.uint8)  # five times as fast as searching for two bytes
    after = np.flatnonzero(content[:-1] == ord("\\")) + 1
    return bool((content[after] == ord("u")).any())
