"""The floor of tool calls: the official client and ``call_tool``: ``raw_calls.py TRANSPORT PORT``."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client
from protocol import serve, timed
from tool_server import build

SERVER = Path(__file__).with_name("tool_server.py")


async def main(transport: str, port: str) -> None:
    command = StdioServerParameters(command=sys.executable, args=[str(SERVER)])
    targets: dict[str, Any] = {
        "stdio": stdio_client(command),
        "http": f"http://127.0.0.1:{port}/mcp",
        "memory": build(),
    }
    async with Client(targets[transport]) as client:

        async def steps(executions: int, in_flight: int, steps: int) -> dict[str, float]:
            async def one() -> None:
                for number in range(steps):
                    result = await client.call_tool("noop", {"n": number})
                    assert not result.is_error

            return await timed(one, executions=executions, in_flight=in_flight)

        await serve({"steps": steps})


asyncio.run(main(sys.argv[1], sys.argv[2]))
