"""Standard input as lines of JSON-RPC: of bounded length, and never a reason to stay alive.

The SDK reads in a worker thread that neither a signal nor the end of the program can interrupt, takes
lines of any length, and drops a line that does not parse without a word, so that its sender waits for
ever. Here a daemon thread reads the descriptor, a line that is too long is cut down to a stub, and
``ReadableMessages`` answers what does not parse.
"""

import asyncio
import os
import re
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, cast

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared._stream_protocols import ReadStream, WriteStream
from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, RequestId
from pydantic import ValidationError

from archon_workflows.model.json_values import BOUNDS, InvalidJson, parse_json

LINE_LIMIT_BYTES = 2 * BOUNDS.text_characters
CHUNK_BYTES = 65_536
STUB_BYTES = 300
NEVER_JSON = b"\0"
"""Stands where a line was cut, so that what is left cannot be taken for a message."""

_ID = r'"id"\s*:\s*("(?:[^"\\]|\\.){0,100}"|-?\d{1,18})'
_ID_AT_THE_START = re.compile(r'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?' + _ID)
_ID_AT_THE_END = re.compile(_ID + r'\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')


class StdinLines:
    """The lines of a descriptor, to be iterated over once.

    Args:
        descriptor: what to read; it is duplicated, so that closing or diverting it does no harm.
    """

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = os.dup(descriptor)

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield the lines until the end of the input."""
        send, receive = anyio.create_memory_object_stream[bytes](1)
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(loop, send), name="stdin", daemon=True).start()
        async with receive:
            async for line in _lines(receive):
                yield line.decode("utf-8", errors="replace")

    def _read(self, loop: asyncio.AbstractEventLoop, send: MemoryObjectSendStream[bytes]) -> None:
        """Hand on what comes, one chunk at a time; the loop may be gone when more comes."""
        with suppress(RuntimeError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while chunk := self._next_chunk():
                asyncio.run_coroutine_threadsafe(send.send(chunk), loop).result()
            loop.call_soon_threadsafe(send.close)

    def _next_chunk(self) -> bytes:
        try:
            return os.read(self._descriptor, CHUNK_BYTES)
        except OSError:
            return b""


class ReadableMessages:
    """The incoming stream without the messages that could not be read: their senders get an error.

    Args:
        incoming: what the transport reads.
        outgoing: where errors go, under the message's id where that can be told.
    """

    def __init__(
        self, incoming: ReadStream[SessionMessage | Exception], outgoing: WriteStream[SessionMessage]
    ) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message.

        Raises:
            anyio.EndOfStream: the client has closed its side.
        """
        while isinstance(item := await self._incoming.receive(), Exception):
            await self._outgoing.send(SessionMessage(_unreadable(item)))
        return item

    async def aclose(self) -> None:
        """Close the incoming stream."""
        await self._incoming.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


def _unreadable(error: Exception) -> JSONRPCError:
    return JSONRPCError(
        jsonrpc="2.0",
        id=_id_in(error),
        error=ErrorData(
            code=PARSE_ERROR,
            message="This message is not valid JSON-RPC: broken or oversized JSON, or nested too deeply.",
        ),
    )


async def _lines(chunks: MemoryObjectReceiveStream[bytes]) -> AsyncIterator[bytes]:
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield _bounded([*parts, end], size + len(end))
            parts, size = [], 0
        if size <= LINE_LIMIT_BYTES:
            parts.append(rest)
        else:
            parts[-1] = (parts[-1] + rest)[-STUB_BYTES:]
        size += len(rest)
    if size:
        yield _bounded(parts, size)


def _bounded(parts: list[bytes], size: int) -> bytes:
    line = b"".join(parts)
    return line if size <= LINE_LIMIT_BYTES else line[:STUB_BYTES] + NEVER_JSON + line[-STUB_BYTES:]


def _id_in(error: Exception) -> RequestId | None:
    if not isinstance(error, ValidationError):
        return None
    source: Any = error.errors(include_url=False)[0]["input"]
    if isinstance(source, dict):
        return _as_id(cast("dict[str, Any]", source).get("id"))
    if not isinstance(source, str):
        return None
    found = _ID_AT_THE_START.match(source) or _ID_AT_THE_END.search(source[-STUB_BYTES:])
    return _parsed_id(found[1]) if found else None


def _parsed_id(text: str) -> RequestId | None:
    with suppress(InvalidJson):
        return _as_id(parse_json(text))
    return None


def _as_id(value: Any) -> RequestId | None:
    return value if isinstance(value, (int, str)) and not isinstance(value, bool) else None
