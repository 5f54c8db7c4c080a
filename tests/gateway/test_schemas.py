"""Schemas of tool servers are checked with bounded work, or not at all."""

import time
from typing import Any

import pytest

from archon_workflows.gateway.schemas import SchemaChecks, compile_schema

TREE = {
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {"left": {"$ref": "#/$defs/Node"}, "right": {"$ref": "#/$defs/Node"}},
        }
    },
    "$ref": "#/$defs/Node",
}
OPTIONAL_TREE = {
    "$defs": {"Node": {"properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}}}},
    "$ref": "#/$defs/Node",
}
DOUBLING = {
    "$defs": {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)},
    "$ref": "#/$defs/d0",
}
BRANCHING = {
    "$defs": {
        "N": {
            "anyOf": [
                {"properties": {"c": {"$ref": "#/$defs/N"}}},
                {"properties": {"c": {"$ref": "#/$defs/N"}}},
            ]
        }
    },
    "$ref": "#/$defs/N",
}


@pytest.mark.parametrize("schema", [TREE, OPTIONAL_TREE, {}, {"type": "object"}])
def test_an_ordinary_schema_is_checked(schema: dict[str, Any]) -> None:
    assert compile_schema(schema, 1).unchecked_because is None


@pytest.mark.parametrize(
    "schema",
    [DOUBLING, BRANCHING, {"$ref": "http://127.0.0.1:9/x"}, {"type": 5}, {"$ref": "#/$defs/absent"}],
)
def test_a_schema_that_cannot_be_checked_in_bounded_time_is_not_checked(schema: dict[str, Any]) -> None:
    started = time.perf_counter()
    check = compile_schema(schema, 1)
    assert check.unchecked_because
    assert check.mismatches({"c": {"c": 1}}) == []
    assert time.perf_counter() - started < 0.2


def test_a_pattern_beyond_the_linear_engine_is_left_out_and_the_rest_checked() -> None:
    check = compile_schema({"properties": {"a": {"type": "string", "pattern": "^(?!x)y"}}}, 1)
    assert check.mismatches({"a": "x"}) == []
    assert [mismatch.path for mismatch in check.mismatches({"a": 1})] == ["/a"]


def test_a_property_that_is_called_pattern_is_a_property() -> None:
    check = compile_schema({"properties": {"pattern": {"type": "string"}}}, 1)
    assert [mismatch.path for mismatch in check.mismatches({"pattern": 1})] == ["/pattern"]


def test_an_explosive_pattern_is_matched_in_linear_time() -> None:
    check = compile_schema({"type": "string", "pattern": "^(a+)+$"}, 1)
    started = time.perf_counter()
    assert check.mismatches("a" * 1_000_000 + "!")
    assert time.perf_counter() - started < 0.25


def test_a_huge_value_against_a_large_schema_is_not_checked() -> None:
    check = compile_schema({"items": {"allOf": [{"minimum": number} for number in range(2_000)]}}, 1)
    assert check.mismatches([-1] * 100_000) == []
    assert check.mismatches([-1])


async def test_equal_schemas_are_compiled_once() -> None:
    checks = SchemaChecks()
    first = await checks.check_for({"type": "object", "title": "x"}, "schema")
    assert await checks.check_for({"title": "x", "type": "object"}, "schema") is first
