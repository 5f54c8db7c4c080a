"""The filters of the language: ``value | NAME(arguments)``. A closed list of pure, bounded functions.

They follow Jinja2's where that fits JSON, and differ on purpose: ``sort``, ``unique``, ``min`` and ``max``
tell capital from small letters; ``int`` and ``float`` refuse a text that is no number instead of answering 0;
``attribute`` names an item of the data, never an attribute; objects are read in the order of their sorted
keys. ``default`` is answered by the compiler, since its operand may be missing.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from archon_workflows.expressions.errors import ExpressionTypeError, Missing
from archon_workflows.expressions.json_text import parse_json
from archon_workflows.expressions.lookups import item, missing_item
from archon_workflows.expressions.operators import add
from archon_workflows.expressions.references import Key
from archon_workflows.expressions.values import (
    Evaluation,
    JsonValue,
    as_json,
    as_text,
    identity,
    is_list,
    is_number,
    is_object,
    is_plain_list,
    kind,
    number,
    plain,
)

DEFAULT_FILTERS = frozenset({"default", "d"})

_NUMBER = re.compile(r"\s*[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\s*", re.ASCII)
_LONGEST_NUMBER = 80
_MOST_DECIMALS = 15
_WORD_START = re.compile(r"([-\s({\[<]+)")
_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter.

    Attributes:
        apply: called with the evaluation, the value and the arguments by name.
        parameters: the names of its arguments in order.
        required: how many of them must be given.
        literal: which of them must be a text written in the expression, and given by name (Jinja2 means
            another thing by ``map('upper')``).
    """

    apply: Callable[..., JsonValue]
    parameters: tuple[str, ...] = ()
    required: int = 0
    literal: frozenset[str] = frozenset()


def _text(value: Any, what: str = "The filter") -> str:
    if type(value) is str:
        return value
    raise ExpressionTypeError(f"{what} needs a text, but this is {kind(value)}.")


def _list(evaluation: Evaluation, value: Any) -> list[JsonValue]:
    value = plain(evaluation, value)
    if not is_plain_list(value):
        raise ExpressionTypeError(
            f"The filter needs a list, but this is {kind(value)}.",
            suggestion="Use `split` on a text, and `keys`, `values` or `items` on an object.",
        )
    evaluation.spend(len(value))
    return value


def _object(value: Any) -> Mapping[str, Any]:
    if not is_object(value):
        raise ExpressionTypeError(f"The filter needs an object, but this is {kind(value)}.")
    return value


def _integer(value: Any, what: str) -> int:
    if type(value) is int:
        return value
    raise ExpressionTypeError(f"{what} is an integer, but this is {kind(value)}.")


def _length(_evaluation: Evaluation, value: Any) -> int:
    if type(value) is str or is_object(value) or is_list(value):
        return len(value)
    raise ExpressionTypeError(f"Only a text, a list or an object has a length, not {kind(value)}.")


def _of_text(change: Callable[[str], str]) -> Filter:
    def apply(evaluation: Evaluation, value: Any) -> str:
        text = _text(value)
        evaluation.spend_text(len(text))
        changed = change(text)
        evaluation.allow_text(len(changed))
        return changed

    return Filter(apply)


def _title(evaluation: Evaluation, value: Any) -> str:
    text = _text(value)
    # Each word is a call, unlike in the other changes of a text.
    evaluation.spend(1 + len(text) // 2)
    return "".join(part[:1].upper() + part[1:].lower() for part in _WORD_START.split(text))


def _replace(evaluation: Evaluation, value: Any, old: Any, new: Any, count: Any = None) -> str:
    text, old, new = _text(value), _text(old, "`old`"), _text(new, "`new`")
    if not old:
        raise ExpressionTypeError("An empty text cannot be replaced.")
    evaluation.spend_text(len(text))
    found = text.count(old)
    times = found if count is None else min(found, max(0, _integer(count, "`count`")))
    evaluation.allow_text(len(text) + times * (len(new) - len(old)))
    return text.replace(old, new, times)


def _split(evaluation: Evaluation, value: Any, separator: Any = None) -> list[str]:
    text = _text(value)
    evaluation.spend_text(len(text))
    if separator is None:
        words = text.split(None, evaluation.work_left)
        evaluation.spend(len(words))
        return words
    if not _text(separator, "The separator"):
        raise ExpressionTypeError("An empty text does not separate anything.")
    evaluation.spend(text.count(separator))
    return text.split(separator)


def _join(evaluation: Evaluation, value: Any, separator: Any = "") -> str:
    values = _list(evaluation, value)
    separator = _text(separator, "The separator")
    evaluation.allow_text(max(0, len(values) - 1) * len(separator))
    texts = [as_text(evaluation, one) for one in values]
    evaluation.allow_text(sum(map(len, texts)) + max(0, len(texts) - 1) * len(separator))
    return separator.join(texts)


def _first(evaluation: Evaluation, value: Any) -> JsonValue:
    return _not_empty(_list(evaluation, value), "first")[0]


def _last(evaluation: Evaluation, value: Any) -> JsonValue:
    return _not_empty(_list(evaluation, value), "last")[-1]


def _not_empty(values: list[JsonValue], name: str) -> list[JsonValue]:
    if not values:
        raise Missing(f"| {name}", "the list is empty")
    return values


def _least(evaluation: Evaluation, value: Any) -> JsonValue:
    return min(_ordered(evaluation, _not_empty(_list(evaluation, value), "min")))


def _greatest(evaluation: Evaluation, value: Any) -> JsonValue:
    return max(_ordered(evaluation, _not_empty(_list(evaluation, value), "max")))


def _sort(
    evaluation: Evaluation, value: Any, reverse: JsonValue = None, attribute: str | None = None
) -> list[JsonValue]:
    if not (reverse is None or type(reverse) is bool):
        raise ExpressionTypeError(f"`reverse` is a boolean, but this is {kind(reverse)}.")
    values = _list(evaluation, value)
    evaluation.spend(len(values))
    keys = _ordered(evaluation, [_at_path(evaluation, one, attribute) for one in values])
    return [
        values[index] for index in sorted(range(len(values)), key=keys.__getitem__, reverse=reverse is True)
    ]


def _ordered(evaluation: Evaluation, values: list[JsonValue]) -> list[JsonValue]:
    """Return the values if any two of them have an order, and take the work of comparing them."""
    kinds = {kind(value) for value in values}
    if kinds == {"a text"}:
        # Sorting compares each text about log2(n) times, and stops at the first difference.
        evaluation.spend_text(sum(map(len, values)) * len(values).bit_length() // 8)
    elif kinds and kinds != {"a number"}:
        raise ExpressionTypeError(
            f"Only numbers or only texts have an order; the list has {', '.join(sorted(kinds))}."
        )
    return values


def _map(evaluation: Evaluation, value: Any, attribute: str, default: JsonValue = _ABSENT) -> list[JsonValue]:
    return [_at_path(evaluation, one, attribute, default=default) for one in _list(evaluation, value)]


def _at_path(
    evaluation: Evaluation, value: Any, path: str | None, *, default: JsonValue = _ABSENT
) -> JsonValue:
    """Look up ``a.b.0`` in a value."""
    if path is None:
        return plain(evaluation, value)
    for key in _keys_of(path):
        evaluation.spend(1)
        try:
            value = item(value, key)
        except (KeyError, IndexError):
            if default is not _ABSENT:
                return default
            missing = missing_item(value, key, f"attribute={path!r}", is_written=True)
            missing.holder = None
            raise missing from None
    return plain(evaluation, value)


def _keys_of(path: str) -> Iterator[Key]:
    for part in path.split("."):
        yield int(part) if part.isascii() and part.isdigit() else part


def _unique(evaluation: Evaluation, value: Any) -> list[JsonValue]:
    return list({identity(evaluation, one): one for one in reversed(_list(evaluation, value))}.values())[::-1]


def _reverse(evaluation: Evaluation, value: Any) -> JsonValue:
    if type(value) is str:
        evaluation.allow_text(len(value))
        return value[::-1]
    return _list(evaluation, value)[::-1]


def _sum(evaluation: Evaluation, value: Any) -> JsonValue:
    total: JsonValue = 0
    for one in _list(evaluation, value):
        if not is_number(one):
            raise ExpressionTypeError(f"Only numbers have a sum, but the list has {kind(one)}.")
        total = add(evaluation, total, one)
    return total


def _round(_evaluation: Evaluation, value: Any, precision: Any = 0, method: Any = "common") -> JsonValue:
    precision = _integer(precision, "The precision")
    if not 0 <= precision <= _MOST_DECIMALS:
        raise ExpressionTypeError(f"The precision is a number of decimals from 0 to {_MOST_DECIMALS}.")
    value = _number(value)
    if method == "common":
        return number(round(value, precision))
    if method not in ("ceil", "floor"):
        raise ExpressionTypeError("The method of `round` is 'common', 'ceil' or 'floor'.")
    scaled = number(value * 10**precision)
    return number((math.ceil(scaled) if method == "ceil" else math.floor(scaled)) / 10**precision)


def _number(value: Any) -> float:
    if is_number(value):
        return value
    raise ExpressionTypeError(f"The filter needs a number, but this is {kind(value)}.")


def _abs(_evaluation: Evaluation, value: Any) -> JsonValue:
    return number(abs(_number(value)))


def _to_int(_evaluation: Evaluation, value: Any, default: JsonValue = _ABSENT) -> JsonValue:
    try:
        if type(value) is bool or type(value) is int:
            return int(value)
        if type(value) is str and len(value) <= _LONGEST_NUMBER and _NUMBER.fullmatch(value):
            return number(int(value) if value.strip().lstrip("+-").isdigit() else int(float(value)))
        if type(value) is float:
            return number(int(value))
    except OverflowError:
        pass
    return _unless_absent(default, value, "an integer")


def _to_float(_evaluation: Evaluation, value: Any, default: JsonValue = _ABSENT) -> JsonValue:
    if type(value) is bool or is_number(value):
        return float(value)
    if type(value) is str and len(value) <= _LONGEST_NUMBER and _NUMBER.fullmatch(value):
        return number(float(value))
    return _unless_absent(default, value, "a number")


def _unless_absent(default: JsonValue, value: Any, what: str) -> JsonValue:
    if default is _ABSENT:
        size = f" of {len(value)} characters" if type(value) is str else ""
        raise ExpressionTypeError(
            f"{kind(value).capitalize()}{size} cannot be read as {what}.",
            suggestion="Give a value for that case: `| int(0)`, `| float(0.0)`.",
        )
    return default


def _to_list(evaluation: Evaluation, value: Any) -> list[JsonValue]:
    return sorted(_object(value)) if is_object(value) else _list(evaluation, value)


def _keys(evaluation: Evaluation, value: Any) -> list[str]:
    evaluation.spend(len(_object(value)))
    return sorted(value)


def _values(evaluation: Evaluation, value: Any) -> list[JsonValue]:
    return [pair[1] for pair in _items(evaluation, value)]


def _items(evaluation: Evaluation, value: Any) -> list[list[JsonValue]]:
    keys = _keys(evaluation, value)
    evaluation.spend(len(keys))
    return [[key, plain(evaluation, value[key])] for key in keys]


_BY_MEANING: dict[tuple[str, ...], Filter] = {
    ("length", "count"): Filter(_length),
    ("upper",): _of_text(str.upper),
    ("lower",): _of_text(str.lower),
    ("trim",): _of_text(str.strip),
    ("title",): Filter(_title),
    ("capitalize",): _of_text(str.capitalize),
    ("replace",): Filter(_replace, ("old", "new", "count"), 2),
    ("split",): Filter(_split, ("separator",)),
    ("join",): Filter(_join, ("separator",)),
    ("string",): Filter(as_text),
    ("tojson",): Filter(as_json),
    ("fromjson",): Filter(parse_json),
    ("int",): Filter(_to_int, ("default",)),
    ("float",): Filter(_to_float, ("default",)),
    ("round",): Filter(_round, ("precision", "method")),
    ("abs",): Filter(_abs),
    ("sum",): Filter(_sum),
    ("min",): Filter(_least),
    ("max",): Filter(_greatest),
    ("first",): Filter(_first),
    ("last",): Filter(_last),
    ("sort",): Filter(_sort, ("reverse", "attribute"), literal=frozenset({"attribute"})),
    ("unique",): Filter(_unique),
    ("reverse",): Filter(_reverse),
    ("list",): Filter(_to_list),
    ("map",): Filter(_map, ("attribute", "default"), 1, literal=frozenset({"attribute"})),
    ("keys",): Filter(_keys),
    ("values",): Filter(_values),
    ("items",): Filter(_items),
}

FILTERS = {name: entry for names, entry in _BY_MEANING.items() for name in names}
"""Filters by name, without those for missing values."""
