"""The door of the HTTP transports: what is turned away before anything of a request is read or believed.

Requests that a web page made a browser send here (DNS rebinding, cross-origin), requests that arrive too
slowly, and too many at once. Who is asking is not asked here.
"""

import asyncio
from collections.abc import Sequence
from typing import ClassVar, cast

import h11
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
METHODS = ("GET", "POST", "DELETE")

_REQUEST_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Door:
    """Refuses a foreign Host (421) or Origin (403), and every other method (405), a preflight's too.

    No answer ever has a CORS header, so that no web page of another origin can read one.
    """

    def __init__(self, app: ASGIApp, names: TransportSecuritySettings) -> None:
        self._app = app
        self._security = TransportSecurityMiddleware(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it in."""
        refusal = await self._refusal(Request(scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    async def _refusal(self, request: Request) -> Response | None:
        foreign = await self._security.validate_request(request, is_post=False)
        if foreign is not None or request.method in METHODS:
            return foreign
        return Response("Method Not Allowed", status_code=405, headers={"Allow": ", ".join(METHODS)})


def names_of(host: str, allowed_hosts: Sequence[str]) -> TransportSecuritySettings:
    """Return which Host and Origin headers are ours.

    Args:
        host: where the server listens.
        allowed_hosts: names under which clients reach it besides, each for every port unless it has one.
    """
    written = f"[{host}]" if ":" in host else host
    names = sorted({*LOOPBACK_NAMES, written, *allowed_hosts})
    hosts = [*names, *(f"{name}:*" for name in names)]
    origins = [f"{scheme}://{one}" for scheme in ("http", "https") for one in hosts]
    return TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=origins)


class PunctualProtocol(H11Protocol):
    """A connection on which a request arrives whole within ``seconds``, or is answered with 408 and closed.

    The time counts from the opening of the connection, or from the end of the answer before, so that neither
    headers nor a body that drip in hold a connection longer.
    """

    seconds: ClassVar[float]
    _deadline: asyncio.TimerHandle | None = None

    @classmethod
    def within(cls, seconds: float) -> type["PunctualProtocol"]:
        """Return the protocol with this patience."""
        return type(cls.__name__, (cls,), {"seconds": seconds})

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._watch()

    @override
    def handle_events(self) -> None:
        super().handle_events()
        self._watch()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def _watch(self) -> None:
        is_arriving = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        if not is_arriving or self.transport.is_closing():
            self._stop_watching()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.seconds, self._give_up)

    def _stop_watching(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(_REQUEST_TIMEOUT)
        self.transport.close()
