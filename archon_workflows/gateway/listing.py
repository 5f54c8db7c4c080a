"""The tools of one server, read page by page within bounds."""

import json
from hashlib import sha256

from mcp.client import ClientSession
from mcp_types import PaginatedRequestParams, Tool

from archon_workflows.gateway.faults import CallFault, Fault
from archon_workflows.gateway.limits import GatewayLimits
from archon_workflows.gateway.port import WORKFLOW_SERVER, ToolEntry

_FINGERPRINTED = {"name", "description", "input_schema", "output_schema", "annotations"}


async def list_tools(session: ClientSession, server: str, limits: GatewayLimits) -> tuple[ToolEntry, ...]:
    """Return the tools; of several with one name the first.

    Raises:
        CallFault: the list does not end, or has more tools than the limit.
        MCPError: the server refused, or the connection was lost.
        ValidationError: a page is not of the protocol's shape.
    """
    entries: dict[str, ToolEntry] = {}
    info = session.server_info
    is_workflow_server = info is not None and info.name == WORKFLOW_SERVER
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(limits.list_pages):
        page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor) if cursor else None)
        for tool in page.tools:
            entries.setdefault(tool.name, _entry(server, tool, is_workflow_server=is_workflow_server))
        cursor = page.next_cursor
        if not cursor:
            return tuple(entries.values())
        if cursor in seen or len(entries) > limits.listed_tools:
            break
        seen.add(cursor)
    raise CallFault(_endless(server, len(entries), limits))


def _entry(server: str, tool: Tool, *, is_workflow_server: bool) -> ToolEntry:
    hints = tool.annotations
    return ToolEntry(
        server=server,
        name=tool.name,
        title=tool.title or (hints.title if hints else None),
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        destructive=hints.destructive_hint if hints else None,
        idempotent=hints.idempotent_hint if hints else None,
        read_only=hints.read_only_hint if hints else None,
        fingerprint=_fingerprint(tool),
        is_workflow_server=is_workflow_server,
    )


def _fingerprint(tool: Tool) -> str:
    described = tool.model_dump(mode="json", by_alias=True, exclude_none=True, include=_FINGERPRINTED)
    return sha256(json.dumps(described, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _endless(server: str, count: int, limits: GatewayLimits) -> Fault:
    message = (
        f"The list of tools of the server {server!r} does not end within {limits.list_pages} pages "
        f"and {limits.listed_tools:,} tools."
    )
    return Fault(
        code="protocol_error", message=message, details={"server": server, "tools": count}, sent=False
    )
