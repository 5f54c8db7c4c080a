"""Mends one JSON value on its way in: walks it with the pointer at hand, replaces, lists or raises.

The door is ``archon_workflows.model.json_values``, which comes here only with values that are not clean.
"""

import json
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal, cast

from archon_workflows.errors import WorkflowError
from archon_workflows.model.outcomes import JsonValue

Policy = Literal["refuse", "replace"]

SMALLEST_INTEGER: Final = -(2**63)
LARGEST_INTEGER: Final = 2**63 - 1
REPR_TURNS_EXPONENTIAL: Final = 1e16
"""From here on a float is written with an exponent, which jsonb writes out as a whole number."""

_SHOWN_CHARACTERS = 80
_LISTED_CHANGES = 100
_LONGEST_DECIMAL_BITS = 4_096


@dataclass(frozen=True, slots=True)
class JsonBounds:
    """How large a value may be.

    Attributes:
        depth: nesting of objects and lists.
        nodes: values in all, containers included.
        key_characters: length of one key.
        text_characters: all texts and keys together, and the length of a JSON text that is parsed.
    """

    depth: int = 64
    nodes: int = 100_000
    key_characters: int = 1_024
    text_characters: int = 16 * 1_048_576


BOUNDS: Final = JsonBounds()


class InvalidJson(WorkflowError):
    """A value that cannot be taken: ``invalid_json``, or ``invalid_result`` when a tool sent it."""

    default_code = "invalid_json"


@dataclass(frozen=True, slots=True)
class Change:
    """One place where a tool's value was replaced: JSON pointer into the new value, and what was done."""

    path: str
    what: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Left by the decoder where a value cannot be taken, so that the walk finds its pointer."""

    reason: str


def pointer_token(key: str | int) -> str:
    """Return one reference token of a JSON pointer, with its leading slash."""
    return "/" + str(key).replace("~", "~0").replace("/", "~1")


def shown(value: Any) -> str:
    """Return the value as JSON for a message, cut to a readable length."""
    if isinstance(value, (str, bytes)):
        value = value[: _SHOWN_CHARACTERS + 1]
    try:
        text = json.dumps(value, ensure_ascii=True, default=repr)
    except (ValueError, RecursionError):
        text = f"a deeply nested {type(value).__name__}"
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


@dataclass(slots=True)
class Mender:
    """Walks a value that is not clean, with the pointer at hand: copies, replaces, lists or raises."""

    policy: Policy | Literal["parse"]
    bounds: JsonBounds
    changes: list[Change] = field(default_factory=list[Change])
    change_count: int = 0
    nodes: int = 0
    characters: int = 0

    def listed_changes(self) -> tuple[Change, ...]:
        """Return what was replaced: the first hundred places, then a count."""
        unlisted = self.change_count - len(self.changes)
        if unlisted:
            return (*self.changes, Change("", f"{unlisted} more replaced"))
        return tuple(self.changes)

    def mend(self, value: Any, path: str, depth: int) -> JsonValue:
        """Return the value that can be stored.

        Raises:
            InvalidJson: there is none under this policy.
        """
        self._count(path)
        if isinstance(value, Refused):
            raise self._refusal(path, f"{value.reason[0].upper()}{value.reason[1:]}.")
        kind = cast("type[Any]", type(value))
        if kind is str:
            return self._text(value, path)
        if kind is int:
            return self._integer(value, path)
        if kind is float:
            return self._float(value, path)
        if kind is dict or kind is list:
            if depth >= self.bounds.depth:
                raise self._refusal(path, f"The value is nested deeper than {self.bounds.depth} levels.")
            return self._object(value, path, depth) if kind is dict else self._list(value, path, depth)
        if value is None or kind is bool:
            return value
        raise self._refusal(path, f"A {kind.__name__} is no JSON value: {shown(value)}.")

    def _object(self, value: dict[Any, Any], path: str, depth: int) -> dict[str, JsonValue]:
        mended: dict[str, JsonValue] = {}
        for key, child in value.items():
            name = self._key(key, path)
            if name in mended:
                raise self._refusal(
                    path, f"Two keys become {shown(name)} when what cannot be stored is replaced."
                )
            mended[name] = self.mend(child, path + pointer_token(name), depth + 1)
        return mended

    def _list(self, value: list[Any], path: str, depth: int) -> list[JsonValue]:
        return [self.mend(child, f"{path}/{index}", depth + 1) for index, child in enumerate(value)]

    def _key(self, key: Any, path: str) -> str:
        if type(key) is not str:
            raise self._refusal(path, f"A key must be text, not {shown(key)}.")
        limit = self.bounds.key_characters
        if len(key) > limit:
            raise self._refusal(
                path, f"The key {shown(key)} has {len(key):,} characters; the limit is {limit:,}."
            )
        return self._text(key, path)

    def _text(self, text: str, path: str) -> str:
        self.characters += len(text)
        if self.characters > self.bounds.text_characters:
            raise self._refusal(path, f"The texts exceed {self.bounds.text_characters:,} characters in all.")
        if self.policy == "parse" or is_plain(text):
            return text
        if self.policy == "refuse":
            raise self._refusal(path, f"The text {shown(text)} holds a NUL character or a lone surrogate.")
        self._note(path, "NUL or lone surrogate replaced by U+FFFD")
        return "".join("\ufffd" if one == "\0" or "\ud800" <= one <= "\udfff" else one for one in text)

    def _integer(self, number: int, path: str) -> int | str:
        if SMALLEST_INTEGER <= number <= LARGEST_INTEGER:
            return number
        written = hex(number) if number.bit_length() > _LONGEST_DECIMAL_BITS else str(number)
        if self.policy == "replace":
            self._note(path, "integer beyond 64 bits kept as text")
            return written
        raise self._refusal(path, f"The integer {cut_short(written)} does not fit 64 bits.")

    def _float(self, number: float, path: str) -> float | int | str:
        if math.isfinite(number):
            return as_jsonb_gives_back(number)
        if self.policy == "replace":
            self._note(path, "non-finite number kept as text")
            return str(number)
        raise self._refusal(path, f"{number} is no JSON number.")

    def _count(self, path: str) -> None:
        self.nodes += 1
        if self.nodes > self.bounds.nodes:
            raise self._refusal(path, f"The value holds more than {self.bounds.nodes:,} values in all.")

    def _note(self, path: str, what: str) -> None:
        self.change_count += 1
        if len(self.changes) < _LISTED_CHANGES:
            self.changes.append(Change(path, what))

    def _refusal(self, path: str, message: str) -> InvalidJson:
        code = "invalid_result" if self.policy == "replace" else None
        return InvalidJson(message, path=path, code=code)


def as_jsonb_gives_back(number: float) -> float | int:
    """Return the number as it comes back out of a jsonb column."""
    if number == 0:
        return 0.0
    if number.is_integer() and abs(number) >= REPR_TURNS_EXPONENTIAL:
        whole = int(Decimal(repr(number)))
        return whole if SMALLEST_INTEGER <= whole <= LARGEST_INTEGER else number
    return number


def is_plain(text: str) -> bool:
    """Say whether the text holds neither NUL nor a lone surrogate."""
    if text.isascii():
        return "\0" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def cut_short(text: str) -> str:
    """Return the text, cut to what a message can show of a number."""
    return text if len(text) <= 30 else f"{text[:30]}... ({len(text)} characters)"  # noqa: PLR2004 - readable
