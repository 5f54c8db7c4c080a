"""MCP over streamable HTTP and over HTTP with SSE: the SDK's transports behind a guard.

The guard bounds what a server may send, refuses compressed bodies (a small one can hold anything), and turns
a network error of one request into an answer for the call that it belongs to, so that other calls go on.
Redirects to another origin are not followed (the SDK sees to that).
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from time import monotonic
from typing import cast

import anyio
import httpx2
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._stream_protocols import ReadStream, WriteStream
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, JSONRPCRequest, RequestId
from pydantic import ValidationError

from archon_workflows.gateway.configuration import HttpServer
from archon_workflows.gateway.events import CheckedEvents, EventRules
from archon_workflows.gateway.faults import Fault
from archon_workflows.gateway.inbound import ChatterBudget, message_bounds
from archon_workflows.gateway.limits import GatewayLimits
from archon_workflows.gateway.lines import ids_in
from archon_workflows.gateway.links import Link
from archon_workflows.model.json_values import InvalidJson, parse_json
from archon_workflows.model.outcomes import JsonValue

Inbound = SessionMessage | Exception
Streams = tuple[MemoryObjectReceiveStream[Inbound], WriteStream[SessionMessage]]

_CALL = b'"tools/call"'
_CONNECT_SECONDS = 10.0
_WRITE_SECONDS = 30.0
_SHORT_ANSWER_SECONDS = 10.0
_SDK_EVENT_BYTES = 1_000_000
_YEAR_SECONDS = 366.0 * 24 * 3600
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)


class HttpLink(Link):
    """One connection over HTTP.

    Args:
        server: the tool server's name.
        configuration: where it is.
        limits: see ``GatewayLimits``.
    """

    def __init__(self, server: str, configuration: HttpServer, limits: GatewayLimits) -> None:
        super().__init__(server)
        self._configuration = configuration
        self._limits = limits
        self._inbound: MemoryObjectSendStream[Inbound] | None = None

    @asynccontextmanager
    async def streams(self) -> AsyncGenerator[Streams]:
        """Open the transport."""
        inbound, session_inbound = anyio.create_memory_object_stream[Inbound](0)
        self._inbound = inbound
        with inbound, session_inbound:
            async with self._transport() as (received, outbound), anyio.create_task_group() as tasks:
                tasks.start_soon(self._pump, received, inbound)
                try:
                    yield session_inbound, outbound
                finally:
                    self.end()
                    tasks.cancel_scope.cancel()

    async def report(self, request_id: RequestId, fault: Fault) -> None:
        """Answer a request of ours with a fault."""
        await self._answer(fault.as_message(request_id))

    async def is_refused(self, body: bytes) -> bool:
        """Whether a request is a call that is not to be sent any more; it is answered then."""
        if _CALL not in body:
            return False
        try:
            request = JSONRPCRequest.model_validate_json(body)
        except ValidationError:
            return False
        refusal = self.refusal(request)
        if refusal is not None:
            await self.report(request.id, refusal)
        return refusal is not None

    async def _answer(self, message: JSONRPCError) -> None:
        if self._inbound is not None:
            with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                await self._inbound.send(SessionMessage(message))

    @asynccontextmanager
    async def _transport(self) -> AsyncGenerator[tuple[ReadStream[Inbound], WriteStream[SessionMessage]]]:
        url = self._configuration.url
        if self._configuration.transport == "sse":
            sse = sse_client(url, httpx_client_factory=self._client, sse_read_timeout=_YEAR_SECONDS)
            async with sse as streams:
                yield streams
        else:
            async with (
                self._client() as client,
                streamable_http_client(url, http_client=client, max_sse_event_size=None) as streams,
            ):
                yield streams

    def _client(
        self,
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,  # noqa: ARG002 - the SDK's factory protocol; ours differ
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=GuardedTransport(self, self._configuration, self._limits),
            headers={**self._configuration.headers, **(headers or {}), "accept-encoding": "identity"},
            timeout=httpx2.Timeout(_WRITE_SECONDS, connect=_CONNECT_SECONDS, read=None, pool=None),
            auth=auth,
        )

    async def _pump(self, received: ReadStream[Inbound], inbound: MemoryObjectSendStream[Inbound]) -> None:
        try:
            with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                async for item in received:
                    await inbound.send(item)
        finally:
            message = f"The tool server {self.server!r} closed the connection."
            self.end(Fault(code="connection", message=message))
            inbound.close()


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends requests, and lets no failure of one request reach the others.

    Args:
        link: learns of faults.
        configuration: of the tool server.
        limits: see ``GatewayLimits``.
    """

    def __init__(self, link: HttpLink, configuration: HttpServer, limits: GatewayLimits) -> None:
        self._link = link
        self._answers_in_body = configuration.transport != "sse"
        self._limits = limits
        self._event_bytes = limits.message_bytes if self._answers_in_body else _SDK_EVENT_BYTES
        self._budget = ChatterBudget(limits, monotonic)
        self._inner = httpx2.AsyncHTTPTransport(
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=8)
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request; what goes wrong is reported to the call and answered with 202 or 503."""
        if await self._link.is_refused(request.content if request.method == "POST" else b""):
            return httpx2.Response(HTTPStatus.ACCEPTED, request=request)
        request_id = _request_id(request)
        if request_id is None and request.method != "GET":
            timeouts = cast("dict[str, float | None]", request.extensions.get("timeout", {}))
            request.extensions = {
                **request.extensions,
                "timeout": {**timeouts, "read": _SHORT_ANSWER_SECONDS},
            }
        try:
            response = await self._inner.handle_async_request(request)
            return await self._checked(response, request, request_id)
        except httpx2.TransportError as error:
            sent = not isinstance(error, _NEVER_SENT)
            return await self._failed(request, request_id, self._network_fault(error, sent=sent))
        except _Refused as refused:
            return await self._failed(request, request_id, refused.fault)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()

    async def _checked(
        self, response: httpx2.Response, request: httpx2.Request, request_id: RequestId | None
    ) -> httpx2.Response:
        try:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                fault = self._fault("protocol_error", "sent a compressed answer, which was not asked for")
                raise _Refused(fault)  # noqa: TRY301 - the response is closed below, whatever is wrong with it
            kind = response.headers.get("content-type", "").lower()
            if request.method == "POST" and kind.startswith("application/json"):
                return await self._whole(response, request, request_id)
            self._check_status(response, request, request_id)
        except BaseException:
            await response.aclose()
            raise
        if kind.startswith("text/event-stream"):
            response.stream = self._checked_events(response, request_id)
        return response

    async def _whole(
        self, response: httpx2.Response, request: httpx2.Request, request_id: RequestId | None
    ) -> httpx2.Response:
        body = await self._body(response)
        if request_id is not None and self._answers_in_body:
            self._check_body(body, response, request, request_id)
        return httpx2.Response(response.status_code, headers=_plain(response.headers), content=body)

    def _check_body(
        self, body: bytes, response: httpx2.Response, request: httpx2.Request, request_id: RequestId
    ) -> None:
        is_answer = response.status_code == HTTPStatus.OK
        try:
            value = parse_json(body, bounds=message_bounds(self._limits))
        except InvalidJson as error:
            if is_answer:
                what = f"sent an answer that cannot be used. {error.message}"
                raise _Refused(self._fault("invalid_result", what)) from error
            value = None
        if not is_answer and not _is_json_rpc_error(value):
            self._check_status(response, request, request_id)

    async def _body(self, response: httpx2.Response) -> bytes:
        limit, size, parts = self._limits.message_bytes, 0, list[bytes]()
        stream = cast("httpx2.AsyncByteStream", response.stream)
        async for chunk in stream:
            size += len(chunk)
            if size > limit:
                await stream.aclose()
                raise _Refused(self._too_large(limit))
            parts.append(chunk)
        await stream.aclose()
        return b"".join(parts)

    def _check_status(
        self, response: httpx2.Response, request: httpx2.Request, request_id: RequestId | None
    ) -> None:
        status = response.status_code
        if request_id is None or status < HTTPStatus.BAD_REQUEST:
            return
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            wait = response.headers.get("retry-after")
            raise _Refused(
                self._fault("rate_limited", f"answered 429 Too Many Requests (Retry-After: {wait})")
            )
        if status == HTTPStatus.NOT_FOUND and "mcp-session-id" in request.headers:
            self._link.is_closing = True
            raise _Refused(self._fault("connection", "has forgotten the session", sent=False))
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise _Refused(self._fault("protocol_error", f"refused the credentials (HTTP {status})"))
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _Refused(self._fault("connection", f"answered HTTP {status}", answered=False))
        if not self._answers_in_body:
            raise _Refused(self._fault("protocol_error", f"answered HTTP {status}"))

    def _checked_events(self, response: httpx2.Response, request_id: RequestId | None) -> CheckedEvents:
        async def report(asked: RequestId | None, fault: Fault) -> None:
            if asked is not None:
                await self._link.report(asked, fault)
            else:
                self._link.end(fault)

        rules = EventRules(
            request_id=request_id,
            limit_bytes=self._event_bytes,
            bounds=message_bounds(self._limits),
            budget=self._budget,
            fault=self._fault,
            report=report,
        )
        return CheckedEvents(cast("httpx2.AsyncByteStream", response.stream), rules)

    async def _failed(
        self, request: httpx2.Request, request_id: RequestId | None, fault: Fault
    ) -> httpx2.Response:
        if request_id is None:
            return httpx2.Response(HTTPStatus.SERVICE_UNAVAILABLE, request=request)
        await self._link.report(request_id, fault)
        if self._link.is_closing:
            self._link.end(fault)
        return httpx2.Response(HTTPStatus.ACCEPTED, request=request)

    def _network_fault(self, error: httpx2.TransportError, *, sent: bool) -> Fault:
        reason = str(error) or type(error).__name__
        verb = "broke the connection" if sent else "cannot be reached"
        return self._fault("connection", f"{verb}: {reason}", sent=sent, answered=False)

    def _too_large(self, limit: int) -> Fault:
        return self._fault("payload_too_large", f"sent a message of more than {limit:,} bytes")

    def _fault(self, code: str, what: str, *, sent: bool = True, answered: bool = True) -> Fault:
        message = f"The tool server {self._link.server!r} {what}."
        details: dict[str, JsonValue] = {"server": self._link.server}
        return Fault(code=code, message=message, details=details, sent=sent, answered=answered)


class _Refused(Exception):
    """An answer that is not passed on."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def _request_id(request: httpx2.Request) -> RequestId | None:
    if request.method != "POST":
        return None
    body = request.content
    return next(iter(ids_in(body)), None) if b'"method"' in body else None


def _is_json_rpc_error(value: JsonValue) -> bool:
    return isinstance(value, dict) and "error" in value


def _plain(headers: httpx2.Headers) -> httpx2.Headers:
    kept = httpx2.Headers(headers)
    for name in ("content-length", "transfer-encoding"):
        kept.pop(name, None)
    return kept
