"""The normaliser: the one gate for JSON values from outside (templates, parameters, tool results).

What has passed it can be stored in jsonb, read back equal, hashed and walked without surprise. It knows
nothing of what the values mean; shapes and schemas are looked at elsewhere.
"""

import json
import math
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final, cast

from pydantic_core import to_json

from archon_workflows.model.json_mending import (
    BOUNDS,
    LARGEST_INTEGER,
    REPR_TURNS_EXPONENTIAL,
    SMALLEST_INTEGER,
    Change,
    InvalidJson,
    JsonBounds,
    Mender,
    Policy,
    Refused,
    as_jsonb_gives_back,
    cut_short,
    is_plain,
    pointer_token,
    shown,
)
from archon_workflows.model.outcomes import JsonValue

__all__ = [
    "BOUNDS",
    "Change",
    "InvalidJson",
    "JsonBounds",
    "Normalised",
    "Policy",
    "canonical_json",
    "is_truncated",
    "normalise",
    "parse_json",
    "pointer_token",
    "read_stored_json",
    "sha256_of",
    "shown",
    "truncate_oversized",
]

SIZE_LIMIT_BYTES: Final = 1_048_576
"""Values above this size are stored truncated."""

TRUNCATED: Final = "$truncated"
"""The only key of what stands for a truncated value."""

_HEAD_CHARACTERS = 1_000

_LONGEST_REWRITING: Final = 64
"""How much longer a value's canonical JSON can be than another's: ``1e308`` has 309 digits."""

_INTEGER_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Normalised:
    """A value that has passed, and what had to be replaced in it (at most 100 are listed, then counted)."""

    value: JsonValue
    changes: tuple[Change, ...] = ()


def parse_json(text: str | bytes, *, bounds: JsonBounds = BOUNDS) -> JsonValue:
    """Parse JSON text that means one thing only.

    NUL and lone surrogates inside strings are left to ``normalise``, which knows whose value it is.

    Raises:
        InvalidJson: not JSON (a byte order mark, comments and trailing commas included), a key that
            occurs twice in an object, a number that a 64-bit integer or float cannot hold, or a value
            beyond ``bounds``.
    """
    source = _decoded(text, bounds)
    try:
        value = _DECODER.decode(source)
    except json.JSONDecodeError as error:
        raise InvalidJson(
            f"This is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            suggestion="Send one JSON value without comments, trailing commas or a byte order mark.",
        ) from error
    except RecursionError as error:
        raise InvalidJson(f"The value is nested deeper than {bounds.depth} levels.") from error
    if not _is_clean(value, bounds, check_text=False):
        Mender("parse", bounds).mend(value, "", 0)
    return value


def read_stored_json(text: str | bytes) -> JsonValue:
    """Parse what jsonb gives back: an integer beyond 64 bits can only be a float that was written out."""
    return json.loads(text, parse_int=_stored_integer)


def normalise(value: Any, policy: Policy, *, bounds: JsonBounds = BOUNDS) -> Normalised:
    """Take a parsed value in: the same object when nothing is wrong with it, else a mended copy.

    Numbers get the form in which jsonb gives them back (no negative zero; a whole float that is written
    with an exponent and fits 64 bits is an integer); that is no change of the value and is not listed.

    Args:
        value: what a parser or a tool's client made of JSON.
        policy: ``refuse`` (templates, parameters) or ``replace`` (tool results): NUL and lone surrogates
            become U+FFFD, non-finite numbers and integers beyond 64 bits become text, and each is listed.
        bounds: beyond them nothing is replaced.

    Raises:
        InvalidJson: with the JSON pointer and the value. Code ``invalid_json``; under ``replace`` only
            for what cannot be replaced (bounds, no JSON at all, keys that become equal): ``invalid_result``.
    """
    if _is_clean(value, bounds, check_text=True):
        return Normalised(value)
    mender = Mender(policy, bounds)
    mended = mender.mend(value, "", 0)
    return Normalised(mended, mender.listed_changes())


def canonical_json(value: JsonValue) -> str:
    """Return the one text for a value: keys sorted, no white space, numbers that are equal written alike."""
    return json.dumps(
        _with_canonical_numbers(value),
        ensure_ascii=False,
        allow_nan=False,
        sort_keys=True,
        separators=(",", ":"),
    )


def sha256_of(value: JsonValue) -> str:
    """Return the SHA-256 of the canonical JSON in hexadecimal; values that jsonb calls equal share it."""
    return sha256(canonical_json(value).encode()).hexdigest()


def truncate_oversized(value: JsonValue, limit_bytes: int = SIZE_LIMIT_BYTES) -> tuple[JsonValue, bool]:
    """Return the value and ``False``, or what stands for it when its canonical JSON exceeds the limit.

    The stand-in is ``{"$truncated": {"size": bytes, "sha256": hex, "head": first 1,000 characters}}``.
    """
    if len(to_json(value)) * _LONGEST_REWRITING <= limit_bytes:
        return value, False
    text = canonical_json(value)
    encoded = text.encode()
    if len(encoded) <= limit_bytes:
        return value, False
    facts = {"size": len(encoded), "sha256": sha256(encoded).hexdigest(), "head": text[:_HEAD_CHARACTERS]}
    return {TRUNCATED: facts}, True


def is_truncated(value: JsonValue) -> bool:
    """Say whether the value is what ``truncate_oversized`` left of a larger one."""
    return isinstance(value, dict) and value.keys() == {TRUNCATED}


def _decoded(text: str | bytes, bounds: JsonBounds) -> str:
    if len(text) > bounds.text_characters:
        raise InvalidJson(
            f"The JSON text is {len(text):,} characters long; the limit is {bounds.text_characters:,}."
        )
    if isinstance(text, str):
        return text
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise InvalidJson(f"The JSON text is not UTF-8: {error.reason} at byte {error.start}.") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Refused:
    taken = dict(pairs)
    if len(taken) == len(pairs):
        return taken
    seen: set[str] = set()
    twice = next(key for key, _ in pairs if key in seen or seen.add(key))
    return Refused(f"the key {shown(twice)} occurs twice in this object")


def _integer(text: str) -> int | Refused:
    if len(text) <= _INTEGER_DIGITS and SMALLEST_INTEGER <= (number := int(text)) <= LARGEST_INTEGER:
        return number
    return Refused(f"the integer {cut_short(text)} does not fit 64 bits")


def _float(text: str) -> float | int | Refused:
    number = float(text)
    if math.isinf(number):
        return Refused(f"the number {cut_short(text)} is too large for a 64-bit float")
    if number == 0 and any(digit in "123456789" for digit in text.lower().partition("e")[0]):
        return Refused(f"the number {cut_short(text)} is too small for a 64-bit float")
    return as_jsonb_gives_back(number)


def _constant(text: str) -> Refused:
    return Refused(f"{text} is no JSON number")


def _stored_integer(text: str) -> int | float:
    if len(text) <= _INTEGER_DIGITS and SMALLEST_INTEGER <= (number := int(text)) <= LARGEST_INTEGER:
        return number
    return float(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


def _is_clean(value: Any, bounds: JsonBounds, *, check_text: bool) -> bool:  # noqa: C901, PLR0911, PLR0912 - the hot loop
    """Say in one pass, level by level, whether ``value`` can be taken as it is."""
    nodes, characters, depth = 1, 0, 0
    level: list[Any] = [value]
    while level:
        deeper: list[Any] = []
        for item in level:
            kind = type(item)  # pyright: ignore[reportUnknownVariableType] - values from outside
            if kind is str:
                characters += len(item)
                if check_text and not is_plain(item):
                    return False
            elif kind is int:
                if not SMALLEST_INTEGER <= item <= LARGEST_INTEGER:
                    return False
            elif kind is float:
                if not _is_settled(item):
                    return False
            elif kind is dict:
                nodes += len(item)
                if depth >= bounds.depth or nodes > bounds.nodes:
                    return False
                for key in item:
                    if type(key) is not str or len(key) > bounds.key_characters:
                        return False
                    characters += len(key)
                    if check_text and not is_plain(key):
                        return False
                deeper.extend(item.values())
            elif kind is list:
                nodes += len(item)
                if depth >= bounds.depth or nodes > bounds.nodes:
                    return False
                deeper.extend(item)
            elif item is not None and kind is not bool:
                return False
        level = deeper
        depth += 1
    return characters <= bounds.text_characters


def _is_settled(number: float) -> bool:
    if number == 0:
        return math.copysign(1.0, number) > 0
    return abs(number) < REPR_TURNS_EXPONENTIAL or (
        math.isfinite(number) and not SMALLEST_INTEGER <= number <= LARGEST_INTEGER
    )


def _with_canonical_numbers(value: JsonValue) -> JsonValue:
    if isinstance(value, float):
        return int(Decimal(repr(value))) if value.is_integer() else value
    if isinstance(value, dict):
        members = cast("dict[str, JsonValue]", value)
        return {key: _with_canonical_numbers(child) for key, child in members.items()}
    if isinstance(value, list):
        return [_with_canonical_numbers(child) for child in cast("list[JsonValue]", value)]
    return value
