"""A well-behaved MCP server for tests, over any transport; it writes down what it really did.

Every call appends one JSON line to the file that LEDGER names: tool, arguments, idempotency key. Run as
``python ledger.py [stdio|sse|http] [port]``; ``build`` gives the server object for in-process use.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ImageContent, TextContent, ToolAnnotations
from pydantic import BaseModel

DESTRUCTIVE = ToolAnnotations(destructive_hint=True, idempotent_hint=False)
READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True, destructive_hint=False)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Weather(BaseModel):
    city: str
    degrees: float


class Ledger:
    """Remembers calls in a file, so that a test can count what happened across processes."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def note(self, context: Context, tool: str, **arguments: Any) -> None:
        if self.path is None:
            return
        meta = dict(context.request_context.meta or {})
        line = {
            "tool": tool,
            "arguments": arguments,
            "key": meta.get("archon-workflows/idempotency-key"),
            "traceparent": meta.get("traceparent"),
            "pid": os.getpid(),
        }
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def build(path: Path | None = None, name: str = "ledger") -> MCPServer:  # noqa: C901, PLR0915 - one tool after the other
    server = MCPServer(name)
    ledger = Ledger(path)
    flaky_calls: dict[str, int] = {}

    @server.tool(annotations=READ_ONLY)
    def echo(context: Context, value: Any = None) -> dict[str, Any]:
        """Return what it is given."""
        ledger.note(context, "echo", value=value)
        return {"value": value}

    @server.tool(annotations=READ_ONLY)
    def say(context: Context, text: str) -> str:
        """Return a text."""
        ledger.note(context, "say", text=text)
        return text

    @server.tool(annotations=READ_ONLY)
    def add(context: Context, a: int, b: int) -> int:
        """Add two integers."""
        ledger.note(context, "add", a=a, b=b)
        return a + b

    @server.tool()
    def fail(context: Context, reason: str = "told to") -> str:
        """Fail with an error of the tool."""
        ledger.note(context, "fail", reason=reason)
        raise ToolError(reason)

    @server.tool()
    def flaky(context: Context, name: str, failures: int) -> dict[str, int]:
        """Fail the first calls under a name, then succeed; counted in the process."""
        ledger.note(context, "flaky", name=name, failures=failures)
        flaky_calls[name] = flaky_calls.get(name, 0) + 1
        if flaky_calls[name] <= failures:
            message = f"failure {flaky_calls[name]} of {failures}"
            raise ToolError(message)
        return {"calls": flaky_calls[name]}

    @server.tool()
    def success_false(context: Context, error: str = "not found") -> dict[str, Any]:
        """Answer the way Archon's tools report errors."""
        ledger.note(context, "success_false", error=error)
        return {"success": False, "error": error}

    @server.tool()
    async def slow(context: Context, seconds: float, ticks: int = 0) -> str:
        """Take a while, with progress."""
        ledger.note(context, "slow", seconds=seconds, ticks=ticks)
        for tick in range(ticks):
            await context.report_progress(tick + 1, ticks, f"tick {tick + 1}")
            await anyio.sleep(seconds / ticks)
        try:
            if not ticks:
                await anyio.sleep(seconds)
        except anyio.get_cancelled_exc_class():
            ledger.note(context, "slow_cancelled", seconds=seconds)
            raise
        return "done"

    @server.tool(annotations=DESTRUCTIVE)
    def destroy(context: Context, target: str) -> dict[str, str]:
        """Destroy something."""
        ledger.note(context, "destroy", target=target)
        return {"destroyed": target}

    @server.tool(annotations=DESTRUCTIVE)
    async def destroy_slowly(context: Context, target: str, seconds: float) -> dict[str, str]:
        """Destroy something, and take a while."""
        ledger.note(context, "destroy_slowly", target=target)
        await anyio.sleep(seconds)
        return {"destroyed": target}

    @server.tool()
    def weather(context: Context, city: str) -> Weather:
        """Return a structured object with an output schema."""
        ledger.note(context, "weather", city=city)
        return Weather(city=city, degrees=21.5)

    @server.tool()
    def numbers(context: Context, count: int = 3) -> list[int]:
        """Return a list."""
        ledger.note(context, "numbers", count=count)
        return list(range(count))

    @server.tool(structured_output=False)
    def json_text(context: Context) -> str:
        """Return JSON as text, without structured content."""
        ledger.note(context, "json_text")
        return json.dumps({"a": [1, 2, {"b": None}]})

    @server.tool(structured_output=False)
    def picture(context: Context) -> list[TextContent | ImageContent]:
        """Return text and an image."""
        ledger.note(context, "picture")
        return [
            TextContent(type="text", text="a pixel"),
            ImageContent(type="image", data=PIXEL, mime_type="image/png"),
        ]

    @server.tool()
    def environment(context: Context) -> dict[str, str]:
        """Return the environment of the process."""
        ledger.note(context, "environment")
        return dict(os.environ)

    @server.tool()
    def die(context: Context) -> str:
        """End the process in mid-call."""
        ledger.note(context, "die")
        os._exit(7)

    @server.tool()
    async def learn(context: Context, name: str) -> str:
        """Add a tool and say that the list changed."""
        ledger.note(context, "learn", name=name)
        server.add_tool(lambda: name, name=name, description="Learned later.")
        await context.notify_tools_changed()
        return name

    return server


def main() -> None:
    """Serve on the transport that the command line names."""
    path = os.environ.get("LEDGER")
    transport = sys.argv[1] if len(sys.argv) > 1 else "stdio"
    server = build(Path(path) if path else None)
    if transport == "stdio":
        server.run("stdio")
    elif transport == "sse":
        server.run("sse", host="127.0.0.1", port=int(sys.argv[2]))
    else:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))


if __name__ == "__main__":
    main()
