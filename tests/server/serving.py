"""An agent at the server: what the tests of the MCP face share."""

import json
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.server import MCPServer
from mcp.shared.dispatcher import ProgressFnT
from mcp_types import CallToolResult, TextContent

SEED = (Path(__file__).parents[1] / "cases/SEED.md").read_text(encoding="utf-8")
VM_DEPLOYMENT: dict[str, Any] = json.loads(re.findall(r"```json\n(.*?)```", SEED, re.DOTALL)[-1])
SETUP_VM_BACKUP: dict[str, Any] = {
    "name": "setup_vm_backup",
    "parameters": {"vm_id": {"type": "string", "required": True}},
    "steps": [
        {
            "name": "plan",
            "type": "action",
            "tool_name": "create_backup_plan",
            "parameters": {"vm_id": "{{ workflow.parameters.vm_id }}"},
        }
    ],
}


class Agent:
    """Calls tools as an agent does, and keeps count of what it had to read."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.characters_read = 0

    async def call(
        self, tool: str, *, progress: ProgressFnT | None = None, **arguments: Any
    ) -> CallToolResult:
        result = await self.client.call_tool(tool, arguments, progress_callback=progress)
        self.characters_read += len(text_of(result)) + len(structured_text(result))
        return result

    async def do(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Return the structured content of an answer that is no error."""
        result = await self.call(tool, **arguments)
        assert not result.is_error, text_of(result)
        return content_of(result)

    async def refused(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Return the letter of an answer that is an error."""
        result = await self.call(tool, **arguments)
        assert result.is_error, text_of(result)
        letter = content_of(result)
        assert text_of(result).startswith(f"error {letter['code']}: {letter['message']}")
        return letter

    async def follow(self, call: dict[str, Any]) -> dict[str, Any]:
        """Make a call that an answer named under ``next``, as it stands."""
        return await self.do(call["tool"], **call["arguments"])

    async def save(self, name: str, *steps: dict[str, Any], **fields: Any) -> None:
        document = {"name": name, "steps": list(steps), **fields}
        await self.do("manage_workflow_template", action="create", template=document)

    async def run(self, workflow: str, **arguments: Any) -> dict[str, Any]:
        return await self.do("run_workflow", workflow=workflow, **arguments)


Agents = Callable[..., AbstractAsyncContextManager[Agent]]


def action(name: str, tool: str, /, **parameters: Any) -> dict[str, Any]:
    return {"name": name, "type": "action", "tool_name": tool, "parameters": parameters}


def asking(name: str, message: str = "Go on?") -> dict[str, Any]:
    return {**action(name, "say", text=name), "approval": {"message": message}}


def content_of(result: CallToolResult) -> dict[str, Any]:
    assert result.structured_content is not None
    return result.structured_content


def text_of(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


def structured_text(result: CallToolResult) -> str:
    return json.dumps(result.structured_content, ensure_ascii=False, separators=(",", ":"))


def infrastructure() -> MCPServer:
    """Return a server with the tools that the seed's example calls."""
    server = MCPServer("infrastructure", log_level="ERROR")

    @server.tool()
    def check_infrastructure_capacity(template: str) -> dict[str, Any]:
        """Say whether there is room."""
        return {"template": template, "available": True, "free_cpus": 48, "free_memory_gb": 192}

    @server.tool()
    def create_virtual_machine(name: str, template: str) -> dict[str, Any]:
        """Create a machine."""
        return {"vm_id": "vm-12345", "name": name, "template": template, "ip_address": "192.0.2.1"}

    @server.tool()
    def create_backup_plan(vm_id: str) -> dict[str, Any]:
        """Plan backups."""
        return {"plan_id": f"plan-{vm_id}", "schedule": "daily", "keep_days": 30}

    @server.tool()
    def update_configuration_database(vm_id: str, status: str) -> dict[str, Any]:
        """Write a machine's status down."""
        return {"vm_id": vm_id, "status": status, "earlier_status": None}

    del check_infrastructure_capacity, create_virtual_machine
    del create_backup_plan, update_configuration_database
    return server
