"""Ordinary expressions: each case of ``cases/expressions.json`` yields its result or its error."""

import json
from pathlib import Path
from typing import Any

import pytest

from archon_workflows.errors import ExpressionError
from archon_workflows.expressions import JsonValue, compile_condition, compile_value
from archon_workflows.expressions.filters import DEFAULT_FILTERS, FILTERS
from archon_workflows.expressions.predicates import DEFINITION_PREDICATES, PREDICATES

_GROUPS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "cases" / "expressions.json").read_text("utf-8")
)
_CASES = [(group["given"], case) for group in _GROUPS for case in group["cases"]]


def _evaluate(case: dict[str, Any], given: dict[str, JsonValue]) -> JsonValue:
    if "condition" in case:
        return compile_condition(case["condition"]).evaluate(given)
    return compile_value(case["expression"]).evaluate(given)


def _text(case: dict[str, Any]) -> str:
    return case["condition"] if "condition" in case else case["expression"]


@pytest.mark.parametrize(("given", "case"), _CASES, ids=[_text(case) for _, case in _CASES])
def test_an_expression_yields_its_result_or_its_error(given: dict[str, Any], case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(ExpressionError) as raised:
            _evaluate(case, given)
        assert raised.value.code == case["error"]
    else:
        # JSON text tells true from 1 and 2 from 2.0, which == does not.
        assert json.dumps(_evaluate(case, given)) == json.dumps(case["result"])


@pytest.mark.parametrize("name", sorted(FILTERS.keys() | DEFAULT_FILTERS))
def test_every_filter_has_a_case(name: str) -> None:
    assert any(f"| {name}" in _text(case) and "result" in case for _, case in _CASES)


@pytest.mark.parametrize("name", sorted(PREDICATES.keys() | DEFINITION_PREDICATES))
def test_every_test_has_a_case(name: str) -> None:
    assert any(f"is {name}" in _text(case) and "result" in case for _, case in _CASES)
