"""The tools of one server, read page by page within bounds."""

from mcp.client import ClientSession
from mcp_types import PaginatedRequestParams, Tool

from archon_workflows.gateway.faults import CallFault, Fault
from archon_workflows.gateway.limits import GatewayLimits
from archon_workflows.gateway.port import ToolEntry


async def list_tools(session: ClientSession, server: str, limits: GatewayLimits) -> tuple[ToolEntry, ...]:
    """Return the tools; of several with one name the first.

    Raises:
        CallFault: the list does not end, or has more tools than the limit.
        MCPError: the server refused, or the connection was lost.
        ValidationError: a page is not of the protocol's shape.
    """
    entries: dict[str, ToolEntry] = {}
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(limits.list_pages):
        page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor) if cursor else None)
        for tool in page.tools:
            entries.setdefault(tool.name, _entry(server, tool))
        cursor = page.next_cursor
        if not cursor:
            return tuple(entries.values())
        if cursor in seen or len(entries) > limits.listed_tools:
            break
        seen.add(cursor)
    raise CallFault(_endless(server, len(entries), limits))


def _entry(server: str, tool: Tool) -> ToolEntry:
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
    )


def _endless(server: str, count: int, limits: GatewayLimits) -> Fault:
    message = (
        f"The list of tools of the server {server!r} does not end within {limits.list_pages} pages "
        f"and {limits.listed_tools:,} tools."
    )
    return Fault(
        code="protocol_error", message=message, details={"server": server, "tools": count}, sent=False
    )
