"""How the one client of a process reaches the server: standard input and output."""

from typing import cast

import anyio
from mcp.server import MCPServer
from mcp.server.stdio import stdio_server

from archon_workflows.server.stdin import ReadableMessages, StdinLines


async def serve_stdio(server: MCPServer) -> None:
    """Serve the one client at standard input and output; return when it closes our input."""
    lines = cast("anyio.AsyncFile[str]", StdinLines())
    async with stdio_server(stdin=lines) as (incoming, outgoing):
        core = server._lowlevel_server  # pyright: ignore[reportPrivateUsage] - no public way to give streams
        await core.run(ReadableMessages(incoming, outgoing), outgoing, core.create_initialization_options())
