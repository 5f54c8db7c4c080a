"""Arguments are checked, and scalars converted, before anything is sent."""

from typing import Any

import pytest

from archon_workflows.gateway.arguments import fitted_arguments
from archon_workflows.gateway.port import ToolEntry
from archon_workflows.gateway.schemas import compile_schema
from archon_workflows.model.outcomes import StepError

OPTIONAL_INTEGER = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "$defs": {
        "Size": {"type": "object", "properties": {"width": {"type": "integer"}}, "required": ["width"]}
    },
    "properties": {
        "integer": {"type": "integer"},
        "number": {"type": "number"},
        "boolean": {"type": "boolean"},
        "text": {"type": "string"},
        "either": {"type": ["integer", "string"]},
        "optional": OPTIONAL_INTEGER,
        "list": {"type": "array", "items": {"type": "integer"}},
        "size": {"$ref": "#/$defs/Size"},
        "any": {},
        "enum": {"enum": ["red", "blue"]},
    },
}


def fit(arguments: dict[str, Any], schema: dict[str, Any] = SCHEMA) -> dict[str, Any] | StepError:
    tool = ToolEntry(server="server", name="tool", input_schema=schema)
    return fitted_arguments(tool, arguments, compile_schema(schema, 1))


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        ("integer", "5", 5),
        ("integer", "-12", -12),
        ("integer", "0", 0),
        ("number", "5", 5),
        ("number", "0.5", 0.5),
        ("number", "-1.25", -1.25),
        ("boolean", "true", True),
        ("boolean", "false", False),
        ("text", 5, "5"),
        ("text", True, "true"),
        ("text", "5", "5"),
        ("either", "5", "5"),
        ("either", 5, 5),
        ("optional", "7", 7),
        ("optional", None, None),
        ("list", ["1", 2], [1, 2]),
        ("size", {"width": "3"}, {"width": 3}),
        ("size", {"width": 3, "more": 1}, {"width": 3, "more": 1}),
        ("any", "5", "5"),
        ("any", {"x": ["1"]}, {"x": ["1"]}),
        ("enum", "red", "red"),
        ("integer", 5.0, 5.0),
    ],
)
def test_a_scalar_is_converted_only_where_its_text_form_is_exact(name: str, given: Any, sent: Any) -> None:
    fitted = fit({name: given})
    assert isinstance(fitted, dict)
    assert fitted == {name: sent}
    assert type(fitted[name]) is type(sent)


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"integer": "05"}, "/integer"),
        ({"integer": "5.0"}, "/integer"),
        ({"integer": " 5"}, "/integer"),
        ({"integer": "1e3"}, "/integer"),
        ({"integer": "-0"}, "/integer"),
        ({"integer": 5.5}, "/integer"),
        ({"integer": True}, "/integer"),
        ({"number": "0.10"}, "/number"),
        ({"number": "NaN"}, "/number"),
        ({"boolean": "True"}, "/boolean"),
        ({"boolean": "yes"}, "/boolean"),
        ({"boolean": 1}, "/boolean"),
        ({"text": 1.5}, "/text"),
        ({"text": None}, "/text"),
        ({"text": {}}, "/text"),
        ({"optional": ""}, "/optional"),
        ({"list": "1"}, "/list"),
        ({"list": [1, "x"]}, "/list/1"),
        ({"size": {}}, "/size"),
        ({"enum": "green"}, "/enum"),
        ({"unheard": 1}, "/unheard"),
    ],
)
def test_what_does_not_fit_is_a_mistake_with_its_pointer(arguments: dict[str, Any], path: str) -> None:
    error = fit(arguments)
    assert isinstance(error, StepError)
    assert error.code == "invalid_arguments"
    assert error.details["path"] == path
    assert path in error.message


def test_every_mistake_is_reported_at_once_with_the_nearest_name() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    error = fit({"citty": "Bonn"}, schema)
    assert isinstance(error, StepError)
    assert [problem["path"] for problem in error.details["problems"]] == ["/citty", ""]
    assert error.details["problems"][0]["nearest"] == "city"
    assert "Did you mean 'city'?" in error.message


OPENNESS: list[tuple[dict[str, Any], bool]] = [
    ({"type": "object", "properties": {"a": {}}}, False),
    ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, False),
    ({"type": "object", "properties": {"a": {}}, "additionalProperties": True}, True),
    ({"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "integer"}}, True),
    ({"type": "object", "properties": {"a": {}}, "patternProperties": {"^x": {}}}, True),
    ({"type": "object", "properties": {}}, False),
    ({"type": "object", "additionalProperties": False}, False),
    ({"type": "object"}, True),
    ({}, True),
    ({"type": "object", "allOf": [{"properties": {"x": {}}}]}, True),
    (
        {"type": "object", "anyOf": [{"$ref": "#/$defs/X"}], "$defs": {"X": {"properties": {"x": {}}}}},
        True,
    ),
]


@pytest.mark.parametrize(("schema", "is_taken"), OPENNESS)
def test_an_unlisted_name_is_refused_unless_the_schema_welcomes_it(
    schema: dict[str, Any], *, is_taken: bool
) -> None:
    assert isinstance(fit({"x": 1}, schema), StepError) is not is_taken
