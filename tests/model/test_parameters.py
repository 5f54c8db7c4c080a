"""Input and output of runs against what a template declares."""

import json
import time
from typing import Any

import pytest

from archon_workflows.errors import InvalidParameters
from archon_workflows.model.parameters import InvalidOutputs, bind_parameters, check_outputs, input_schema
from archon_workflows.model.parsing import parse_template
from archon_workflows.model.schemas import schema_problems
from archon_workflows.model.template import Template

PARAMETERS = {
    "vm_name": {"type": "string", "required": True, "minLength": 3, "description": "Name of the machine"},
    "size": {"enum": ["small", "large"], "default": "small"},
    "cores": {"type": "integer", "minimum": 1},
    "owner": {"type": "string", "format": "email"},
    "token": {"type": "string", "secret": True, "minLength": 20},
    "tree": {
        "$ref": "#/$defs/node",
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
    },
}


def template(parameters: dict[str, Any] | None = None, outputs: dict[str, Any] | None = None) -> Template:
    parsed = parse_template(
        {
            "name": "deploy",
            "parameters": PARAMETERS if parameters is None else parameters,
            "outputs": outputs or {},
            "steps": [{"type": "action", "tool_name": "x"}],
        }
    )
    assert parsed.template is not None
    return parsed.template


def refused(given: Any) -> InvalidParameters:
    with pytest.raises(InvalidParameters) as caught:
        bind_parameters(template(), given)
    assert caught.value.code == "invalid_parameters"
    return caught.value


def test_defaults_are_applied_and_optional_parameters_stay_away() -> None:
    assert bind_parameters(template(), {"vm_name": "web"}) == {"vm_name": "web", "size": "small"}


def test_what_is_given_wins_over_the_default() -> None:
    assert bind_parameters(template(), {"vm_name": "web", "size": "large"})["size"] == "large"


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ({}, ["/vm_name"]),
        ({"vm_name": "ab"}, ["/vm_name"]),
        ({"vm_name": 5}, ["/vm_name"]),
        ({"vm_name": None}, ["/vm_name"]),
        ({"vm_name": "web", "cores": 0}, ["/cores"]),
        ({"vm_name": "web", "cores": 1.5}, ["/cores"]),
        ({"vm_name": "web", "owner": "nobody"}, ["/owner"]),
        ({"vm_name": "web", "tree": {"next": {"next": 1}}}, ["/tree/next/next"]),
        ({"vm_nam": "web"}, ["/vm_nam", "/vm_name"]),
        ({"cores": "x", "size": "huge", "more": 1}, ["/cores", "/more", "/size", "/vm_name"]),
        ("text", [""]),
        (None, [""]),
        ([], [""]),
        ({"vm_name": "a\0b"}, ["/vm_name"]),
        ({"vm_name": float("nan")}, ["/vm_name"]),
    ],
)
def test_every_problem_is_listed_with_its_place(given: Any, paths: list[str]) -> None:
    problems = refused(given).details["problems"]
    assert sorted(problem["path"] for problem in problems) == paths


def test_an_unknown_name_gets_the_nearest_known_one() -> None:
    assert refused({"vm_name": "web", "core": 1}).details["problems"][0]["nearest"] == "cores"


def test_a_choice_that_is_none_gets_the_nearest_one() -> None:
    assert refused({"vm_name": "web", "size": "smal"}).details["problems"][0]["nearest"] == "small"


@pytest.mark.parametrize("value", ["hunter2", 4711, {"key": "hunter2"}, "hunter2\0", ["hunter2\ud800"]])
def test_the_value_of_a_secret_parameter_is_never_shown(value: Any) -> None:
    letter = json.dumps(refused({"vm_name": "web", "token": value}).as_json())
    assert "hunter2" not in letter
    assert "4711" not in letter


def test_the_input_schema_is_one_valid_schema() -> None:
    schema = input_schema(template())
    assert schema_problems({key: value for key, value in schema.items() if key != "properties"}) == []
    assert schema["required"] == ["vm_name"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["size"] == {"enum": ["small", "large"], "default": "small"}
    assert schema["properties"]["token"]["writeOnly"] is True
    assert schema["properties"]["vm_name"]["description"] == "Name of the machine"


def test_required_beside_a_default_is_not_required() -> None:
    assert "required" not in input_schema(template({"a": {"required": True, "default": 1}}))


def test_a_pattern_that_explodes_elsewhere_takes_linear_time_here() -> None:
    exploding = template({"a": {"type": "string", "pattern": "^(a+)+$"}})
    start = time.perf_counter()
    with pytest.raises(InvalidParameters):
        bind_parameters(exploding, {"a": "a" * 50_000 + "!"})
    assert time.perf_counter() - start < 1


def test_outputs_that_fit_pass() -> None:
    check_outputs(template(outputs={"id": {"type": "string"}, "rest": {}}), {"id": "vm-1", "rest": [1]})


def test_outputs_that_do_not_fit_are_named() -> None:
    outputs = {"id": {"type": "string"}, "count": {"type": "integer"}}
    with pytest.raises(InvalidOutputs) as caught:
        check_outputs(template(outputs=outputs), {"id": 5, "count": "x"})
    assert caught.value.code == "invalid_outputs"
    assert sorted(one["path"] for one in caught.value.details["problems"]) == ["/count", "/id"]
