"""Data made safe for a terminal: what could steer it is shown as an escape instead of sent.

Names, messages and results come from tools and other people; an ANSI sequence among them could clear the
screen, forge a line or change the window's title.
"""

import json
import unicodedata
from typing import Any

from pydantic_core import to_jsonable_python

_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of control characters, invisible formats (bidirectional overrides), surrogates."""


def printable(text: str, *, lines: bool = False) -> str:
    """Return the text with every steering character written as its escape.

    Args:
        text: anything that did not come from this program.
        lines: keep line feeds; without it the result is one line.
    """
    if text.isprintable():
        return text
    return "".join(
        character if _is_harmless(character) or (lines and character == "\n") else _escaped(character)
        for character in text
    )


def as_json(value: Any) -> Any:
    """Return records, ids and times as JSON values: objects by field name, times in ISO 8601."""
    return to_jsonable_python(value)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return the value as JSON that is plain ASCII, so that it steers no terminal and needs no encoding."""
    text = json.dumps(as_json(value), ensure_ascii=True, indent=indent, allow_nan=False)
    return text.replace("\x7f", "\\u007f")


def one_line_json(value: Any, *, limit: int = 200) -> str:
    """Return the value as readable JSON on one line, cut after ``limit`` characters."""
    text = printable(json.dumps(as_json(value), ensure_ascii=False))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def readable_json(value: Any) -> str:
    """Return the value as indented JSON for people."""
    return printable(json.dumps(as_json(value), ensure_ascii=False, indent=2), lines=True)


def _is_harmless(character: str) -> bool:
    return unicodedata.category(character) not in _STEERING


def _escaped(character: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    if short is not None:
        return short
    code = ord(character)
    if code <= 0xFF:  # noqa: PLR2004 - the widths of Python's own escapes
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - likewise
