"""Chat rows of English words from fixed seeds: a large file to check, and 256 rows of spread length to train on."""

import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TEXT = """
the of and to in is that for it as was with be by on not he his but at are this have from or had
an they which one you were all her she there would their we him been has when who will no more
if out so said what up its about than into them can only other time new some could these two may
first then do any like my now over such our man me even most made after also did many off before
must well back through years much where your way down should because long each just state people
those too how little good world make very year still see own work men day get here old life both
between being under three never know same last another while us might great go come since
against right came take used himself few house american use place during high without again home
around small however found part school thought went say general once upon war left every does
got united number hand course water until always away public something fact less though far put
head think called set almost enough end took government night yet system better four nothing
told eyes city going president why days present point look find asked second group later next
room social business knew program give half side face toward white five let young form given per
order large several national important rather big open interest children possible light door
turn line word power field table model train data loss token batch adapter memory
"""
WORDS = TEXT.split()

SPREAD_ROWS = 256


def write_chat_file(file: Path, size_bytes: int, seed: int = 1) -> int:
    """Write chats of one to three turns until the file has about this size (about 890 bytes a row).

    Returns:
        Rows.
    """
    draw, rows, written = random.Random(seed), 0, 0
    with file.open("w", encoding="utf-8") as stream:
        while written < size_bytes:
            messages = [_message("system", "You are a helpful assistant.")] if draw.random() < 0.3 else []
            for _ in range(draw.choice((1, 1, 2, 3))):
                messages.append(_message("user", " ".join(draw.choices(WORDS, k=draw.randint(5, 42)))))
                messages.append(_message("assistant", " ".join(draw.choices(WORDS, k=draw.randint(10, 106)))))
            written += stream.write(json.dumps({"messages": messages}) + "\n")
            rows += 1
    return rows


def spread_rows(
    count_tokens: Callable[[list[dict[str, str]]], int], seed: int = 1234
) -> Iterator[dict[str, Any]]:
    """Yield rows whose lengths are log-normal (median about 150 tokens), 40 to 500 tokens each.

    Args:
        count_tokens: Tokens of a conversation with the model's template.
    """
    draw, made = random.Random(seed), 0
    while made < SPREAD_ROWS:
        length = int(math.exp(draw.gauss(math.log(150), 0.75)))
        if not 45 <= length <= 490:
            continue
        length -= 34 if length > 80 else 20
        asked = max(4, int(length * draw.uniform(0.2, 0.5)))
        messages = [
            _message("user", _text(draw, asked)),
            _message("assistant", _text(draw, max(4, length - asked))),
        ]
        if 40 <= count_tokens(messages) <= 500:
            made += 1
            yield {"messages": messages}


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choice(WORDS) + ("." if number % 11 == 10 else "") for number in range(words))
