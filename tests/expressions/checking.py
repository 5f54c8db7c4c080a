"""What must hold for whatever is compiled and evaluated."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

from archon_workflows.errors import ExpressionError
from archon_workflows.expressions import CompiledValue, Condition, compile_condition, compile_value


class Recorder(Mapping[str, object]):
    """A scope that remembers which of its names were resolved."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names = names
        self.resolved: set[str] = set()

    def __getitem__(self, name: str) -> object:
        self.resolved.add(name)
        return self._names[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def check_text(text: str, scope: Mapping[str, object]) -> str:
    """Check a template text; return ``refused``, ``failed`` or ``evaluated``."""
    try:
        compiled = compile_value(text)
    except ExpressionError as error:
        return _checked("refused", error)
    return _check_evaluation(compiled, scope)


def check_condition(text: str, scope: Mapping[str, object]) -> str:
    """Check a condition; return ``refused``, ``failed`` or ``evaluated``."""
    try:
        condition = compile_condition(text)
    except ExpressionError as error:
        return _checked("refused", error)
    return _check_evaluation(condition, scope)


def _check_evaluation(compiled: CompiledValue | Condition, scope: Mapping[str, object]) -> str:
    recorder = Recorder(scope)
    try:
        value = compiled.evaluate(recorder)
    except ExpressionError as error:
        return _checked("failed", error)
    finally:
        listed = {reference.root for reference in compiled.references}
        assert recorder.resolved <= listed, f"{recorder.resolved} were resolved, {listed} listed"
    assert is_json(value), f"{value!r} is no JSON value"
    assert isinstance(compiled, CompiledValue) or value in (True, False)
    return "evaluated"


def _checked(end: str, error: ExpressionError) -> str:
    assert error.message
    assert error.code in {
        "expression_invalid",
        "unresolved_reference",
        "expression_type",
        "expression_too_costly",
    }
    return end


def is_json(value: Any) -> bool:
    """Whether the value is JSON within the bounds: finite, 64 bits, keys that are texts, no subclasses."""
    if type(value) is list:
        return all(map(is_json, cast("list[Any]", value)))
    if type(value) is dict:
        members = cast("dict[Any, Any]", value)
        return all(type(key) is str and is_json(one) for key, one in members.items())
    if type(value) is int:
        return -(2**63) <= value < 2**63
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) in (str, bool)
