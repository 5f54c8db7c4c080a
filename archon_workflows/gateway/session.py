"""One tool server's session: opened, kept and revived by one owner task, used by calls from any task.

The SDK's client must be opened and closed in one task, so nothing else does that. A call takes the open
connection and talks over it in its own task; when the connection is lost, every call on it ends at once with
an unknown outcome. The next call that needs the server has it opened again, after a backoff that grows with
each failure and is forgotten with the first answer. What a server printed may hold a secret that it was
given, so it is never logged; it is in the errors of the calls, which are masked before they are recorded.
"""

import logging
import math
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

import anyio
from mcp import Client
from mcp.client import ClientSession, IncomingMessage, Transport
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    RequestParamsMeta,
    ToolListChangedNotification,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter, ValidationError

from archon_workflows.gateway.configuration import StdioServer, ToolServerConfiguration
from archon_workflows.gateway.faults import CallFault, Fault, fault_in
from archon_workflows.gateway.http import HttpLink
from archon_workflows.gateway.limits import GatewayLimits
from archon_workflows.gateway.links import Link
from archon_workflows.gateway.listing import list_tools
from archon_workflows.gateway.port import Permit, ServerState, ToolEntry
from archon_workflows.gateway.progress import ProgressFilter
from archon_workflows.gateway.stdio import StdioLink
from archon_workflows.model.outcomes import JsonValue

logger = logging.getLogger(__name__)

ToolServer = ToolServerConfiguration | MCPServer
"""A configured server, or one that lives in this process."""

_RAW_RESULT = cast("TypeAdapter[CallToolResult]", TypeAdapter(dict[str, Any]))
_LONGEST_DOUBLING = 16
_RELIST_SECONDS = 1.0
_LAST_WORDS_SECONDS = 0.02
"""How long answers that came just before the end have to reach their calls."""


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """What is sent to call a tool, who hears of its progress, and whether it may still be sent."""

    name: str
    arguments: Mapping[str, JsonValue]
    meta: Mapping[str, str]
    on_progress: ProgressFilter | None = None
    permit: Permit | None = None

    def as_message(self) -> CallToolRequest:
        """Return it as the SDK's request."""
        meta = cast("RequestParamsMeta", dict(self.meta))
        params = CallToolRequestParams(name=self.name, arguments=dict(self.arguments), _meta=meta)
        return CallToolRequest(params=params)


class Connection:
    """An open session while it lives.

    Args:
        session: the SDK's.
        link: tells when it is lost.
    """

    def __init__(self, session: ClientSession, link: Link) -> None:
        self._session = session
        self._link = link
        self._calls: set[anyio.CancelScope] = set()
        self.answered = False
        """Whether a call got an answer on it."""

    @property
    def is_lost(self) -> bool:
        """Whether it is of no more use."""
        return self._link.is_closing or self._link.lost.is_set()

    async def call(self, request: ToolRequest) -> dict[str, Any]:
        """Call a tool and return the raw result; cancelling the caller cancels the call at the server.

        Raises:
            CallFault: no usable answer came.
        """
        with anyio.CancelScope() as scope, self._link.permitting(request.meta, request.permit):
            self._calls.add(scope)
            try:
                raw = await self._session.send_request(
                    request.as_message(), _RAW_RESULT, progress_callback=request.on_progress
                )
                self.answered = True
                return cast("dict[str, Any]", raw)
            except MCPError as error:
                raise self._fault_of(error) from error
            except ValidationError as error:
                raise self._misshapen(error) from error
            except (OSError, RuntimeError, anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
                raise CallFault(self._link.fault) from error
            finally:
                self._calls.discard(scope)
        raise CallFault(self._link.fault)

    def fail_calls(self) -> None:
        """End the calls in flight; an oversized message ended the only one there was with that reason."""
        if self._link.fault.code == "payload_too_large" and len(self._calls) == 1:
            self._link.fault = replace(self._link.fault, answered=True)
        for scope in tuple(self._calls):
            scope.cancel()

    def diagnosis(self) -> dict[str, Any]:
        """Return what may explain a silence."""
        return self._link.diagnosis()

    def _fault_of(self, error: MCPError) -> CallFault:
        fault = fault_in(error, server=self._link.server, lost=self._link.fault if self.is_lost else None)
        self.answered = self.answered or fault.answered
        return CallFault(fault)

    def _misshapen(self, error: ValidationError) -> CallFault:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "/".join(map(str, first["loc"]))
        what = f"sent a result of the wrong shape: {first['msg']} at {where}"
        message = f"The tool server {self._link.server!r} {what}."
        details = {"server": self._link.server}
        return CallFault(Fault(code="protocol_error", message=message, details=details, answered=True))


class _Attempt:
    """One try to connect; whoever waits for it sees how it went."""

    def __init__(self) -> None:
        self.settled = anyio.Event()
        self.outcome: Connection | Fault | None = None

    def settle(self, outcome: Connection | Fault) -> None:
        self.outcome = outcome
        self.settled.set()


class ToolServerSession:
    """Keeps one tool server at hand.

    Args:
        name: of the server.
        server: its configuration, or the server itself.
        limits: see ``GatewayLimits``.
    """

    def __init__(self, name: str, server: ToolServer, limits: GatewayLimits) -> None:
        self.name = name
        self.slots = anyio.Semaphore(_max_calls(server) or limits.calls_at_once)
        """Whoever holds one of these may have a call in flight."""
        self.tools: tuple[ToolEntry, ...] | None = None
        """As last listed; ``None`` until that happened once."""
        self.fault: Fault | None = None
        """Why it is not connected, if it was tried."""
        self.is_slow = False
        """Whether someone already lost patience with its first connection."""
        self._server = server
        self._limits = limits
        self._wanted = anyio.Event()
        self._stopping = anyio.Event()
        self._connecting_scope: anyio.CancelScope | None = None
        self._attempt = _Attempt()
        self._connecting = False
        self._connection: Connection | None = None
        self._session: ClientSession | None = None
        self._link: Link | None = None
        self._failures = 0
        self._next_at = -math.inf
        self._stale = False
        self._listed_at = -math.inf
        self._listing = anyio.Lock()

    @property
    def is_stale(self) -> bool:
        """Whether the server said that its tools changed, and may be asked for them again."""
        return (
            self._stale
            and self._session is not None
            and anyio.current_time() >= self._listed_at + _RELIST_SECONDS
        )

    def state(self) -> ServerState:
        """Return how it is doing."""
        state = "connecting" if self._connecting else "failed" if self.fault else "idle"
        if self._connection is not None:
            state = "connected"
        transport = "in-process" if isinstance(self._server, MCPServer) else self._server.transport
        error = self.fault.message if self.fault and state != "connected" else None
        count = len(self.tools) if self.tools is not None else None
        return ServerState(name=self.name, transport=transport, state=state, error=error, tool_count=count)

    async def connection(self) -> Connection:
        """Return an open connection; wait for the attempt to open one that is under way, or for the next.

        Raises:
            CallFault: that attempt failed.
        """
        if self._connection is not None and not self._connection.is_lost:
            return self._connection
        attempt = self._attempt
        self._wanted.set()
        await attempt.settled.wait()
        if isinstance(attempt.outcome, Connection):
            return attempt.outcome
        raise CallFault(cast("Fault", attempt.outcome).as_unsent())

    async def relist(self) -> None:
        """Ask for the tools again if they changed; keep the old list when that fails."""
        async with self._listing:
            session = self._session
            if session is None or not self.is_stale:
                return
            self._stale, self._listed_at = False, anyio.current_time()
            with (
                suppress(CallFault, MCPError, ValidationError),
                anyio.move_on_after(self._limits.connect_seconds),
            ):
                self.tools = await list_tools(session, self.name, self._limits)

    def mark_stale(self) -> None:
        """Note that the list of tools may be out of date."""
        self._stale = True

    def stop(self) -> None:
        """Let the owner close the session and end."""
        self._stopping.set()
        self._wanted.set()
        if self._connecting_scope is not None:
            self._connecting_scope.cancel()
        if self._link is not None:
            message = f"The tool server {self.name!r} is being closed."
            self._link.end(Fault(code="connection", message=message))

    async def run(self) -> None:
        """Own the session until ``stop``: open it when it is wanted, close it when it is lost."""
        while not self._stopping.is_set():
            await self._wanted.wait()
            with anyio.CancelScope(deadline=self._next_at):
                await self._stopping.wait()
            if self._stopping.is_set():
                break
            self._wanted = anyio.Event()
            await self._live_once()
        self._attempt.settle(
            Fault(code="connection", message=f"The tool server {self.name!r} is closed.", sent=False)
        )

    async def _live_once(self) -> None:
        attempt, self._connecting = self._attempt, True
        endpoint, link = self._endpoint()
        try:
            fault = await self._open_and_keep(attempt, endpoint, link)
        except Exception as error:  # noqa: BLE001 - whatever it raises is that server's fault
            fault = self._fault_of(error, link)
        self._connecting, self.fault = False, fault
        self._back_off()
        if attempt is self._attempt:
            self._attempt = _Attempt()
            attempt.settle(fault)
        if not self._stopping.is_set():
            logger.warning("Tool server %r was lost: %s", self.name, fault.code)

    async def _open_and_keep(self, attempt: _Attempt, endpoint: Transport | MCPServer, link: Link) -> Fault:
        self._link = link
        connection: Connection | None = None
        with anyio.CancelScope(deadline=anyio.current_time() + self._limits.connect_seconds) as scope:
            self._connecting_scope = scope
            try:
                async with self._client(endpoint) as client:
                    self.tools = await list_tools(client.session, self.name, self._limits)
                    scope.deadline, self._connecting_scope = math.inf, None
                    async with link.calling(client.session, _client_info()) as calls:
                        connection = self._publish(client.session, Connection(calls, link), attempt)
                        try:
                            await self._until_lost(client, link)
                        finally:
                            self._withdraw(connection, link)
            finally:
                self._link = self._connecting_scope = None
        if scope.cancelled_caught and connection is None:
            raise CallFault(self._too_slow(link))
        return link.fault

    def _endpoint(self) -> tuple[Transport | MCPServer, Link]:
        if isinstance(self._server, MCPServer):
            return self._server, Link(self.name)
        if isinstance(self._server, StdioServer):
            stdio = StdioLink(self.name, self._server, self._limits)
            return stdio.streams(), stdio
        http = HttpLink(self.name, self._server, self._limits)
        return http.streams(), http

    def _client(self, endpoint: Transport | MCPServer) -> Client:
        return Client(endpoint, cache=None, client_info=_client_info(), message_handler=self._notified)

    def _publish(self, session: ClientSession, connection: Connection, attempt: _Attempt) -> Connection:
        self._session, self._connection = session, connection
        self._stale, self._listed_at = False, anyio.current_time()
        self._connecting, self.fault = False, None
        self._attempt = _Attempt()
        attempt.settle(connection)
        return connection

    def _withdraw(self, connection: Connection, link: Link) -> None:
        link.end()
        self._session = self._connection = None
        self.fault = link.fault
        if connection.answered:
            self._failures = 0
        connection.fail_calls()

    async def _until_lost(self, client: Client, link: Link) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow_changes, client)
            await link.lost.wait()
            await anyio.sleep(_LAST_WORDS_SECONDS)
            tasks.cancel_scope.cancel()

    async def _follow_changes(self, client: Client) -> None:
        """Subscribe to changes of the tools where the protocol has subscriptions; else they come unasked."""
        capability = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or not (
            capability and capability.list_changed
        ):
            return
        with suppress(MCPError, ListenNotSupportedError, SubscriptionLost):
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self.mark_stale()

    async def _notified(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self.mark_stale()

    def _back_off(self) -> None:
        self._failures += 1
        doubled = self._limits.first_backoff_seconds * 2 ** min(self._failures - 1, _LONGEST_DOUBLING)
        wait = min(doubled, self._limits.longest_backoff_seconds)
        self._next_at = anyio.current_time() + wait * random.uniform(0.5, 1)  # noqa: S311 - jitter, no secret

    def _too_slow(self, link: Link) -> Fault:
        seconds = self._limits.connect_seconds
        message = f"The tool server {self.name!r} did not get ready within {seconds:g} seconds."
        return Fault(code="connection", message=message, details=link.diagnosis(), sent=False)

    def _fault_of(self, error: BaseException, link: Link) -> Fault:
        cause = _first_cause(error)
        if isinstance(cause, CallFault):
            return cause.fault
        if isinstance(cause, MCPError) and isinstance(cause.data, Fault):
            return cause.data
        if isinstance(cause, MCPError) and cause.code == CONNECTION_CLOSED and link.lost.is_set():
            return link.fault
        message = f"The tool server {self.name!r} cannot be reached: {_reason(cause)}."
        return Fault(code="connection", message=message, sent=False)


def _max_calls(server: ToolServer) -> int | None:
    return None if isinstance(server, MCPServer) else server.max_calls


def _reason(cause: BaseException) -> str:
    if isinstance(cause, ValidationError):
        first = cause.errors(include_url=False, include_input=False)[0]
        where = "/".join(map(str, first["loc"]))
        return f"it answered with something of the wrong shape: {first['msg']} at {where}"
    lines = str(cause).splitlines()
    return lines[0][:300] if lines else type(cause).__name__


@cache
def _client_info() -> Implementation:
    try:
        return Implementation(name="archon-workflows", version=version("archon-workflows"))
    except PackageNotFoundError:  # run from a checkout
        return Implementation(name="archon-workflows", version="0")


def _first_cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
