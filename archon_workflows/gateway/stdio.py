"""MCP over a process's stdin and stdout, for the SDK's client: linear in time, bounded in memory.

A message over the limit fails the call that it answers and is read past; a line without end, too many lines
that are no messages, or a server that does not read its stdin ends the session. When the process ends, the
session ends too, even if something that it forked keeps the pipe open.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.to_thread
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client import ClientSession
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import Implementation, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, RequestId

from archon_workflows.gateway.configuration import StdioServer
from archon_workflows.gateway.faults import CallFault, Fault
from archon_workflows.gateway.inbound import InboundLines, message_bounds
from archon_workflows.gateway.limits import GatewayLimits
from archon_workflows.gateway.lines import LineAssembler, OversizedLine
from archon_workflows.gateway.links import Link
from archon_workflows.gateway.processes import ServerProcess
from archon_workflows.gateway.stdio_calls import StdioCalls
from archon_workflows.model.json_values import InvalidJson, parse_json
from archon_workflows.model.outcomes import JsonValue

Inbound = SessionMessage | Exception
Streams = tuple[MemoryObjectReceiveStream[Inbound], MemoryObjectSendStream[SessionMessage]]

_PARSED_IN_PLACE_BYTES = 65_536
_WAITING_MESSAGES = 1_024
_DRAIN_SECONDS = 0.5
_SHOWN_ERROR_CHARACTERS = 1_000
_LAST_WORDS_CHARACTERS = 200


class StdioLink(Link):
    """One process and the messages to and from it.

    Args:
        server: the tool server's name.
        configuration: how to start it.
        limits: see ``GatewayLimits``.
    """

    def __init__(self, server: str, configuration: StdioServer, limits: GatewayLimits) -> None:
        super().__init__(server)
        self._configuration = configuration
        self._limits = limits
        self._lines = InboundLines(server, limits, anyio.current_time)
        self._bounds = message_bounds(limits)
        self._process: ServerProcess | None = None
        self._calls = StdioCalls(self._send_call, self._abandon_call)

    @asynccontextmanager
    async def streams(self) -> AsyncGenerator[Streams]:
        """Start the process; end it, and its group, on the way out.

        Raises:
            CallFault: it cannot be started.
        """
        process = self._process = await self._start()
        inbound, session_inbound = anyio.create_memory_object_stream[Inbound](0)
        session_outbound, outbound = anyio.create_memory_object_stream[SessionMessage](_WAITING_MESSAGES)
        with inbound, session_inbound, session_outbound, outbound:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._read, process, inbound)
                tasks.start_soon(self._write, process, outbound)
                tasks.start_soon(self._watch, process)
                try:
                    yield session_inbound, session_outbound
                finally:
                    self.end()
                    with anyio.CancelScope(shield=True):
                        await process.stop(self._limits.stop_seconds)
                    tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def calling(
        self, session: ClientSession, client_info: Implementation
    ) -> AsyncGenerator[ClientSession]:
        """Yield a session for calls that speaks as was agreed on in ``session``."""
        agreed = session.discover_result or session.initialize_result
        async with ClientSession(dispatcher=self._calls, client_info=client_info) as calls:
            if agreed is not None:
                calls.adopt(agreed)
            yield calls

    def diagnosis(self) -> dict[str, JsonValue]:
        """Return the end of stderr, the exit code, and the lines that were no messages."""
        found: dict[str, JsonValue] = {}
        if self._process is not None:
            if self._process.exit_code is not None:
                found["exit_code"] = self._process.exit_code
            if self._process.error_tail:
                found["stderr"] = self._process.error_tail[-_SHOWN_ERROR_CHARACTERS:]
        if self._lines.stray_count:
            found["stray_lines"] = self._lines.stray_count
            found["last_stray_line"] = self._lines.last_stray
        return found

    async def _start(self) -> ServerProcess:
        configuration = self._configuration
        environment = {**get_default_environment(), **configuration.env}
        try:
            return await ServerProcess.start(
                configuration.command, configuration.args, environment, configuration.cwd
            )
        except (OSError, ValueError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            message = (
                f"The tool server {self.server!r} cannot be started: {configuration.command!r}: {reason}."
            )
            raise CallFault(Fault(code="connection", message=message, sent=False)) from error

    async def _read(self, process: ServerProcess, inbound: MemoryObjectSendStream[Inbound]) -> None:
        try:
            with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                await self._read_lines(process, inbound)
        except CallFault as error:
            self.end(error.fault)
        finally:
            self._end_with_process()
            inbound.close()

    async def _read_lines(self, process: ServerProcess, inbound: MemoryObjectSendStream[Inbound]) -> None:
        assembler = LineAssembler(self._limits.message_bytes)
        while chunk := await process.read():
            for line in assembler.feed(chunk):
                await self._deliver(line, inbound)
            if assembler.pending_bytes > self._limits.skipped_bytes:
                await self._deliver(assembler.take(), inbound)
                raise CallFault(self._endless_line())
            await checkpoint()
        self.is_closing = True
        with anyio.move_on_after(_DRAIN_SECONDS):
            await process.exited.wait()

    async def _deliver(self, line: bytes | OversizedLine, inbound: MemoryObjectSendStream[Inbound]) -> None:
        if self._lines.is_ignored(line):
            return
        if isinstance(line, bytes) and len(line) > _PARSED_IN_PLACE_BYTES:
            value = await anyio.to_thread.run_sync(self._parse, line, abandon_on_cancel=True)
        else:
            value = self._parse(line)
        message = self._lines.message(line, value)
        if message is not None and not await self._calls.take(message.message):
            await inbound.send(message)

    def _parse(self, line: bytes | OversizedLine) -> JsonValue | InvalidJson:
        if isinstance(line, OversizedLine):
            return None
        try:
            return parse_json(line, bounds=self._bounds)
        except InvalidJson as error:
            return error

    async def _write(
        self,
        process: ServerProcess,
        outbound: MemoryObjectReceiveStream[SessionMessage],
    ) -> None:
        try:
            async for item in outbound:
                await self._room(process)
                self._put(process, item.message)
        except (OSError, anyio.ClosedResourceError):
            process.end_stdout()

    async def _send_call(self, request: JSONRPCRequest) -> None:
        process = self._running()
        await self._room(process)
        refusal = self.refusal(request)
        if refusal is not None:
            raise CallFault(refusal)
        self._put(process, request)

    def _abandon_call(self, request_id: RequestId) -> None:
        params = {"requestId": request_id, "reason": "caller cancelled"}
        with suppress(OSError):
            self._put(
                self._running(),
                JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params=params),
            )

    def _put(self, process: ServerProcess, message: JSONRPCMessage) -> None:
        """Write a message; whoever waited for room comes here before anyone else can have taken it."""
        self._lines.outstanding.note_sent(message)
        process.write(message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")

    async def _room(self, process: ServerProcess) -> None:
        """Wait until the pipe has room; end the session when the server does not make any.

        Raises:
            BrokenPipeError: it did not.
        """
        if process.is_writable:
            return
        try:
            with anyio.fail_after(self._limits.write_seconds):
                while not process.is_writable:
                    await process.writable()
        except TimeoutError as error:
            message = f"The tool server {self.server!r} does not read its stdin."
            self.end(Fault(code="connection", message=message, details=self.diagnosis()))
            process.end_stdout()
            raise BrokenPipeError from error

    def _running(self) -> ServerProcess:
        if self._process is None:
            raise BrokenPipeError
        return self._process

    async def _watch(self, process: ServerProcess) -> None:
        """End the session with the process, once what it wrote last was read."""
        await process.exited.wait()
        with anyio.move_on_after(_DRAIN_SECONDS):
            await self.lost.wait()
        self._end_with_process()
        process.end_stdout()

    def _endless_line(self) -> Fault:
        message = f"The tool server {self.server!r} sent a line without end."
        return Fault(code="connection", message=message, details=self.diagnosis())

    def _end_with_process(self) -> None:
        process = self._process
        code = process.exit_code if process is not None else None
        how = "closed its stdout" if code is None else f"ended with exit code {code}"
        words = process.error_tail.rstrip().rpartition("\n")[2][-_LAST_WORDS_CHARACTERS:] if process else ""
        message = f"The process of the tool server {self.server!r} {how}{': ' if words else ''}{words}."
        self.end(Fault(code="connection", message=message, details=self.diagnosis()))
