"""Lines out of chunks, in linear time and bounded memory. Pure: no I/O, and no idea of what a line means."""

import re
from dataclasses import dataclass

from mcp_types import RequestId

_EDGE_BYTES = 4_096
_ID = re.compile(rb'"id"\s*:\s*(?:(-?\d{1,18})\b|"([^"\\]{1,64})")')


@dataclass(frozen=True, slots=True)
class OversizedLine:
    """What is left of a line that was longer than the limit: its size and both edges."""

    size: int
    head: bytes
    tail: bytes


class LineAssembler:
    """Assembles lines.

    Args:
        limit_bytes: of a longer line only the edges are kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._pieces: list[bytes] = []
        self._head: bytes | None = None
        self._tail = b""
        self.pending_bytes = 0
        """Size of the line that has begun and not ended."""

    def feed(self, chunk: bytes) -> list[bytes | OversizedLine]:
        """Return the lines that end in ``chunk``, without their newlines."""
        *ended, rest = chunk.split(b"\n")
        found: list[bytes | OversizedLine] = []
        for piece in ended:
            self._append(piece)
            found.append(self.take())
        self._append(rest)
        return found

    def take(self) -> bytes | OversizedLine:
        """Return the line that has begun as if it ended here, and begin the next."""
        if self._head is None:
            line: bytes | OversizedLine = b"".join(self._pieces)
        else:
            line = OversizedLine(self.pending_bytes, self._head, self._tail)
        self._pieces, self._head, self._tail, self.pending_bytes = [], None, b"", 0
        return line

    def _append(self, piece: bytes) -> None:
        if not piece:
            return
        self.pending_bytes += len(piece)
        if self._head is None and self.pending_bytes <= self._limit:
            self._pieces.append(piece)
            return
        if self._head is None:
            self._head = b"".join([*self._pieces, piece])[:_EDGE_BYTES]
            self._pieces = []
        self._tail = (self._tail + piece[-_EDGE_BYTES:])[-_EDGE_BYTES:]


def ids_in(line: bytes | OversizedLine) -> list[RequestId]:
    """Return what looks like JSON-RPC ids at either edge of a line that cannot be parsed, likeliest first.

    Servers write the id before the result or after it, so the first of the head and the last of the tail
    are the likeliest.
    """
    head = line.head if isinstance(line, OversizedLine) else line[:_EDGE_BYTES]
    tail = line.tail if isinstance(line, OversizedLine) else line[-_EDGE_BYTES:]
    first = [_id(match) for match in _ID.finditer(head)][:1]
    last = [_id(match) for match in _ID.finditer(tail)][-1:]
    return [*first, *last]


def _id(match: re.Match[bytes]) -> RequestId:
    number, text = match.groups()
    return int(number) if number is not None else text.decode(errors="replace")
