"""What numbers and quoted texts in an expression mean. Raises ``ValueError`` with a sentence."""

import re
import sys

from archon_workflows.expressions.values import LARGEST_INTEGER, unstorable

_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_PLAIN_ESCAPES = {
    "\\": "\\",
    "'": "'",
    '"': '"',
    "\n": "",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}
_DIRECTION_MARK = re.compile("[\u202a-\u202e\u2066-\u2069]")

_LONGEST_NUMBER = 80


def read_number(literal: str, *, is_integer: bool) -> float:
    """Return the number, which may be written in any way that Jinja2 knows (``1_000``, ``0xff``, ``1e3``)."""
    digits = literal.replace("_", "")
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"A number of {len(digits)} digits is too long.")
    value = int(digits, 0) if is_integer else float(digits)
    if value > (LARGEST_INTEGER if is_integer else sys.float_info.max):
        raise ValueError("The number is too large: integers fit 64 bits, others are finite.")
    return value


def read_text(quoted: str) -> str:
    """Return the text between the quotes, with its escapes read; pairs of surrogates make one character."""
    if _DIRECTION_MARK.search(quoted):
        raise ValueError(
            "The text has an invisible mark that changes the direction of writing; write it as an escape, "
            "such as \\u202e, if it is meant."
        )
    text = _join_surrogates(_ESCAPE.sub(_unescape, quoted[1:-1]))
    fault = unstorable(text)
    if fault is not None:
        raise ValueError(f"The text has {fault}.")
    return text


def _unescape(match: re.Match[str]) -> str:
    escape = match.group(1)
    if escape in _PLAIN_ESCAPES:
        return _PLAIN_ESCAPES[escape]
    if len(escape) > 1:
        return chr(int(escape[1:], 16))
    if escape in "01234567xuUN":
        raise ValueError(f"`\\{escape}` is not the start of a whole escape.")
    return match.group()


def _join_surrogates(text: str) -> str:
    """Make one character of each escaped pair, as JSON does; lone ones stay."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
