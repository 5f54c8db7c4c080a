"""The tests of the language: ``value is NAME`` and ``value is NAME argument``. A closed list.

``defined`` and ``undefined`` ask whether a value is there at all; the compiler answers those itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from archon_workflows.expressions.errors import ExpressionTypeError
from archon_workflows.expressions.operators import COMPARISONS, contains
from archon_workflows.expressions.values import Evaluation, is_list, is_number, is_object, kind


@dataclass(frozen=True, slots=True)
class Predicate:
    """One test: what it does, with the evaluation and the value; and how many arguments it takes (0 or 1)."""

    check: Callable[..., bool]
    arguments: int = 0


DEFINITION_PREDICATES = frozenset({"defined", "undefined"})


def _divides(value: Any, divisor: Any) -> bool:
    if type(value) is not int or type(divisor) is not int or divisor == 0:
        raise ExpressionTypeError(
            f"Only integers are divisible, by one that is not 0; here are {kind(value)} and {kind(divisor)}."
        )
    return value % divisor == 0


def _is_empty(value: Any) -> bool:
    if type(value) is str or is_object(value) or is_list(value):
        return len(value) == 0
    raise ExpressionTypeError(f"Only a text, a list or an object can be empty, not {kind(value)}.")


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    raise ExpressionTypeError(f"The test is for texts, but this is {kind(value)}.")


def _of_value(check: Callable[[Any], bool]) -> Predicate:
    def checked(_evaluation: Evaluation, value: Any) -> bool:
        return check(value)

    return Predicate(checked)


def _of_two(check: Callable[[Any, Any], bool]) -> Predicate:
    def checked(_evaluation: Evaluation, value: Any, other: Any) -> bool:
        return check(value, other)

    return Predicate(checked, 1)


_BY_MEANING: dict[tuple[str, ...], Predicate] = {
    ("none", "null"): _of_value(lambda value: value is None),
    ("string",): _of_value(lambda value: type(value) is str),
    ("number",): _of_value(is_number),
    ("integer",): _of_value(lambda value: type(value) is int),
    ("float",): _of_value(lambda value: type(value) is float),
    ("boolean",): _of_value(lambda value: type(value) is bool),
    ("true",): _of_value(lambda value: value is True),
    ("false",): _of_value(lambda value: value is False),
    ("mapping",): _of_value(is_object),
    ("sequence",): _of_value(is_list),
    ("empty",): _of_value(_is_empty),
    ("even",): _of_value(lambda value: _divides(value, 2)),
    ("odd",): _of_value(lambda value: not _divides(value, 2)),
    ("divisibleby",): _of_two(_divides),
    ("in",): Predicate(COMPARISONS["in"], 1),
    ("contains",): Predicate(contains, 1),
    ("startswith",): _of_two(lambda value, prefix: _text(value).startswith(_text(prefix))),
    ("endswith",): _of_two(lambda value, suffix: _text(value).endswith(_text(suffix))),
    ("eq", "equalto"): Predicate(COMPARISONS["eq"], 1),
    ("ne",): Predicate(COMPARISONS["ne"], 1),
    ("lt", "lessthan"): Predicate(COMPARISONS["lt"], 1),
    ("le",): Predicate(COMPARISONS["lteq"], 1),
    ("gt", "greaterthan"): Predicate(COMPARISONS["gt"], 1),
    ("ge",): Predicate(COMPARISONS["gteq"], 1),
}

PREDICATES = {name: predicate for names, predicate in _BY_MEANING.items() for name in names}
"""Tests by name."""
