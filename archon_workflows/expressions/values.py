"""JSON values as expressions see them: their types, equality, order and text, with bounded work.

``true`` is not ``1``, objects have no order of keys (whatever depends on one goes by the sorted keys, so
that a value read back from a database gives the same text), and a view becomes plain data only where it is
looked at as a whole.
"""

import json
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard, cast

from archon_workflows.expressions.errors import ExpressionTooCostly, ExpressionTypeError
from archon_workflows.expressions.limits import Limits

JsonValue = Any
"""A JSON value: dict, list, str, int, float, bool or None; treated as immutable everywhere."""

Scope = Mapping[str, object]
"""Root names to values.

A value is a JSON value or a view: any ``Mapping`` or ``Sequence`` that resolves its items when asked. A view
may hold views and JSON values; a plain dict or list holds JSON values only. ``__getitem__`` of a view raises
``KeyError`` (``IndexError``) for what is not there; an ``ExpressionError`` of its own passes through.
"""

SMALLEST_INTEGER = -(2**63)
LARGEST_INTEGER = 2**63 - 1
CHARACTERS_PER_UNIT = 32

_PLAIN_TYPES = frozenset({str, int, float, bool, type(None), dict, list})
_SCALAR_TYPES = frozenset({str, int, float, bool, type(None)})
_KINDS: dict[type, str] = {
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
    dict: "an object",
    list: "a list",
}


class Evaluation:
    """One evaluation under way: the scope it reads and the work it may still do."""

    __slots__ = ("limits", "scope", "work_left")

    def __init__(self, scope: Scope, limits: Limits) -> None:
        self.scope = scope
        self.limits = limits
        self.work_left = limits.work

    def spend(self, units: int) -> None:
        """Take units of work before they are done.

        Raises:
            ExpressionTooCostly: there are not so many left.
        """
        self.work_left -= units
        if self.work_left < 0:
            raise ExpressionTooCostly(
                f"The expression needs more than {self.limits.work} units of work on this data.",
                suggestion="Look at less data at once, or let a tool do this work.",
            )

    def spend_text(self, length: int) -> None:
        """Take the work of looking at this many characters."""
        self.spend(1 + length // CHARACTERS_PER_UNIT)

    def allow_text(self, length: int) -> None:
        """Take the work of making a text of this length.

        Raises:
            ExpressionTooCostly: the text would be too long.
        """
        if length > self.limits.text_length:
            raise ExpressionTooCostly(
                f"The expression makes a text of {length} characters; at most {self.limits.text_length} are "
                "allowed.",
                suggestion="Make a shorter text, or let a tool make it.",
            )
        self.spend_text(length)

    def allow_depth(self, depth: int) -> None:
        """Refuse to go deeper into a value than it may be.

        Raises:
            ExpressionTooCostly: the value is too deep.
        """
        if depth > self.limits.value_depth:
            raise ExpressionTooCostly(f"A value is nested more than {self.limits.value_depth} levels deep.")


class Size(NamedTuple):
    """How large a value is."""

    nodes: int
    length: int


def kind(value: object) -> str:
    """Return the JSON type of a value with its article: ``a text``, ``null``, ..."""
    exact = _KINDS.get(type(value))
    if exact is not None:
        return exact
    if is_object(value):
        return "an object"
    return "a list" if is_list(value) else "not a JSON value"


def is_plain_object(value: object) -> TypeGuard[dict[str, JsonValue]]:
    """Whether the value is an object and no view."""
    return type(value) is dict


def is_plain_list(value: object) -> TypeGuard[list[JsonValue]]:
    """Whether the value is a list and no view."""
    return type(value) is list


def is_number(value: object) -> bool:
    """Whether the value is a JSON number; a boolean is none."""
    return type(value) is int or type(value) is float


def is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether the value is an object or a view of one."""
    return isinstance(value, Mapping)


def is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether the value is a list or a view of one."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def plain(evaluation: Evaluation, value: Any) -> JsonValue:
    """Return the value itself, or what a view shows as a dict or list."""
    return value if type(value) in _PLAIN_TYPES else _copy(evaluation, value, 0)


def _copy(evaluation: Evaluation, value: Any, depth: int) -> JsonValue:
    evaluation.spend(1)
    evaluation.allow_depth(depth)
    if is_object(value):
        return {key: _copy(evaluation, value[key], depth + 1) for key in _texts(value)}
    if is_list(value):
        return [_copy(evaluation, item, depth + 1) for item in value]
    if type(value) not in _SCALAR_TYPES:
        raise ExpressionTypeError(f"A {type(value).__name__} is not a JSON value.")
    return value


def _texts(view: Mapping[Any, Any]) -> Iterable[str]:
    for key in view:
        if type(key) is not str:
            raise ExpressionTypeError("An object has a key that is not a text.")
        yield key


def measure(evaluation: Evaluation, value: JsonValue) -> Size:
    """Return the size of a plain value.

    Raises:
        ExpressionTooCostly: it is larger or deeper than a result may be.
    """
    nodes = length = depth = 0
    level: list[JsonValue] = [value]
    while level:
        evaluation.allow_depth(depth)
        nodes += len(level)
        inner: list[JsonValue] = []
        for item in level:
            if type(item) is str:
                length += len(item)
            elif type(item) is dict:
                members = cast("dict[str, JsonValue]", item)
                length += sum(map(len, members))
                inner.extend(members.values())
            elif type(item) is list:
                inner.extend(cast("list[JsonValue]", item))
            _allow_size(evaluation.limits, nodes + len(inner), length)
        level = inner
        depth += 1
    return Size(nodes, length)


def _allow_size(limits: Limits, nodes: int, length: int) -> None:
    if nodes > limits.result_nodes or length > limits.result_length:
        raise ExpressionTooCostly(
            f"A value has more than {limits.result_nodes} nodes or {limits.result_length} characters.",
            suggestion="Select what is needed instead of the whole.",
        )


def as_text(evaluation: Evaluation, value: Any) -> str:
    """Return a text as it is and anything else as compact JSON with sorted keys; ``null`` for None."""
    if type(value) is str:
        return value
    return as_json(evaluation, value)


def as_json(evaluation: Evaluation, value: Any) -> str:
    """Return compact JSON with sorted keys."""
    value = plain(evaluation, value)
    if is_plain_object(value) or is_plain_list(value):
        size = measure(evaluation, value)
        evaluation.spend(size.nodes)
        evaluation.allow_text(size.length)
    text = _ENCODER.encode(value)
    evaluation.allow_text(len(text))
    return text


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, check_circular=False)


def same(evaluation: Evaluation, left: Any, right: Any, depth: int = 0) -> bool:
    """Whether two values are the same JSON value; numbers by value, booleans never equal numbers."""
    if type(left) is type(right) and type(left) in _SCALAR_TYPES:
        return left == right
    if is_number(left) and is_number(right):
        return left == right
    if type(left) in _SCALAR_TYPES or type(right) in _SCALAR_TYPES:
        return False
    return _same_containers(evaluation, plain(evaluation, left), plain(evaluation, right), depth)


def _same_containers(evaluation: Evaluation, left: JsonValue, right: JsonValue, depth: int) -> bool:
    evaluation.allow_depth(depth)
    if len(left) != len(right):
        return False
    evaluation.spend(1 + len(left))
    if is_plain_list(left) and is_plain_list(right):
        return all(same(evaluation, one, other, depth + 1) for one, other in zip(left, right, strict=True))
    if is_plain_object(left) and is_plain_object(right):
        return all(key in right and same(evaluation, left[key], right[key], depth + 1) for key in left)
    return False


def identity(evaluation: Evaluation, value: Any, depth: int = 0) -> Hashable:
    """Return what is equal for two values exactly when ``same`` says that they are, and can be hashed."""
    if type(value) in _SCALAR_TYPES:
        return (_KINDS[type(value)], value)
    evaluation.allow_depth(depth)
    value = plain(evaluation, value)
    evaluation.spend(4 * (1 + len(value)))
    if is_plain_object(value):
        members = ((key, identity(evaluation, item, depth + 1)) for key, item in value.items())
        return ("an object", frozenset(members))
    return ("a list", tuple(identity(evaluation, item, depth + 1) for item in value))


def precedes(evaluation: Evaluation, left: Any, right: Any) -> bool:
    """Whether the left value is smaller than the right one: number with number, or text with text.

    Raises:
        ExpressionTypeError: there is no order between these two.
    """
    if is_number(left) and is_number(right):
        return left < right
    if type(left) is str and type(right) is str:
        evaluation.spend_text(min(len(left), len(right)))
        return left < right
    raise ExpressionTypeError(
        f"{kind(left).capitalize()} and {kind(right)} have no order; only numbers or texts do.",
        suggestion="Convert one of them with the filter int, float or string.",
    )


def number(value: float) -> JsonValue:
    """Return the result of arithmetic.

    Raises:
        ExpressionTypeError: it is infinite, or an integer that does not fit 64 bits.
    """
    if type(value) is int:
        if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
            raise ExpressionTypeError("The result is an integer that does not fit 64 bits.")
    elif not math.isfinite(value):
        raise ExpressionTypeError("The result is not a finite number.")
    return value


def unstorable(text: str) -> str | None:
    """Return what the text has that no JSON in a database can hold, or ``None``."""
    if "\0" in text:
        return "a NUL character"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return "a lone surrogate"
    return None
