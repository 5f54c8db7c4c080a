"""``first_answer.py WHO URL HOME``: prints the seconds that a host waits, or would wait anyway.

``server`` starts the server over stdio, on the embedded database of HOME, and ends with the answer to
``tools/list``. ``open`` imports what any MCP server in Python imports, and opens that database.
"""

import asyncio
import os
import sys
from time import perf_counter

HELLO = (
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
    b'"capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}\n'
    b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
    b'{"jsonrpc":"2.0","id":2,"method":"tools/list"}\n'
)
OPEN = """
import asyncio, os, asyncpg, mcp, mcp.server
asyncio.run(asyncpg.connect(%r))
os.write(1, b"open")
os._exit(0)
"""


async def first_answer(home: str) -> float:
    """Speak as a client of a few lines does, so that a client's own import is not counted."""
    began = perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "archon_workflows",
        "serve",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "ARCHON_WORKFLOWS_HOME": home},
        limit=2**22,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(HELLO)
    answers = [await process.stdout.readline() for _ in range(2)]
    took = perf_counter() - began
    assert b'"tools"' in answers[1], answers
    process.terminate()
    await process.wait()
    return took


async def import_and_open(url: str) -> float:
    began = perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OPEN % url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.read(4) == b"open"
    took = perf_counter() - began
    await process.wait()
    return took


who, url, home = sys.argv[1:]
sys.stdout.write(str(asyncio.run(first_answer(home) if who == "server" else import_and_open(url))))
