"""A network that can be cut, slowed and silenced: a small TCP proxy in front of a Postgres server."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

CHUNK_BYTES = 65_536


class Proxy:
    """One client's way to the server; each worker has its own, so that one can be cut off alone.

    Args:
        connect: opens a connection to the server.
    """

    def __init__(self, connect: Connect) -> None:
        self.delay_seconds = 0.0
        """How long each packet takes, in either direction."""
        self.answers_are_lost = False
        """The next answer ends its connection instead of arriving."""
        self.port = 0
        self._connect = connect
        self._is_open = True
        self._passable = asyncio.Event()
        self._passable.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, family=socket.AF_INET)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and break every connection."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def close(self) -> None:
        """Break every connection and refuse new ones until ``mend``."""
        self._is_open = False
        self.cut()

    def silence(self) -> None:
        """Let nothing pass until ``mend``; what is sent meanwhile arrives then, as TCP repeats it."""
        self._passable.clear()

    def mend(self) -> None:
        """Be a good network again."""
        self.delay_seconds = 0.0
        self.answers_are_lost = False
        self._is_open = True
        self._passable.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self._is_open:
                await self._join(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes both ways until one side ends."""
        try:
            far_reader, far_writer = await self._connect()
        except OSError:
            return
        ways = {
            asyncio.create_task(self._carry(reader, far_writer, answers=False)),
            asyncio.create_task(self._carry(far_reader, writer, answers=True)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                await self._passable.wait()
                if answers and self.answers_are_lost:
                    self.answers_are_lost = False
                    return
                writer.write(data)
                await writer.drain()
