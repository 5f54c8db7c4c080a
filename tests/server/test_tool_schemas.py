"""What an agent is told of the tools before it calls one."""

import json
from typing import Any

import jsonschema_rs
import pytest
from mcp_types import Tool
from serving import Agent, action, asking

CHARACTERS_OF_ALL_DEFINITIONS = 10_900

HINTS = {
    "manage_workflow_template": {"read_only": False, "destructive": True, "idempotent": False},
    "run_workflow": {"read_only": False, "destructive": True, "idempotent": False},
    "get_execution": {"read_only": True, "destructive": None, "idempotent": True},
    "control_execution": {"read_only": False, "destructive": True, "idempotent": False},
}


async def tools_of(agent: Agent) -> dict[str, Tool]:
    return {tool.name: tool for tool in (await agent.client.list_tools()).tools}


def output_validator(tool: Tool) -> jsonschema_rs.Draft202012Validator:
    assert tool.output_schema is not None
    return jsonschema_rs.Draft202012Validator(tool.output_schema, offline=True)


async def test_there_are_four_tools_with_truthful_hints(agent: Agent) -> None:
    tools = await tools_of(agent)
    hints: dict[str, Any] = {}
    for name, tool in tools.items():
        assert tool.annotations is not None
        hints[name] = {
            "read_only": tool.annotations.read_only_hint,
            "destructive": tool.annotations.destructive_hint,
            "idempotent": tool.annotations.idempotent_hint,
        }
    assert hints == HINTS


async def test_the_schemas_are_valid_and_describe_every_argument(agent: Agent) -> None:
    for tool in (await tools_of(agent)).values():
        assert tool.output_schema is not None
        for schema in (tool.input_schema, tool.output_schema):
            jsonschema_rs.meta.validate(schema)
            assert schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False
        for name, argument in tool.input_schema["properties"].items():
            assert argument.get("description"), f"{tool.name} does not describe {name}"


async def test_the_definitions_leave_room_in_a_small_context(agent: Agent) -> None:
    tools = (await tools_of(agent)).values()
    written = [json.dumps(tool.input_schema) + (tool.description or "") for tool in tools]
    assert sum(map(len, written)) < CHARACTERS_OF_ALL_DEFINITIONS


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("manage_workflow_template", {"action": "nonsense"}),
        ("manage_workflow_template", {"action": "create", "template": {"name": "x", "steps": []}}),
        ("run_workflow", {"workflow": "nothing_like_that"}),
        ("get_execution", {"execution_id": "nonsense"}),
        ("control_execution", {"execution_id": "nonsense", "action": "pause"}),
    ],
)
async def test_errors_too_fit_the_output_schema(agent: Agent, tool: str, arguments: dict[str, Any]) -> None:
    letter = await agent.refused(tool, **arguments)
    output_validator((await tools_of(agent))[tool]).validate(letter)


async def test_only_what_has_a_form_of_the_schema_passes_it(agent: Agent) -> None:
    await agent.save("greets", action("greet", "say", text="hello"))
    await agent.save("asks", asking("one"))
    tools = await tools_of(agent)
    answers = {
        "run_workflow": await agent.run("asks"),
        "get_execution": await agent.do("get_execution"),
        "manage_workflow_template": await agent.do("manage_workflow_template", action="list"),
    }
    for name, answer in answers.items():
        validator = output_validator(tools[name])
        validator.validate(answer)
        assert not validator.is_valid({})


async def test_the_server_says_how_to_go_about_it(agent: Agent) -> None:
    instructions = agent.client.instructions
    assert instructions is not None
    assert len(instructions) < 1_500
    for name in HINTS:
        assert name in instructions
