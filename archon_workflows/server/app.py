"""The MCP server: tools, resources and prompt, registered over the verbs of an application."""

from importlib.metadata import version

from mcp.server import MCPServer

from archon_workflows.server.authentication import Authentication
from archon_workflows.server.callers import Callers, Verbs
from archon_workflows.server.execution_tools import control_tool, get_tool
from archon_workflows.server.prompts import add_prompts
from archon_workflows.server.resources import add_resources
from archon_workflows.server.run_tool import run_tool
from archon_workflows.server.template_tool import template_tool

NAME = "archon-workflows"

INSTRUCTIONS = """\
Durable workflows of MCP tool calls. A template is a named JSON document of steps; running it makes an \
execution that is recorded step by step and goes on by itself, also after a restart.
1. Look for a template: manage_workflow_template(action="suggest", task=...) or action="list".
2. To write one, read workflow://guide and workflow://tools, then action="validate" and action="create".
3. run_workflow(workflow, parameters); mode="preview" or "dry_run" first when in doubt.
4. When it has not ended: get_execution(execution_id, wait_seconds=20). Do not start it again.
5. control_execution to approve, retry, pause, resume or cancel.
Each answer's `next` names the calls that lead on; each error says what to change."""


def build_server(verbs: Verbs, authentication: Authentication | None = None) -> MCPServer:
    """Return the server; one serves any number of connections, and running the engine is the caller's.

    Args:
        verbs: the wired application.
        authentication: over HTTP, who may ask at all, and how they prove who they are; without it everybody
            who reaches the server may do everything.
    """
    limit = verbs.settings.wait_seconds_limit
    callers = Callers(verbs, are_authenticated=authentication is not None)
    server = MCPServer(
        NAME,
        title="Archon Workflows",
        instructions=INSTRUCTIONS,
        version=version(NAME),
        tools=[
            template_tool(callers),
            run_tool(callers, wait_seconds_limit=limit),
            get_tool(callers, wait_seconds_limit=limit),
            control_tool(callers),
        ],
        log_level="WARNING",
        auth=authentication.settings if authentication is not None else None,
        token_verifier=authentication.verifier if authentication is not None else None,
    )
    add_resources(server, callers)
    add_prompts(server, callers)
    return server
