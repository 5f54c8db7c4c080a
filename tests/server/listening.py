"""A server that really listens, and clients of several callers: what the tests over HTTP share."""

import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer

from archon_workflows.server.http import PATHS, HttpTransport, serve_http

JSON_RPC = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
TOKENS = {name: f"token-of-{name}-0123456789" for name in ("alice", "bob")}
PAIRS = ",".join(f"{name}={token}" for name, token in TOKENS.items())


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


async def until_listening(port: int) -> None:
    with anyio.fail_after(30):
        while True:
            try:
                async with await anyio.connect_tcp("127.0.0.1", port):
                    return
            except OSError:
                await anyio.sleep(0.02)


@asynccontextmanager
async def listening(
    server: MCPServer, transport: HttpTransport = "http", **options: Any
) -> AsyncGenerator[int]:
    """Serve on a free port of the loopback interface; yield the port."""
    port = free_port()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: serve_http(server, transport, port=port, **options))
        await until_listening(port)
        yield port
        tasks.cancel_scope.cancel()


def url_of(port: int, transport: HttpTransport = "http") -> str:
    return f"http://127.0.0.1:{port}{PATHS[transport]}"


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def connected(
    port: int, token: str | None, transport: HttpTransport = "http", *, mode: str = "auto"
) -> AsyncGenerator[Client]:
    """Yield the official client, with a token."""
    headers = bearing(token) if token is not None else {}
    async with AsyncExitStack() as stack:
        if transport == "sse":
            streams: Any = sse_client(url_of(port, "sse"), headers=headers)
        else:
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=60))
            streams = streamable_http_client(url_of(port), http_client=http)
        yield await stack.enter_async_context(Client(streams, mode=mode))
