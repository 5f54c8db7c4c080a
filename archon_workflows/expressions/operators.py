"""What the operators of the language do to JSON values. Lookups of items are next door, in ``lookups``."""

from collections.abc import Callable
from typing import Any

from archon_workflows.expressions.errors import ExpressionTypeError
from archon_workflows.expressions.values import (
    Evaluation,
    JsonValue,
    as_text,
    is_list,
    is_number,
    is_object,
    is_plain_list,
    kind,
    number,
    plain,
    precedes,
    same,
)

Operator = Callable[[Evaluation, Any, Any], JsonValue]


def piece(
    evaluation: Evaluation, value: Any, start: JsonValue, stop: JsonValue, step: JsonValue
) -> JsonValue:
    """Return a slice of a list or text, with Python's meaning of the three numbers."""
    bounds = (start, stop, step)
    if any(bound is not None and type(bound) is not int for bound in bounds) or step == 0:
        raise ExpressionTypeError("The bounds of a slice are integers, and its step is not 0.")
    value = plain(evaluation, value)
    if type(value) is str:
        evaluation.spend_text(len(value))
    elif is_plain_list(value):
        evaluation.spend(len(value))
    else:
        raise ExpressionTypeError(f"Only a list or a text can be sliced, but this is {kind(value)}.")
    return value[slice(*bounds)]


def add(evaluation: Evaluation, left: Any, right: Any) -> JsonValue:
    """Add two numbers, or join two texts or two lists."""
    if is_number(left) and is_number(right):
        return number(left + right)
    left, right = plain(evaluation, left), plain(evaluation, right)
    if type(left) is str and type(right) is str:
        evaluation.allow_text(len(left) + len(right))
        return left + right
    if is_plain_list(left) and is_plain_list(right):
        evaluation.spend(len(left) + len(right))
        return left + right
    raise ExpressionTypeError(
        f"`+` does not fit {kind(left)} and {kind(right)}.",
        suggestion="Use `~` to join values as text.",
    )


def subtract(_evaluation: Evaluation, left: Any, right: Any) -> JsonValue:
    """Subtract a number from a number."""
    return _arithmetic("-", lambda: left - right, left, right)


def multiply(_evaluation: Evaluation, left: Any, right: Any) -> JsonValue:
    """Multiply two numbers; nothing is ever repeated."""
    return _arithmetic("*", lambda: left * right, left, right)


def divide(_evaluation: Evaluation, left: Any, right: Any) -> JsonValue:
    """Divide two numbers; the result always has a fraction part (``4 / 2`` is ``2.0``)."""
    return _arithmetic("/", lambda: left / right, left, right)


def floor_divide(_evaluation: Evaluation, left: Any, right: Any) -> JsonValue:
    """Divide and round down."""
    return _arithmetic("//", lambda: left // right, left, right)


def remainder(_evaluation: Evaluation, left: Any, right: Any) -> JsonValue:
    """Return what ``//`` leaves, with the sign of the right operand; never a text with values put in."""
    return _arithmetic("%", lambda: left % right, left, right)


def _arithmetic(symbol: str, calculate: Callable[[], float], left: Any, right: Any) -> JsonValue:
    if not (is_number(left) and is_number(right)):
        raise ExpressionTypeError(
            f"`{symbol}` is for two numbers, but these are {kind(left)} and {kind(right)}."
        )
    try:
        return number(calculate())
    except ZeroDivisionError:
        raise ExpressionTypeError(f"`{symbol}` by zero has no result.") from None


def negative(_evaluation: Evaluation, value: Any) -> JsonValue:
    """Return the number with the other sign."""
    if not is_number(value):
        raise ExpressionTypeError(f"`-` is for numbers, but this is {kind(value)}.")
    return number(-value)


def positive(_evaluation: Evaluation, value: Any) -> JsonValue:
    """Return the number as it is."""
    if not is_number(value):
        raise ExpressionTypeError(f"`+` is for numbers, but this is {kind(value)}.")
    return value


def join_texts(evaluation: Evaluation, values: list[Any]) -> str:
    """Join values as text (``~``, and a template text with several parts)."""
    texts = [as_text(evaluation, value) for value in values]
    evaluation.allow_text(sum(map(len, texts)))
    return "".join(texts)


def contains(evaluation: Evaluation, holder: Any, value: Any) -> bool:
    """Whether a list has an item, an object a key, or a text a part.

    Raises:
        ExpressionTypeError: the holder is of another type, or a text is asked for something else.
    """
    if is_object(holder):
        return type(value) is str and value in holder
    if type(holder) is str and type(value) is str:
        evaluation.spend_text(len(holder))
        return value in holder
    if is_list(holder):
        evaluation.spend(len(holder))
        return any(same(evaluation, one, value) for one in holder)
    if type(holder) is str:
        raise ExpressionTypeError(f"Only a text can be part of a text, not {kind(value)}.")
    raise ExpressionTypeError(f"`in` needs a list, an object or a text, but this is {kind(holder)}.")


COMPARISONS: dict[str, Operator] = {
    "eq": same,
    "ne": lambda evaluation, left, right: not same(evaluation, left, right),
    "lt": precedes,
    "gt": lambda evaluation, left, right: precedes(evaluation, right, left),
    "lteq": lambda evaluation, left, right: not precedes(evaluation, right, left),
    "gteq": lambda evaluation, left, right: not precedes(evaluation, left, right),
    "in": lambda evaluation, left, right: contains(evaluation, right, left),
    "notin": lambda evaluation, left, right: not contains(evaluation, right, left),
}
"""Comparison operators by the names that Jinja2's parser gives them."""


def is_true(value: Any, where: str) -> bool:
    """Return a boolean as it is.

    Raises:
        ExpressionTypeError: it is something else; only ``true`` is ever taken as true.
    """
    if value is True or value is False:
        return value
    raise ExpressionTypeError(
        f"{where} needs a boolean, but this is {kind(value)}.",
        suggestion="Compare it, as in `x == 'ready'` or `x | length > 0`; `x | default(y, true)` replaces "
        "empty values.",
    )
