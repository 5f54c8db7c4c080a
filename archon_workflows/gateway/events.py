"""The events of an HTTP stream, each looked at before the SDK sees it.

What the lines of a stdio server must be holds here too: an event that answers a call but cannot be used
(broken, hostile numbers, keys that occur twice, too long, an id that nobody asked under) becomes that call's
error. The format is https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import httpx2
from mcp_types import RequestId

from archon_workflows.expressions.values import is_object
from archon_workflows.gateway.faults import Fault
from archon_workflows.gateway.inbound import CHATTER, ChatterBudget
from archon_workflows.gateway.lines import LineAssembler, OversizedLine, ids_in
from archon_workflows.model.json_values import InvalidJson, JsonBounds, parse_json, shown

MakeFault = Callable[[str, str], Fault]
"""Makes a fault of a code and of what the server did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRules:
    """What the events of one stream must keep to.

    Attributes:
        request_id: whose answers they are; ``None`` where those of many come.
        limit_bytes: of one event.
        budget: of what nobody asked for.
        fault: says what the server did.
        report: is told what a request's answer is worth; ``None`` stands for whoever waits.
    """

    request_id: RequestId | None
    limit_bytes: int
    bounds: JsonBounds
    budget: ChatterBudget
    fault: MakeFault
    report: Callable[[RequestId | None, Fault], Awaitable[None]]


@dataclass(slots=True)
class _Event:
    lines: list[bytes] = field(default_factory=list[bytes])
    size: int = 0

    @property
    def is_message(self) -> bool:
        return all(name in (b"", b"message") for name in self._values(b"event"))

    @property
    def data(self) -> bytes:
        return b"\n".join(self._values(b"data"))

    def _values(self, name: bytes) -> list[bytes]:
        prefix = name + b":"
        return [line[len(prefix) :].removeprefix(b" ") for line in self.lines if line.startswith(prefix)]


class CheckedEvents(httpx2.AsyncByteStream):
    """An event stream out of which only whole events come, and no answer that cannot be used."""

    def __init__(self, inner: httpx2.AsyncByteStream, rules: EventRules) -> None:
        self._inner = inner
        self._rules = rules
        self._assembler = LineAssembler(rules.limit_bytes)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        event = _Event()
        async for chunk in self._inner:
            for line in self._assembler.feed(chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")):
                if line:
                    event = await self._longer(event, line)
                    continue
                data = event.data if event.is_message else b""
                if event.lines and (not data or await self._is_usable(data)):
                    yield b"\n".join(event.lines) + b"\n\n"
                event = _Event()
            await self._bound(event.size + self._assembler.pending_bytes)

    async def aclose(self) -> None:
        """Close the stream."""
        await self._inner.aclose()

    async def _longer(self, event: _Event, line: bytes | OversizedLine) -> _Event:
        await self._bound(event.size + (line.size if isinstance(line, OversizedLine) else len(line)))
        assert not isinstance(line, OversizedLine)  # noqa: S101 - such a line is over the bound
        event.lines.append(line)
        event.size += len(line)
        return event

    async def _bound(self, size: int) -> None:
        if size > self._rules.limit_bytes:
            what = f"sent a message of more than {self._rules.limit_bytes:,} bytes"
            await self._rules.report(self._rules.request_id, self._rules.fault("payload_too_large", what))
            raise httpx2.ReadError("The event exceeds the limit.")

    async def _is_usable(self, data: bytes) -> bool:
        if CHATTER.match(data):
            return not self._rules.budget.is_exceeded(by_request=False)
        try:
            message: object = parse_json(data, bounds=self._rules.bounds)
        except InvalidJson as error:
            what = f"sent an answer that cannot be used. {error.message}"
            await self._refuse(data, self._rules.fault("invalid_result", what))
            return False
        if not is_object(message) or not message.keys() & {"result", "error", "method"}:
            return True
        if not ("result" in message or "error" in message):
            return not self._rules.budget.is_exceeded(by_request="id" in message)
        answered = message.get("id")
        if self._rules.request_id in (None, answered):
            return True
        what = f"sent an answer with the id {shown(answered)}, under which nothing was asked here"
        await self._refuse(data, self._rules.fault("protocol_error", what))
        return False

    async def _refuse(self, data: bytes, fault: Fault) -> None:
        request_id = self._rules.request_id
        if request_id is None:
            request_id = next(iter(ids_in(data)), None)
        if request_id is not None:
            await self._rules.report(request_id, fault)
