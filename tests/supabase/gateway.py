"""What stands in front of PostgREST at Supabase, as far as a client notices: paths, keys, and its moods.

An ASGI application over real sockets: it strips ``/rest/v1``, takes an opaque key for the JWT that it stands
for, refuses what has no key, and misbehaves when a test wants it to.
"""

import socket
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx
import uvicorn
from anyio.from_thread import BlockingPortal
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

HOP_BY_HOP = {"host", "connection", "transfer-encoding", "content-length", "keep-alive"}

READY_SECONDS = 20

Mood = Callable[[Request], "Response | Cut | Lost | None"]
"""What the gateway does to a request instead of passing it on; ``None``: it does pass it on."""


@dataclass(frozen=True)
class Cut:
    """Pass the request on, and break the connection after this share of the answer."""

    share: float = 0.5
    is_framed: bool = False
    """Whether the answer claims to be whole, as behind a proxy that lost its end."""


@dataclass(frozen=True)
class Lost:
    """Pass the request on, and give another answer than the one that comes back."""

    instead: Response


@dataclass
class Gateway:
    """One project's gateway.

    Attributes:
        postgrest: the socket where it listens.
        keys: what opaque keys stand for.
        known: legacy keys, which are passed on as they are.
        mood: see ``Mood``.
        calls: how often each path was asked for.
        clients: the connections by which it was asked.
    """

    postgrest: Path
    keys: Mapping[str, str]
    known: frozenset[str]
    mood: Mood | None = None
    calls: Counter[str] = field(default_factory=Counter[str])
    clients: set[object] = field(default_factory=set[object])

    def __post_init__(self) -> None:
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                uds=str(self.postgrest), limits=httpx.Limits(max_connections=64)
            ),
            base_url="http://postgrest",
            timeout=30,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.calls[request.url.path] += 1
        self.clients.add(request.client)
        mood = self.mood(request) if self.mood else None
        if isinstance(mood, Response):
            await mood(scope, receive, send)
            return
        response = await self._answer(request)
        match mood:
            case Cut():
                await _cut(response, mood, send)
            case Lost():
                await mood.instead(scope, receive, send)
            case None:
                await response(scope, receive, send)

    async def postgrest_is_ready(self) -> None:
        """Return when PostgREST answers and knows the schema."""
        with anyio.fail_after(READY_SECONDS):
            while not await self._is_ready():  # noqa: ASYNC110 - it happens in another process
                await anyio.sleep(0.005)

    async def aclose(self) -> None:
        """Drop the connections to PostgREST."""
        await self._http.aclose()

    async def _is_ready(self) -> bool:
        try:
            return (await self._http.get("/archon_workflow_templates?limit=0")).status_code < 500
        except httpx.TransportError:
            return False

    async def _answer(self, request: Request) -> Response:
        if not request.url.path.startswith("/rest/v1"):
            return JSONResponse({"message": "no Route matched with those values"}, 404)
        key = request.headers.get("apikey")
        if key is None:
            hint = "No `apikey` request header or url param was found."
            return JSONResponse({"message": "No API key found in request", "hint": hint}, 401)
        if key not in self.known and key not in self.keys:
            hint = "Double check your Supabase `anon` or `service_role` API key."
            return JSONResponse({"message": "Invalid API key", "hint": hint}, 401)
        return await self._passed_on(request, self._headers(request, key))

    def _headers(self, request: Request, key: str) -> dict[str, str]:
        headers = {name: value for name, value in request.headers.items() if name not in HOP_BY_HOP}
        if key in self.keys and headers.get("authorization") in (None, f"Bearer {key}"):
            headers["authorization"] = f"Bearer {self.keys[key]}"
        return headers

    async def _passed_on(self, request: Request, headers: dict[str, str]) -> Response:
        try:
            answer = await self._http.request(
                request.method,
                httpx.URL(
                    path=request.url.path.removeprefix("/rest/v1") or "/", query=request.url.query.encode()
                ),
                headers=headers,
                content=await request.body(),
            )
        except httpx.TransportError:
            return Response("<html><h1>502 Bad Gateway</h1></html>", 502, media_type="text/html")
        kept = {name: value for name, value in answer.headers.items() if name not in HOP_BY_HOP}
        kept.pop("content-encoding", None)
        return Response(answer.content, answer.status_code, kept)


class Door:
    """One address, one gateway after the other behind it: to stop a server takes longer than a test."""

    def __init__(self) -> None:
        self.gateway: Gateway | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self.gateway or Response(status_code=503)
        await answer(scope, receive, send)


@contextmanager
def open_door(portal: BlockingPortal) -> Generator[tuple[Door, str]]:
    """Serve a door on a port of its own; yields it and its URL."""
    door = Door()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # asyncio leaves this to us for a socket that was made elsewhere; without it each answer takes 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = uvicorn.Server(uvicorn.Config(door, log_config=None, lifespan="off", ws="none"))
        serving = portal.start_task_soon(server.serve, [listening])
        try:
            yield door, f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            serving.result(10)


async def _cut(response: Response, cut: Cut, send: Send) -> None:
    body = bytes(response.body)[: int(len(response.body) * cut.share)]
    length = len(body) if cut.is_framed else len(response.body)
    headers = [(name, value) for name, value in response.raw_headers if name != b"content-length"]
    start: Message = {
        "type": "http.response.start",
        "status": response.status_code,
        "headers": [*headers, (b"content-length", str(length).encode())],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})
