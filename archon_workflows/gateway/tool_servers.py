"""The gateway over MCP: all configured tool servers, kept open, behind the port's four verbs."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from archon_workflows.errors import ToolServerError
from archon_workflows.gateway.arguments import fitted_arguments
from archon_workflows.gateway.faults import CallFault, Fault
from archon_workflows.gateway.limits import GatewayLimits
from archon_workflows.gateway.port import (
    IDEMPOTENCY_KEY,
    TRACE_PARENT,
    TRACE_STATE,
    TRACE_STATE_OF_STEPS,
    Permit,
    ServerState,
    ToolCall,
    ToolEntry,
    ToolOffer,
)
from archon_workflows.gateway.progress import ProgressFilter
from archon_workflows.gateway.resolution import ToolIndex
from archon_workflows.gateway.results import read_result
from archon_workflows.gateway.schemas import SchemaChecks
from archon_workflows.gateway.session import Connection, ToolRequest, ToolServer, ToolServerSession
from archon_workflows.model.outcomes import Failed, JsonValue, Outcome, StepError

_CLOSE_SECONDS = 15.0


class ToolServers:
    """A ``Gateway`` over MCP sessions; an async context manager, to be left by the task that entered it.

    Nothing is started before it is needed. The verbs may be used from any task in between.

    Args:
        servers: by name: configurations, or ``MCPServer`` objects that live in this process.
        limits: what a server may do.
    """

    def __init__(self, servers: Mapping[str, ToolServer], *, limits: GatewayLimits | None = None) -> None:
        self._limits = limits or GatewayLimits()
        self._sessions = {name: ToolServerSession(name, one, self._limits) for name, one in servers.items()}
        self._checks = SchemaChecks()
        self._tasks: TaskGroup | None = None
        self._index = ToolIndex(())
        self._indexed: tuple[object, ...] = ()

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        for session in self._sessions.values():
            self._tasks.start_soon(session.run, name=f"tool server {session.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is None:
            return
        for session in self._sessions.values():
            session.stop()
        tasks.cancel_scope.deadline = anyio.current_time() + _CLOSE_SECONDS
        await tasks.__aexit__(None, None, None)

    async def tools(self) -> tuple[ToolEntry, ...]:
        """Return the tools of every reachable server, connecting where needed."""
        await self._connect([one for one in self._sessions.values() if one.tools is None])
        await self._relist()
        return self._current_index().tools

    def offer(self) -> ToolOffer:
        """Return what is known to be callable; nothing is connected for it."""
        is_complete = all(session.tools is not None for session in self._sessions.values())
        return ToolOffer(names=self._current_index().names, is_complete=is_complete)

    async def servers(self) -> tuple[ServerState, ...]:
        """Return the state of every configured server."""
        return tuple(session.state() for session in self._sessions.values())

    async def resolve(self, tool_name: str) -> ToolEntry:
        """Find the tool that a step means.

        A name that is found does not wait long for servers that are still connecting, and not at all for
        those that failed.

        Raises:
            ToolServerError: ``unknown_tool``, ``ambiguous_tool``, or ``tool_server_unavailable`` when a
                server that may have it cannot be reached.
        """
        possible = self._possible_servers(tool_name)
        await self._relist()
        await self._connect_untried(tool_name, possible)
        if not self._current_index().candidates(tool_name):
            await self._connect([one for one in possible if one.tools is None])
        absent = [one for one in possible if one.tools is None]
        if absent and not self._current_index().candidates(tool_name):
            raise _unavailable(tool_name, absent)
        return self._current_index().resolve(tool_name)

    async def call(self, call: ToolCall) -> Outcome:
        """Resolve, check the arguments, call, and read the answer; every failure is an ``Outcome``."""
        course = _Course(call.permit)
        progress = ProgressFilter(call.on_progress) if call.on_progress is not None else None
        with anyio.move_on_after(call.timeout_seconds) as deadline:
            try:
                return await self._carried_out(call, course, progress, deadline)
            except CallFault as error:
                return error.fault.as_outcome()
            except ToolServerError as error:
                return Failed(_step_error(error))
            finally:
                if progress is not None:
                    progress.finish()
        return course.timed_out(call)

    async def _carried_out(
        self,
        call: ToolCall,
        course: "_Course",
        progress: ProgressFilter | None,
        deadline: anyio.CancelScope,
    ) -> Outcome:
        tool = await self.resolve(call.tool_name)
        refusal = call.admission(tool) if call.admission is not None else None
        if refusal is not None:
            return Failed(refusal)
        session = self._sessions[tool.server]
        check = await self._checks.check_for(tool.input_schema, f"input schema of {tool.address!r}")
        arguments = fitted_arguments(tool, call.arguments, check)
        if isinstance(arguments, StepError):
            return Failed(arguments)
        request = ToolRequest(tool.name, arguments, _meta_of(call), progress, call.permit)
        await _take_slot(session, deadline)
        try:
            raw = await _sent(session, request, course)
        finally:
            session.slots.release()
        course.reach("reading the answer")
        output_check = None
        if tool.output_schema is not None:
            output_check = await self._checks.check_for(
                tool.output_schema, f"output schema of {tool.address!r}"
            )
        return read_result(tool, raw, output_check)

    def _possible_servers(self, tool_name: str) -> list[ToolServerSession]:
        named = self._sessions.get(tool_name.partition("/")[0]) if "/" in tool_name else None
        return [named] if named is not None else list(self._sessions.values())

    async def _connect_untried(self, tool_name: str, possible: Sequence[ToolServerSession]) -> None:
        untried = [one for one in possible if one.tools is None and one.fault is None and not one.is_slow]
        if not untried:
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._connect, untried, tasks.cancel_scope.cancel)
            await anyio.sleep(self._limits.lookup_patience_seconds)
            if self._current_index().candidates(tool_name):
                for session in untried:
                    session.is_slow = session.tools is None
                tasks.cancel_scope.cancel()

    async def _connect(
        self, sessions: Sequence[ToolServerSession], then: Callable[[], object] = lambda: None
    ) -> None:
        """Wait until each of them has been connected to, or failed to be."""
        async with anyio.create_task_group() as tasks:
            for session in sessions:
                tasks.start_soon(_try_connection, session)
        then()

    async def _relist(self) -> None:
        for session in self._sessions.values():
            if session.is_stale:
                await session.relist()

    def _current_index(self) -> ToolIndex:
        listings = tuple(session.tools for session in self._sessions.values())
        if len(listings) != len(self._indexed) or any(
            new is not old for new, old in zip(listings, self._indexed, strict=True)
        ):
            self._indexed = listings
            self._index = ToolIndex(tool for tools in listings for tool in tools or ())
        return self._index


class _Course:
    """How far a call got, for the letter that its deadline writes."""

    def __init__(self, permit: Permit | None) -> None:
        self.is_sent = False
        self._permit = permit
        self._stage = "looking up the tool"
        self._connection: Connection | None = None

    def reach(self, stage: str) -> None:
        self._stage = stage

    async def connected(self, session: ToolServerSession) -> Connection:
        """Return a connection of ``session``; from here on the call counts as sent."""
        self.reach(f"connecting to the tool server {session.name!r}")
        self._connection = await session.connection()
        if self._permit is not None:
            await self._permit.hold()
        self.reach(f"waiting for the answer of the tool server {session.name!r}")
        self.is_sent = True
        return self._connection

    def timed_out(self, call: ToolCall) -> Outcome:
        what = f"The tool {call.tool_name!r} took longer than {call.timeout_seconds:g} seconds"
        details: dict[str, JsonValue] = {"timeout_seconds": call.timeout_seconds, "sent": self.is_sent}
        if self._connection is not None:
            details.update(self._connection.diagnosis())
        message = f"{what}, while {self._stage}."
        return Fault(code="timeout", message=message, details=details, sent=self.is_sent).as_outcome()


async def _try_connection(session: ToolServerSession) -> None:
    with suppress(CallFault):
        await session.connection()


async def _take_slot(session: ToolServerSession, deadline: anyio.CancelScope) -> None:
    """Take one of the server's slots; a wait for it is not the call's, so the deadline moves along."""
    try:
        session.slots.acquire_nowait()
    except anyio.WouldBlock:
        left, deadline.deadline = deadline.deadline - anyio.current_time(), math.inf
        await session.slots.acquire()
        deadline.deadline = anyio.current_time() + left


async def _sent(session: ToolServerSession, request: ToolRequest, course: _Course) -> dict[str, JsonValue]:
    """Send a call; once more when the first connection is known not to have taken it."""
    try:
        return await (await course.connected(session)).call(request)
    except CallFault as error:
        if error.fault.sent or not course.is_sent:
            raise
    return await (await course.connected(session)).call(request)


def _meta_of(call: ToolCall) -> dict[str, str]:
    return {
        IDEMPOTENCY_KEY: call.idempotency_key,
        TRACE_PARENT: call.trace_parent,
        TRACE_STATE: TRACE_STATE_OF_STEPS,
    }


def _unavailable(tool_name: str, absent: Sequence[ToolServerSession]) -> ToolServerError:
    reasons = {one.name: one.fault.message if one.fault else "not connected" for one in absent}
    return ToolServerError(
        f"The tool {tool_name!r} cannot be looked up: {' '.join(reasons.values())}",
        code="tool_server_unavailable",
        suggestion="Look at the servers' states and their configuration, then try again.",
        details={"tool_name": tool_name, "servers": reasons},
    )


def _step_error(error: ToolServerError) -> StepError:
    """Return the error of a step: a server that is away is a lost connection, which may pass by itself."""
    code = "connection" if error.code == "tool_server_unavailable" else error.code
    message = f"{error.message} {error.suggestion}" if error.suggestion else error.message
    return StepError(code, message, error.details)
