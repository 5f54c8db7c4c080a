"""The process of a stdio tool server: started without a shell in a group of its own, and ended as a whole.

It moves bytes and knows nothing of MCP. On POSIX whatever the server forked is ended with it unless it left
the process group; on Windows ``taskkill /T`` ends the tree.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import cast

import anyio
from mcp.os.win32.utilities import get_windows_executable_command

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_QUEUED_BYTES = 1_048_576
_KEPT_ERROR_BYTES = 16_384
_ERROR_BURST_BYTES = 1_048_576
_ERROR_PAUSE_SECONDS = 0.02
_POLL_SECONDS = 0.01
_KILL_SECONDS = 2.0


class ServerProcess(asyncio.SubprocessProtocol):
    """A running process whose stdout is read, whose stdin is written, and whose stderr is kept in part."""

    def __init__(self) -> None:
        self.exited = asyncio.Event()
        """Set as soon as the process itself has ended, whoever still holds its pipes."""
        self.error_bytes = 0
        """How much it wrote to stderr in all."""
        self._transport: asyncio.SubprocessTransport
        self._chunks: deque[bytes] = deque()
        self._queued_bytes = 0
        self._stdout_changed = asyncio.Event()
        self._stdout_ended = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._error_tail = b""
        self._error_burst = 0

    @classmethod
    async def start(
        cls, command: str, arguments: Sequence[str], environment: Mapping[str, str], folder: str | None
    ) -> "ServerProcess":
        """Start ``command``.

        Raises:
            OSError: it cannot be started.
        """
        program = get_windows_executable_command(command) if sys.platform == "win32" else command
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            cls, program, *arguments, env=dict(environment), cwd=folder, start_new_session=True
        )
        protocol._transport = transport
        return protocol

    @property
    def pid(self) -> int:
        """Its id, which is also that of its group."""
        return self._transport.get_pid()

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; ``None`` while it runs."""
        return self._transport.get_returncode()

    @property
    def error_tail(self) -> str:
        """The end of what it wrote to stderr."""
        return self._error_tail.decode(errors="replace")

    async def read(self) -> bytes:
        """Return the next chunk of stdout, and ``b""`` at its end."""
        while not self._chunks and not self._stdout_ended:
            self._stdout_changed.clear()
            await self._stdout_changed.wait()
        if not self._chunks:
            return b""
        chunk = self._chunks.popleft()
        self._queued_bytes -= len(chunk)
        if self._queued_bytes < _QUEUED_BYTES and not self._stdout_ended:
            self._pause(_STDOUT, paused=False)
        return chunk

    @property
    def is_writable(self) -> bool:
        """Whether what is written goes to the pipe at once."""
        return self._writable.is_set()

    async def writable(self) -> None:
        """Wait until the pipe has room."""
        await self._writable.wait()

    def write(self, line: bytes) -> None:
        """Write to stdin.

        Raises:
            BrokenPipeError: nobody reads it any more.
        """
        stdin = cast("asyncio.WriteTransport | None", self._transport.get_pipe_transport(_STDIN))
        if stdin is None or stdin.is_closing():
            raise BrokenPipeError
        stdin.write(line)

    def end_stdout(self) -> None:
        """Let ``read`` come to its end although some other process keeps the pipe open."""
        self._stdout_ended = True
        self._stdout_changed.set()

    async def stop(self, grace_seconds: float) -> None:
        """End the process and its group: stdin closed, grace, SIGTERM, grace, SIGKILL. Never raises."""
        self.end_stdout()
        self._chunks.clear()
        self._queued_bytes = 0
        self._pause(_STDOUT, paused=False)
        stdin = self._transport.get_pipe_transport(_STDIN)
        if stdin is not None:
            stdin.close()
        await self._exit_within(grace_seconds)
        await self._end_group(grace_seconds)
        with suppress(PermissionError):
            self._transport.close()

    async def _end_group(self, grace_seconds: float) -> None:
        if sys.platform == "win32":
            subprocess.run(["taskkill", "/T", "/F", "/PID", str(self.pid)], check=False, capture_output=True)  # noqa: S603, S607, ASYNC221 - a Windows tool, and the process ends here
        elif self._signal_group(signal.SIGTERM):
            with anyio.move_on_after(grace_seconds):
                while self._signal_group(0):  # noqa: ASYNC110 - no event tells of the end of a group
                    await anyio.sleep(_POLL_SECONDS)
            self._signal_group(signal.SIGKILL)
        await self._exit_within(_KILL_SECONDS)

    def _signal_group(self, number: int) -> bool:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            return number == 0
        return True

    async def _exit_within(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self.exited.wait()

    def _pause(self, pipe: int, *, paused: bool) -> None:
        transport = cast("asyncio.ReadTransport | None", self._transport.get_pipe_transport(pipe))
        if transport is None or transport.is_closing():
            return
        with suppress(RuntimeError):  # older loops object to resuming what is not paused
            transport.pause_reading() if paused else transport.resume_reading()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take a chunk of stdout or stderr."""
        if fd == _STDERR:
            self._keep_error(data)
        elif not self._stdout_ended:
            self._chunks.append(data)
            self._queued_bytes += len(data)
            self._stdout_changed.set()
            if self._queued_bytes >= _QUEUED_BYTES:
                self._pause(_STDOUT, paused=True)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol
        """Note the end of a pipe."""
        if fd == _STDOUT:
            self.end_stdout()
        elif fd == _STDIN:
            self._writable.set()

    def process_exited(self) -> None:
        """Note the end of the process."""
        self.exited.set()

    def pause_writing(self) -> None:
        """Hold writers back while the pipe is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._writable.set()

    def _keep_error(self, data: bytes) -> None:
        self.error_bytes += len(data)
        self._error_tail = (self._error_tail + data[-_KEPT_ERROR_BYTES:])[-_KEPT_ERROR_BYTES:]
        self._error_burst += len(data)
        if self._error_burst >= _ERROR_BURST_BYTES:
            self._error_burst = 0
            self._pause(_STDERR, paused=True)
            asyncio.get_running_loop().call_later(_ERROR_PAUSE_SECONDS, self._resume_errors)

    def _resume_errors(self) -> None:
        self._pause(_STDERR, paused=False)
