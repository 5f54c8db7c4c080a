"""What an agent can read without calling a tool: the schema, the guide, the tools, templates, executions."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from archon_workflows.engine.executions import Executions
from archon_workflows.engine.templates import TemplateLibrary
from archon_workflows.errors import NotFound, WorkflowError
from archon_workflows.gateway.port import Gateway
from archon_workflows.model.parsing import template_json_schema
from archon_workflows.server.arguments import LARGEST_PAGE, page_facts
from archon_workflows.server.callers import Callers
from archon_workflows.server.guide import authoring_guide
from archon_workflows.server.presentation.answer import Answer
from archon_workflows.server.presentation.executions import present_execution
from archon_workflows.server.presentation.history import present_input, present_steps
from archon_workflows.server.presentation.templates import present_template
from archon_workflows.server.presentation.tools import present_tools
from archon_workflows.server.standing import read_standing

JSON = "application/json"


def add_resources(server: MCPServer, callers: Callers) -> None:
    """Register the resources; what is read is what the caller sees."""

    @server.resource(
        "workflow://schema/template", title="Template schema", mime_type="application/schema+json"
    )
    def template_schema() -> str:
        """JSON Schema of a workflow template, described field by field."""
        return _json(template_json_schema())

    @server.resource("workflow://guide", title="Authoring guide", mime_type="text/markdown")
    def guide() -> str:
        """How to write a workflow template, in short."""
        return authoring_guide()

    @server.resource("workflow://tools", title="Callable tools", mime_type=JSON)
    async def tools() -> str:
        """The tools that steps can call, with their input schemas."""
        return await _read(lambda: _tools(callers.current().verbs.gateway))

    @server.resource("workflow://templates/{name}", title="A workflow template", mime_type=JSON)
    async def template(name: str) -> str:
        """A template with its whole document."""
        return await _read(lambda: _template(callers.current().verbs.templates, name))

    @server.resource("workflow://executions/{execution_id}", title="An execution", mime_type=JSON)
    async def execution(execution_id: str) -> str:
        """An execution with its input, output and steps."""
        return await _read(lambda: _execution(callers.current().verbs.executions, execution_id))

    del template_schema, guide, tools, template, execution


async def _read(answer: Callable[[], Awaitable[Answer]]) -> str:
    """Return what was asked for as JSON; errors in the words that the protocol has for them."""
    try:
        return _json((await answer()).content)
    except NotFound as error:
        raise ResourceNotFoundError(_sentence(error)) from error
    except WorkflowError as error:
        raise ResourceError(_sentence(error)) from error


async def _tools(gateway: Gateway) -> Answer:
    return present_tools(await gateway.tools())


async def _template(templates: TemplateLibrary, name: str) -> Answer:
    return present_template(await templates.get(name=name))


async def _execution(executions: Executions, text: str) -> Answer:
    try:
        execution_id = UUID(text)
    except ValueError:
        raise NotFound(f"There is no execution {text!r}: this is not an id.") from None
    execution = await executions.read(execution_id)
    steps = await executions.read_steps(execution_id, limit=LARGEST_PAGE)
    facts = page_facts(1, LARGEST_PAGE, steps.total)
    parts = [present_input(execution), present_steps(steps, facts, whole=False, tool_results=False)]
    return present_execution(await read_standing(executions, execution), whole_output=True, parts=parts)


def _sentence(error: WorkflowError) -> str:
    return f"{error.message} {error.suggestion}" if error.suggestion else error.message


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)
