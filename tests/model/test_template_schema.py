"""The JSON Schema of a template document, as agents read it."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs

from archon_workflows.model.parsing import parse_template, template_json_schema
from archon_workflows.model.schemas import schema_problems

SCHEMA = template_json_schema()
VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA, offline=True)


def fields(schema: dict[str, Any], name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for key, field in schema.get("properties", {}).items():
        yield f"{name}.{key}", field
    for key, definition in schema.get("$defs", {}).items():
        yield from fields(definition, key)


def test_it_is_a_valid_self_contained_schema() -> None:
    assert schema_problems(SCHEMA) == []
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_field_is_described() -> None:
    undescribed = [name for name, field in fields(SCHEMA) if not field.get("description")]
    assert undescribed == []


def test_only_name_and_steps_are_required() -> None:
    assert SCHEMA["required"] == ["name", "steps"]


def test_it_agrees_with_the_parser_on_what_is_valid() -> None:
    step = {"type": "action", "tool_name": "x"}
    documents: list[Any] = [
        {"name": "a", "steps": [step]},
        {"name": "a", "steps": [{"type": "loop", "collection": [1], "steps": [step]}]},
        {"name": "a", "steps": [{**step, "on_failure": [step]}]},
        {"name": "a", "steps": [{"type": "parallel", "steps": [step, [step]]}]},
        {"name": "A", "steps": [step]},
        {"name": "a", "steps": []},
        {"name": "a", "steps": [{"type": "action"}]},
        {"name": "a", "steps": [{**step, "unknown": 1}]},
        {"name": "a", "steps": [{**step, "retry_count": -1}]},
        {"steps": [step]},
    ]
    for document in documents:
        assert VALIDATOR.is_valid(document) == (parse_template(document).template is not None), document


def test_a_caller_cannot_change_the_schema_of_others() -> None:
    template_json_schema()["required"].append("mine")
    assert template_json_schema()["required"] == ["name", "steps"]
