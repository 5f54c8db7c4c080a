"""The prompt that helps an agent to write a workflow."""

from typing import Annotated

from mcp.server import MCPServer
from pydantic import Field

from archon_workflows.engine.templates import TemplateLibrary
from archon_workflows.gateway.port import Gateway
from archon_workflows.server.callers import Callers
from archon_workflows.server.guide import authoring_guide
from archon_workflows.server.presentation.templates import present_suggestions
from archon_workflows.server.presentation.tools import tool_line

TOOLS_SHOWN = 200

HOW = """\
Validate it with manage_workflow_template(action="validate") and mend what is found. Save it with \
action="create", try it with run_workflow(mode="dry_run"), and show the result before you run it."""


def add_prompts(server: MCPServer, callers: Callers) -> None:
    """Register the prompts; the templates in them are those that the caller sees."""

    @server.prompt(title="Write a workflow")
    async def author_workflow(
        task: Annotated[str, Field(description="What the workflow is to do, in words.")],
    ) -> str:
        """Write a workflow template for a task, check it, try it and save it."""
        verbs = callers.current().verbs
        return await _author_workflow(task, verbs.templates, verbs.gateway)

    del author_workflow


async def _author_workflow(task: str, templates: TemplateLibrary, gateway: Gateway) -> str:
    tools = await gateway.tools()
    shown = [f"- {tool_line(tool)}" for tool in tools[:TOOLS_SHOWN]]
    more = [f"- ... {len(tools) - TOOLS_SHOWN} more: workflow://tools"] if len(tools) > TOOLS_SHOWN else []
    similar = present_suggestions(await templates.suggest(task)).lines
    return "\n".join(
        [
            f"Write a workflow template for this task:\n\n{task}\n",
            HOW,
            "\n# Tools that steps can call (* required argument)\n",
            *(shown or ["- none: no tool server is configured or can be reached"]),
            *more,
            "\n# Templates that there are already\n",
            *(f"- {line}" for line in similar),
            f"\n{authoring_guide()}",
        ]
    )
