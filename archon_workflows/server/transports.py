"""How clients reach the server: stdio, HTTP+SSE and streamable HTTP.

The engine runs outside of these: a transport's lifespan is one connection's or one request's, an
execution's is its own.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Literal, cast

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from typing_extensions import override

from archon_workflows.errors import InvalidRequest
from archon_workflows.server.stdin import ReadableMessages, StdinLines

HttpTransport = Literal["sse", "http"]

LOOPBACK_NAME = "localhost"
REQUEST_LIMIT_BYTES = 32 * 1_048_576
SHUTDOWN_GRACE_SECONDS = 5
PATHS: dict[HttpTransport, str] = {"sse": "/sse", "http": "/mcp"}


async def serve_stdio(server: MCPServer) -> None:
    """Serve the one client at standard input and output; return when it closes our input."""
    lines = cast("anyio.AsyncFile[str]", StdinLines())
    async with stdio_server(stdin=lines) as (incoming, outgoing):
        core = server._lowlevel_server  # pyright: ignore[reportPrivateUsage] - no public way to give streams
        await core.run(ReadableMessages(incoming, outgoing), outgoing, core.create_initialization_options())


async def serve_http(
    server: MCPServer,
    transport: HttpTransport,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    stateless: bool = False,
) -> None:
    """Serve any number of clients over HTTP until it is cancelled.

    Args:
        server: what to serve.
        transport: ``http`` (streamable HTTP, at ``/mcp``) or ``sse`` (HTTP+SSE, at ``/sse``).
        host: an address of the loopback interface.
        port: where to listen; 0 takes a free one.
        stateless: streamable HTTP without sessions, for older clients too.

    Raises:
        InvalidRequest: ``host_not_loopback``.
    """
    app = http_app(server, transport, host=host, stateless=stateless)
    configuration = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_SECONDS,
    )
    await _until_cancelled(_Listener(configuration))


def http_app(
    server: MCPServer, transport: HttpTransport, *, host: str = "127.0.0.1", stateless: bool = False
) -> Starlette:
    """Return the ASGI application that ``serve_http`` serves.

    Raises:
        InvalidRequest: ``host_not_loopback``.
    """
    _require_loopback(host)
    security = _loopback_only(host)
    if transport == "sse":
        return server.sse_app(
            sse_path=PATHS["sse"], transport_security=security, max_request_body_size=REQUEST_LIMIT_BYTES
        )
    return server.streamable_http_app(
        streamable_http_path=PATHS["http"],
        stateless_http=stateless,
        transport_security=security,
        max_request_body_size=REQUEST_LIMIT_BYTES,
    )


class _Listener(uvicorn.Server):
    """Leaves signals to whoever runs the program: raised again, they would cancel the engine's shutdown."""

    @override
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def _until_cancelled(listener: uvicorn.Server) -> None:
    """Serve; a cancellation lets requests in flight end, within the grace period, before it goes on."""
    serving = asyncio.create_task(listener.serve())
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        listener.should_exit = True
        with anyio.CancelScope(shield=True):
            await asyncio.wait({serving})
        raise


def _require_loopback(host: str) -> None:
    try:
        is_loopback = host == LOOPBACK_NAME or ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise InvalidRequest(
            f"{host!r} is not an address of the loopback interface, and whoever reaches this server can run "
            "every tool behind it.",
            code="host_not_loopback",
            path="/host",
            suggestion="Listen on 127.0.0.1, and put a proxy that asks for credentials in front.",
        )


def _loopback_only(host: str) -> TransportSecuritySettings:
    """Refuse requests that a web page made a browser send here (DNS rebinding)."""
    written = f"[{host}]" if ":" in host else host
    names = sorted({"127.0.0.1", LOOPBACK_NAME, "[::1]", written})
    return TransportSecuritySettings(
        allowed_hosts=[*names, *(f"{name}:*" for name in names)],
        allowed_origins=[f"http://{name}{port}" for name in names for port in ("", ":*")],
    )
