"""The tools that steps can call, as a model reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

from archon_workflows.gateway.port import ToolEntry
from archon_workflows.server.presentation.answer import Answer, short, without_empty


def present_tools(tools: Sequence[ToolEntry]) -> Answer:
    """Return every tool: a line each, and with schemas as content."""
    lines = [tool_line(tool) for tool in tools] or ["No tool server is configured or can be reached."]
    return Answer(lines, {"tools": [_facts(tool) for tool in tools]})


def tool_line(tool: ToolEntry) -> str:
    """Return address, arguments (``*``: required) and the first words of the description."""
    properties: Mapping[str, Any] = tool.input_schema.get("properties") or {}
    required: Sequence[str] = tool.input_schema.get("required") or ()
    arguments = ", ".join(f"{name}*" if name in required else name for name in properties)
    destructive = " (destructive)" if tool.destructive and not tool.read_only else ""
    about = short(tool.description or tool.title or "", 150)
    return f"{tool.address}({short(arguments, 300)}){destructive}: {about}"


def _facts(tool: ToolEntry) -> dict[str, Any]:
    return {
        "tool_name": tool.address,
        "input_schema": dict(tool.input_schema),
        **without_empty(
            {
                "title": tool.title,
                "description": tool.description,
                "read_only": tool.read_only,
                "destructive": tool.destructive,
                "idempotent": tool.idempotent,
            }
        ),
    }
