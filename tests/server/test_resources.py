"""Resources and the prompt."""

import json

import jsonschema_rs
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent, TextResourceContents
from serving import VM_DEPLOYMENT, Agent, action

from archon_workflows.server.guide import authoring_guide


async def read(agent: Agent, uri: str) -> str:
    (contents,) = (await agent.client.read_resource(uri)).contents
    assert isinstance(contents, TextResourceContents)
    return contents.text


async def test_the_resources_are_listed_with_what_they_are(agent: Agent) -> None:
    resources = {one.uri: one.mime_type for one in (await agent.client.list_resources()).resources}
    assert resources == {
        "workflow://schema/template": "application/schema+json",
        "workflow://guide": "text/markdown",
        "workflow://tools": "application/json",
    }
    templates = (await agent.client.list_resource_templates()).resource_templates
    assert {one.uri_template for one in templates} == {
        "workflow://templates/{name}",
        "workflow://executions/{execution_id}",
    }


async def test_the_schema_takes_the_seeds_example_and_not_a_misspelling(agent: Agent) -> None:
    schema = json.loads(await read(agent, "workflow://schema/template"))
    validator = jsonschema_rs.Draft202012Validator(schema, offline=True)
    validator.validate(VM_DEPLOYMENT)
    assert not validator.is_valid({**VM_DEPLOYMENT, "step": []})


async def test_the_tools_are_listed_with_their_schemas(agent: Agent) -> None:
    tools = {one["tool_name"]: one for one in json.loads(await read(agent, "workflow://tools"))["tools"]}
    assert tools["ledger/destroy"]["destructive"] is True
    assert tools["ledger/add"]["input_schema"]["required"] == ["a", "b"]


async def test_a_template_is_read_by_name(agent: Agent) -> None:
    await agent.save("greets", action("greet", "say", text="hello"))
    template = json.loads(await read(agent, "workflow://templates/greets"))
    assert template["template"]["steps"][0]["tool_name"] == "say"


async def test_an_execution_is_read_with_its_steps(agent: Agent) -> None:
    await agent.save("greets", action("greet", "say", text="hello"))
    execution_id = (await agent.run("greets"))["execution_id"]
    execution = json.loads(await read(agent, f"workflow://executions/{execution_id}"))
    assert execution["output"] == "hello"
    assert [one["step_path"] for one in execution["steps"]["records"]] == ["greet"]


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("workflow://templates/greet", "Did you mean 'greets'?"),
        ("workflow://executions/0198c0de-0000-7000-8000-000000000000", "no execution"),
        ("workflow://executions/latest", "not an id"),
        ("workflow://nothing", "Unknown resource"),
    ],
)
async def test_what_is_not_there_is_an_error_that_says_so(agent: Agent, uri: str, words: str) -> None:
    await agent.save("greets", action("greet", "say", text="hello"))
    with pytest.raises(MCPError, match=words.replace("?", r"\?")):
        await read(agent, uri)


async def test_the_prompt_brings_task_tools_similar_templates_and_guide(agent: Agent) -> None:
    await agent.save("greets", action("greet", "say", text="hello"), description="Greets a visitor.")
    result = await agent.client.get_prompt("author_workflow", {"task": "Greet every visitor twice."})
    (message,) = result.messages
    assert isinstance(message.content, TextContent)
    for part in ("Greet every visitor twice.", "ledger/say(text*)", "greets (score", authoring_guide()):
        assert part in message.content.text
