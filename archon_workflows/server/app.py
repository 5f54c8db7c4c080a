"""The MCP server: tools, resources and prompt, registered over the verbs of an application."""

from importlib.metadata import version
from typing import Protocol

from mcp.server import MCPServer

from archon_workflows.engine.executions import Executions
from archon_workflows.engine.rehearsal import Rehearsal
from archon_workflows.engine.templates import TemplateLibrary
from archon_workflows.gateway.port import Gateway
from archon_workflows.server.execution_tools import control_tool, get_tool
from archon_workflows.server.prompts import add_prompts
from archon_workflows.server.resources import add_resources
from archon_workflows.server.run_tool import run_tool
from archon_workflows.server.template_tool import template_tool
from archon_workflows.settings import Settings

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


class Verbs(Protocol):
    """What the server stands on; the wired application has all of it."""

    @property
    def settings(self) -> Settings:
        """Limits."""
        ...

    @property
    def gateway(self) -> Gateway:
        """The tools that steps can call."""
        ...

    @property
    def templates(self) -> TemplateLibrary:
        """Templates."""
        ...

    @property
    def executions(self) -> Executions:
        """Executions."""
        ...

    @property
    def rehearsal(self) -> Rehearsal:
        """Previews and dry runs."""
        ...


def build_server(verbs: Verbs) -> MCPServer:
    """Return the server; one serves any number of connections, and running the engine is the caller's."""
    limit = verbs.settings.wait_seconds_limit
    server = MCPServer(
        NAME,
        title="Archon Workflows",
        instructions=INSTRUCTIONS,
        version=version(NAME),
        tools=[
            template_tool(verbs.templates),
            run_tool(verbs.executions, verbs.rehearsal, wait_seconds_limit=limit),
            get_tool(verbs.executions, wait_seconds_limit=limit),
            control_tool(verbs.executions, verbs.templates),
        ],
        log_level="WARNING",
    )
    add_resources(server, templates=verbs.templates, executions=verbs.executions, gateway=verbs.gateway)
    add_prompts(server, templates=verbs.templates, gateway=verbs.gateway)
    return server
