"""Made-up results: what they look like for a schema and for what is read of them."""

from typing import Any

import pytest

from archon_workflows.engine.rehearsal.invention import Invention
from archon_workflows.engine.rehearsal.readings import EACH, Key, Reading

TREE = {
    "$defs": {
        "node": {"type": "object", "required": ["child"], "properties": {"child": {"$ref": "#/$defs/node"}}}
    },
    "$ref": "#/$defs/node",
}


def reading(*paths: tuple[Key, ...]) -> Reading:
    whole = Reading()
    for path in paths:
        whole.at(path)
    return whole


def invented(schema: Any, *paths: tuple[Key, ...]) -> Any:
    return Invention().output("s", reading(*paths), schema)


@pytest.mark.parametrize(
    ("paths", "value"),
    [
        ([], "<s.output>"),
        ([("a", "b")], {"a": {"b": "<s.output.a.b>"}}),
        ([(EACH,)], ["<s.output[0]>"]),
        (
            [(1, "a"), (EACH, "b")],
            [{"b": "<s.output[0].b>"}, {"a": "<s.output[1].a>", "b": "<s.output[1].b>"}],
        ),
        ([(-2,)], ["<s.output[0]>", "<s.output[1]>"]),
        ([("success",), ("data",)], {"success": True, "data": "<s.output.data>"}),
        ([("<b>",)], {"<b>": "<s.output.b>"}),
        ([(5_000,)], [f"<s.output[{index}]>" for index in range(100)]),
    ],
)
def test_without_a_schema_a_result_has_what_is_read_of_it(paths: list[tuple[Key, ...]], value: Any) -> None:
    assert invented(None, *paths) == value


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "<s.output>"),
        ({"type": "integer"}, 1),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "number", "exclusiveMinimum": 0.5}, 1.5),
        ({"type": ["null", "boolean"]}, True),
        ({"type": "null"}, None),
        ({"type": "array", "minItems": 2, "items": {"type": "boolean"}}, [True, True]),
        ({"type": "string", "enum": ["up", "down"]}, "up"),
        ({"const": {"a": 1}}, {"a": 1}),
        ({"type": "string", "examples": ["x"], "default": "y"}, "y"),
        ({"properties": {"a": {}, "b": {}}, "required": ["b"]}, {"b": "<s.output.b>"}),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        (
            {"allOf": [{"required": ["a"]}, {"properties": {"a": {"type": "integer"}}, "required": ["b"]}]},
            {"a": 1, "b": "<s.output.b>"},
        ),
        ({"properties": {"result": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}, 1),
        ({"type": "object", "properties": {"result": True}}, "<s.output>"),
        ({"$ref": "#/nowhere"}, "<s.output>"),
        ({"type": "hologram"}, "<s.output>"),
    ],
)
def test_a_result_is_the_smallest_that_fits_the_schema(schema: Any, value: Any) -> None:
    assert invented(schema) == value


def test_what_is_read_is_there_in_the_schemas_types() -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "list": {"type": "array", "items": {"type": "boolean"}}},
    }
    assert invented(schema, ("n",), ("list", 1), ("more", "x")) == {
        "n": 1,
        "list": [True, True],
        "more": {"x": "<s.output.more.x>"},
    }


def test_a_schema_that_holds_itself_ends() -> None:
    depth, value = 0, invented(TREE)
    while value is not None:
        depth, value = depth + 1, value["child"]
    assert 0 < depth < 50


def test_made_up_texts_are_known_again_wherever_they_went() -> None:
    invention = Invention()
    made_up = invention.output("s", reading(("a",)), None)
    value = {"x": [f"id: {made_up['a']}!", "<other>"], "y/z": made_up["a"], "n": 1}
    assert list(invention.made_up_texts(value)) == ["/x/0", "/y~1z"]
