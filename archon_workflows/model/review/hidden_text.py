"""Text that reads differently from what it is: characters that nobody sees, or that turn others around.

Letters of right-to-left scripts, and the joiners that Persian, Indic scripts and emoji need, are text like
any other. What a tool answers is not looked at here.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, cast

from archon_workflows.model.findings import Finding
from archon_workflows.model.json_values import pointer_token, shown
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.rules import finding

_HIDDEN: Final = re.compile(
    "["
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # control characters, escape sequences among them
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2060-\u2064\ufeff\ufff9-\ufffb"  # without width, marks
    "\u2028-\u202e\u2066-\u206f"  # separators, embeddings, overrides, isolates
    "\U000e0000-\U000e0fff"  # tags and further variation selectors: a whole hidden text fits in
    "]"
)
_LABELS: Final = re.compile(r"/(?:title|category|tags/\d+|allowed_tools/\d+)|/.*/(?:tool_name|workflow_name)")


def review_hidden_text(document: JsonValue) -> Iterator[Finding]:
    """Yield the texts of a normalised document that hold such characters, keys included."""
    yield from _walk(document, "")


def _walk(value: JsonValue, path: str) -> Iterator[Finding]:
    if isinstance(value, str):
        if _HIDDEN.search(value):
            yield _in_text(value, path)
    elif isinstance(value, dict):
        for key, inner in cast("Mapping[str, JsonValue]", value).items():
            place = path + pointer_token(key)
            if _HIDDEN.search(key):
                yield _found("hidden_text", key, place)
            yield from _walk(inner, place)
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[JsonValue]", value)):
            yield from _walk(inner, f"{path}/{index}")


def _in_text(text: str, path: str) -> Finding:
    rule = "hidden_characters" if _LABELS.fullmatch(path) else "hidden_text"
    return _found(rule, text, path, patched=_HIDDEN.sub("", text))


def _found(rule: str, text: str, path: str, *, patched: str | None = None) -> Finding:
    which = sorted({f"U+{ord(character):04X}" for character in _HIDDEN.findall(text)})[:8]
    return finding(
        rule,
        path,
        f"{shown(text)} holds characters that nobody sees or that turn others around: {', '.join(which)}.",
        suggestion="Write it without them.",
        patch=({"op": "replace", "path": path, "value": patched},) if patched else None,
    )
