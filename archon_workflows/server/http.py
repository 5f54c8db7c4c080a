"""How clients reach the server over HTTP: HTTP+SSE and streamable HTTP.

The engine runs outside of these: a transport's lifespan is one connection's or one request's, an
execution's is its own.
"""

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

import anyio
import uvicorn
from mcp.server import MCPServer
from starlette.applications import Starlette
from typing_extensions import override

from archon_workflows.errors import InvalidRequest
from archon_workflows.server.door import Door, PunctualProtocol, names_of
from archon_workflows.settings import variable_of

HttpTransport = Literal["sse", "http"]

LOOPBACK_NAME = "localhost"
SHUTDOWN_GRACE_SECONDS = 5
PATHS: dict[HttpTransport, str] = {"sse": "/sse", "http": "/mcp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What one client can take of the server.

    Attributes:
        request_bytes: largest body; a larger one is answered with 413.
        request_seconds: how long a request may take to arrive, headers and body; then 408.
        connections: how many at once; further ones are answered with 503.
    """

    request_bytes: int = 8 * 1_048_576
    request_seconds: float = 30.0
    connections: int = 1_000


async def serve_http(
    server: MCPServer,
    transport: HttpTransport,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    stateless: bool = False,
    allowed_hosts: Sequence[str] = (),
    limits: HttpLimits | None = None,
) -> None:
    """Serve any number of clients over HTTP until it is cancelled.

    Args:
        server: what to serve.
        transport: ``http`` (streamable HTTP, at ``/mcp``) or ``sse`` (HTTP+SSE, at ``/sse``).
        host: where to listen; another address than the loopback interface's needs authentication.
        port: where to listen; 0 takes a free one.
        stateless: streamable HTTP without sessions, for older clients too.
        allowed_hosts: names by which clients may call it besides ``host`` and the loopback interface's.
        limits: what one client can take.

    Raises:
        InvalidRequest: ``host_not_loopback`` or ``allowed_hosts_missing``.
    """
    limits = limits or HttpLimits()
    app = http_app(
        server, transport, host=host, stateless=stateless, allowed_hosts=allowed_hosts, limits=limits
    )
    configuration = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        http=PunctualProtocol.within(limits.request_seconds),
        ws="none",
        limit_concurrency=limits.connections,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_SECONDS,
    )
    await _until_cancelled(_Listener(configuration))


def http_app(
    server: MCPServer,
    transport: HttpTransport,
    *,
    host: str = "127.0.0.1",
    stateless: bool = False,
    allowed_hosts: Sequence[str] = (),
    limits: HttpLimits | None = None,
) -> Starlette:
    """Return the ASGI application that ``serve_http`` serves.

    Raises:
        InvalidRequest: ``host_not_loopback`` or ``allowed_hosts_missing``.
    """
    limits = limits or HttpLimits()
    _require_safety(host, allowed_hosts, is_authenticated=server.settings.auth is not None)
    security = names_of(host, allowed_hosts)
    if transport == "sse":
        app = server.sse_app(
            sse_path=PATHS["sse"],
            transport_security=security,
            max_request_body_size=limits.request_bytes,
        )
    else:
        app = server.streamable_http_app(
            streamable_http_path=PATHS["http"],
            stateless_http=stateless,
            transport_security=security,
            max_request_body_size=limits.request_bytes,
        )
    app.add_middleware(Door, security)
    return app


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


def _require_safety(host: str, allowed_hosts: Sequence[str], *, is_authenticated: bool) -> None:
    """Refuse to let strangers in unasked, or to listen where no Host header would ever be right."""
    if _is_loopback(host):
        return
    if not is_authenticated:
        raise InvalidRequest(
            f"{host!r} is not an address of the loopback interface, and whoever reaches this server can run "
            "every tool behind it; nothing says who may.",
            code="host_not_loopback",
            path="/host",
            suggestion=f"Give bearer tokens ({variable_of('http_tokens')}) or an OAuth issuer "
            f"({variable_of('oauth_issuer')}), or listen on 127.0.0.1.",
        )
    if _is_every_address(host) and not allowed_hosts:
        raise InvalidRequest(
            f"{host!r} is every address of this machine; by which name clients reach it, nothing says.",
            code="allowed_hosts_missing",
            path="/host",
            suggestion=f"Set {variable_of('http_allowed_hosts')} to the names in the clients' URLs.",
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == LOOPBACK_NAME or ip_address(host).is_loopback
    except ValueError:
        return False


def _is_every_address(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return not host
