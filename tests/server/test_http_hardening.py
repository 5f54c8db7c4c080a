"""What the HTTP transports turn away: foreign pages, large, slow and many requests, what is no request."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import pytest
from anyio.abc import SocketStream
from listening import JSON_RPC, connected, listening, url_of
from mcp.server import MCPServer

from archon_workflows.server.http import HttpLimits, HttpTransport

LIMITS = HttpLimits(request_bytes=10_000, request_seconds=0.4, connections=8)
PING = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()

BOTH = pytest.mark.parametrize(("transport", "method"), [("http", "POST"), ("sse", "GET")])


@asynccontextmanager
async def serving(transport: HttpTransport = "http", **options: Any) -> AsyncGenerator[int]:
    server = MCPServer("empty", log_level="ERROR")
    async with listening(server, transport, limits=LIMITS, **options) as port:
        yield port


async def asked(
    port: int, method: str, path: str, *, content: bytes = PING, **headers: str
) -> httpx2.Response:
    given = JSON_RPC | {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx2.AsyncClient() as client:
        return await client.request(method, f"http://127.0.0.1:{port}{path}", headers=given, content=content)


HOSTS = ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.1@evil.example", "0"]
ORIGINS = [
    "http://evil.example",
    "http://localhost.evil.example",
    "null",
    "file://",
    "https://127.0.0.1.nip.io",
]


@BOTH
async def test_a_foreign_host_or_origin_is_refused(transport: HttpTransport, method: str) -> None:
    path = "/mcp" if transport == "http" else "/sse"
    async with serving(transport) as port:
        for host in HOSTS:
            assert (await asked(port, method, path, Host=host)).status_code == 421, host
        for origin in ORIGINS:
            assert (await asked(port, method, path, Origin=origin)).status_code == 403, origin


@pytest.mark.parametrize("path", ["/messages/", "/messages/?session_id=x", "/elsewhere", "/"])
async def test_they_are_refused_at_every_address(path: str) -> None:
    async with serving("sse") as port:
        assert (await asked(port, "POST", path, Host="evil.example")).status_code == 421
        assert (await asked(port, "POST", path, Origin="http://evil.example")).status_code == 403


async def test_a_name_that_is_allowed_is_ours_on_every_port() -> None:
    async with serving(allowed_hosts=["workflows.example"]) as port:
        ours: list[dict[str, Any]] = [
            {"Host": "workflows.example"},
            {"Host": "workflows.example:8443", "Origin": "https://workflows.example:8443"},
            {"Host": f"localhost:{port}", "Origin": "http://localhost"},
        ]
        for headers in ours:
            assert (await asked(port, "POST", "/mcp", **headers)).status_code not in (403, 421)
        assert (await asked(port, "POST", "/mcp", Host="other.example")).status_code == 421


@BOTH
@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:3000"])
async def test_a_preflight_is_refused_and_no_answer_has_a_cors_header(
    transport: HttpTransport, method: str, origin: str
) -> None:
    path = "/mcp" if transport == "http" else "/sse"
    async with serving(transport) as port:
        preflight = await asked(
            port,
            "OPTIONS",
            path,
            content=b"",
            Origin=origin,
            Access_Control_Request_Method=method,
            Access_Control_Request_Headers="authorization, content-type",
        )
        assert preflight.status_code == (403 if "evil" in origin else 405)
        answers = [preflight, await asked(port, "POST", "/mcp", Origin=origin)]
    assert not [name for one in answers for name in one.headers if name.startswith("access-control")]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "TRACE", "CONNECT", "BREW"])
async def test_a_method_that_nothing_needs_is_refused(method: str) -> None:
    async with serving() as port:
        answer = await asked(port, method, "/mcp", content=b"")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST, DELETE")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
async def test_a_body_that_any_web_form_could_send_is_refused(content_type: str) -> None:
    async with serving() as port:
        assert (await asked(port, "POST", "/mcp", Content_Type=content_type)).status_code in (400, 415)


def body_of(size: int) -> bytes:
    return PING[:-1] + b" " * (size - len(PING)) + b"}"


@pytest.mark.parametrize("stateless", [False, True])
async def test_a_body_over_the_limit_is_refused_whether_or_not_it_says_so(*, stateless: bool) -> None:
    async def chunks() -> AsyncGenerator[bytes]:
        for _ in range(11):
            yield b" " * 1_000

    async with serving(stateless=stateless) as port, httpx2.AsyncClient() as client:
        fits = await client.post(url_of(port), headers=JSON_RPC, content=body_of(LIMITS.request_bytes))
        assert fits.status_code in (200, 400)
        declared = await client.post(
            url_of(port), headers=JSON_RPC, content=body_of(LIMITS.request_bytes + 1)
        )
        assert declared.status_code == 413
        streamed = await client.post(url_of(port), headers=JSON_RPC, content=chunks())
        assert streamed.status_code == 413


async def test_a_message_over_sse_has_the_same_limit() -> None:
    async with serving("sse") as port:
        path = "/messages/?session_id=" + "0" * 32
        assert (await asked(port, "POST", path, content=body_of(10_001))).status_code == 413
        assert (await asked(port, "POST", path, content=body_of(10_000))).status_code == 404


HEAD = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"

SLOW: dict[str, tuple[bytes, bytes]] = {
    "says nothing": (b"", b""),
    "headers drip in": (HEAD, b"X-Drip: 1\r\n"),
    "a header line drips in": (HEAD + b"X-Drip: ", b"1"),
    "a body drips in": (HEAD + b"Content-Length: 9000\r\n\r\n{", b" "),
    "a chunked body drips in": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "a body stops": (HEAD + b"Content-Length: 9000\r\n\r\n{", b""),
    "a body that was refused drips in": (
        HEAD + b"Origin: http://a.example\r\nContent-Length: 9000\r\n\r\n",
        b" ",
    ),
}


@pytest.mark.parametrize(("begins", "drips"), [pytest.param(*parts, id=name) for name, parts in SLOW.items()])
async def test_a_request_that_does_not_arrive_in_time_loses_its_connection(
    begins: bytes, drips: bytes
) -> None:
    async with serving() as port, await anyio.connect_tcp("127.0.0.1", port) as connection:
        with anyio.fail_after(10):
            await connection.send(begins)
            answer = await drip_until_closed(connection, drips)
    assert answer.split(b" ")[1] == (b"403" if b"Origin" in begins else b"408")


async def drip_until_closed(connection: SocketStream, drops: bytes) -> bytes:
    """Send drops at a pace that looks alive; return everything that came back."""
    answer = b""
    while True:
        with anyio.move_on_after(0.02):
            try:
                answer += await connection.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return answer
        try:
            await connection.send(drops)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            drops = b""


async def test_a_stream_may_last_longer_than_a_request_may_take_to_arrive() -> None:
    server = MCPServer("patient", log_level="ERROR")

    @server.tool()
    async def wait() -> str:
        """Take longer than a request may."""
        await anyio.sleep(LIMITS.request_seconds * 2)
        return "done"

    del wait
    transports: list[HttpTransport] = ["http", "sse"]
    for transport in transports:
        async with (
            listening(server, transport, limits=LIMITS) as port,
            connected(port, None, transport) as client,
        ):
            assert "done" in str((await client.call_tool("wait", {})).content)


async def test_a_slow_connection_keeps_nobody_else_waiting() -> None:
    async with serving() as port, await anyio.connect_tcp("127.0.0.1", port) as slow:
        await slow.send(SLOW["a body drips in"][0])
        with anyio.fail_after(LIMITS.request_seconds):
            async with connected(port, None) as client:
                assert (await client.list_tools()).tools == []


async def test_more_connections_than_the_limit_are_turned_away() -> None:
    async with serving() as port, anyio.create_task_group() as tasks:
        opened = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(LIMITS.connections)]
        with anyio.fail_after(10):
            while (await asked(port, "POST", "/mcp")).status_code != 503:
                await anyio.lowlevel.checkpoint()
        for connection in opened:
            tasks.start_soon(connection.aclose)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\x00b\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused_and_the_server_stays(sent: bytes) -> None:
    async with serving() as port:
        async with await anyio.connect_tcp("127.0.0.1", port) as connection:
            await connection.send(sent)
            with anyio.fail_after(10):
                answer = await drip_until_closed(connection, b"")
        assert answer.split(b" ")[1].startswith(b"4") or not answer
        async with connected(port, None) as client:
            assert (await client.list_tools()).tools == []


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "deep": b"[" * 5_000,
    "bad UTF-8": b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
    "a lone surrogate": b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}',
    "NaN": b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}',
    "a huge id": b'{"jsonrpc":"2.0","id":1' + b"0" * 5_000 + b',"method":"ping"}',
}


@pytest.mark.parametrize("stateless", [False, True])
@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in BODIES.items()])
async def test_a_body_that_is_no_message_is_refused_and_the_server_stays(
    body: bytes, *, stateless: bool
) -> None:
    async with serving(stateless=stateless) as port:
        status = (await asked(port, "POST", "/mcp", content=body)).status_code
        assert 400 <= status < 500 or status == 202  # taken as a notification, which nobody hears
        async with connected(port, None) as client:
            assert (await client.list_tools()).tools == []


async def test_nothing_says_what_serves_or_believes_what_a_proxy_says() -> None:
    async with serving() as port:
        answer = await asked(port, "POST", "/mcp", X_Forwarded_For="127.0.0.1", X_Forwarded_Host="127.0.0.1")
        assert "server" not in answer.headers
        forged = await asked(port, "POST", "/mcp", Host="evil.example", X_Forwarded_Host="127.0.0.1")
        assert forged.status_code == 421


async def test_a_websocket_is_not_spoken() -> None:
    async with serving() as port:
        answer = await asked(
            port,
            "GET",
            "/mcp",
            content=b"",
            Connection="Upgrade",
            Upgrade="websocket",
            Sec_WebSocket_Version="13",
            Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
        )
        assert 400 <= answer.status_code < 500
