"""What the lines of a stdio server mean: messages, noise, or answers that cannot be used.

A line that is no message is tolerated (servers print banners). A line that was an answer but cannot be used
(malformed, binary, hostile numbers, too long, an id that nobody asked under) becomes an error for the call
that it answers: the one whose id can be read in it, else the only one in flight. So nobody waits for an
answer that already came. Pure but for a clock that is passed in.
"""

import logging
import re
from collections.abc import Callable
from typing import cast

from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, RequestId, jsonrpc_message_adapter
from pydantic import ValidationError

from archon_workflows.gateway.faults import CallFault, Fault
from archon_workflows.gateway.limits import GatewayLimits
from archon_workflows.gateway.lines import OversizedLine, ids_in
from archon_workflows.gateway.stdio_calls import FIRST_CALL_ID
from archon_workflows.model.json_values import BOUNDS, InvalidJson, JsonBounds, shown
from archon_workflows.model.outcomes import JsonValue

logger = logging.getLogger(__name__)

CHATTER = re.compile(
    rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"method"\s*:\s*"notifications/(?:progress|message)"'
)
"""What floods are made of, known by its first bytes."""

_LONG_LIVED = "subscriptions/listen"
_LOGGED_STRAYS = 5
_EDGE_BYTES = 4_096
_ENVELOPE_DEPTH = 8


def message_bounds(limits: GatewayLimits) -> JsonBounds:
    """Return the bounds of a whole message: its envelope is allowed for; values meet the normaliser later."""
    return JsonBounds(depth=BOUNDS.depth + _ENVELOPE_DEPTH, text_characters=limits.message_bytes)


class ChatterBudget:
    """How much a server may say without being asked: so many messages a second, and what is more is dropped.

    Args:
        limits: of notifications, and of requests of its own.
        clock: seconds, monotonic.
    """

    def __init__(self, limits: GatewayLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._second = 0.0
        self._notifications = 0
        self._requests = 0

    def is_exceeded(self, *, by_request: bool) -> bool:
        """Count one message; say whether it is one too many."""
        now = self._clock()
        if now - self._second >= 1:
            self._second, self._notifications, self._requests = now, 0, 0
        if by_request:
            self._requests += 1
            return self._requests > self._limits.requests_per_second
        self._notifications += 1
        return self._notifications > self._limits.notifications_per_second


class Outstanding:
    """The requests of one session that wait for an answer."""

    def __init__(self) -> None:
        self._waiting: dict[RequestId, str] = {}
        self._highest_issued = 0
        self._highest_call = 0

    def note_sent(self, message: JSONRPCMessage) -> None:
        """Remember a request; forget one that is being cancelled."""
        if isinstance(message, JSONRPCRequest):
            if isinstance(message.id, int) and message.id >= FIRST_CALL_ID:
                self._highest_call = message.id
            elif isinstance(message.id, int):
                self._highest_issued = max(self._highest_issued, message.id)
            if message.method != _LONG_LIVED:
                self._waiting[message.id] = message.method
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._waiting.pop(cast("RequestId", (message.params or {}).get("requestId")), None)

    def note_answered(self, request_id: RequestId) -> None:
        """Forget a request."""
        self._waiting.pop(request_id, None)

    def was_issued(self, request_id: RequestId) -> bool:
        """Say whether a request can have had that id: a late or second answer is harmless."""
        number = coerce_request_id(request_id)
        if isinstance(number, str):
            return True
        return 0 < number <= self._highest_issued or FIRST_CALL_ID <= number <= self._highest_call

    def blamed(self, line: bytes | OversizedLine) -> RequestId | None:
        """Return the request that an unusable line answers, as far as anyone can tell."""
        for request_id in ids_in(line):
            if request_id in self._waiting:
                return request_id
        only = next(iter(self._waiting.items())) if len(self._waiting) == 1 else (None, "")
        return only[0] if only[1].startswith("tools/") else None


class InboundLines:
    """Reads one server's lines.

    Args:
        server: its name, for messages.
        limits: see ``GatewayLimits``.
        clock: seconds, monotonic.
    """

    def __init__(self, server: str, limits: GatewayLimits, clock: Callable[[], float]) -> None:
        self.outstanding = Outstanding()
        self.stray_count = 0
        self.last_stray = ""
        self._server = server
        self._limits = limits
        self._budget = ChatterBudget(limits, clock)
        self._strays_in_a_row = 0

    def is_ignored(self, line: bytes | OversizedLine) -> bool:
        """Say whether a line is empty, or one of a flood of progress and log messages; cheap."""
        if isinstance(line, OversizedLine):
            return False
        if not line or line.isspace():
            return True
        if CHATTER.match(line) is None:
            return False
        return self._budget.is_exceeded(by_request=False)

    def message(self, line: bytes | OversizedLine, value: JsonValue | InvalidJson) -> SessionMessage | None:
        """Return the message for the session, or ``None`` for a stray line.

        Args:
            line: as it came.
            value: what ``parse_json`` made of it, or why it could not.

        Raises:
            CallFault: too many stray lines in a row; the session must end.
        """
        if isinstance(line, OversizedLine):
            return self._unusable(line, self._too_large(line.size))
        if isinstance(value, InvalidJson):
            if _claims_json_rpc(line) or _is_binary(line):
                return self._unusable(line, self._malformed(value))
            return self._stray(line)
        return self._parsed(line, value)

    def too_large(self, head: OversizedLine) -> SessionMessage | None:
        """Return the answer for the call whose result has no end."""
        return self._unusable(head, self._too_large(head.size))

    def _parsed(self, line: bytes, value: JsonValue) -> SessionMessage | None:
        try:
            message = jsonrpc_message_adapter.validate_python(value, by_name=False)
        except ValidationError:
            if not _claims_json_rpc(line):
                return self._stray(line)
            return self._unusable(
                line, self._broken_protocol(f"a message that is not JSON-RPC: {shown(value)}")
            )
        if not isinstance(message, (JSONRPCRequest, JSONRPCNotification)):
            if message.id is None or not self.outstanding.was_issued(message.id):
                return self._unusable(line, self._unasked(message.id))
            self.outstanding.note_answered(message.id)
        elif self._is_unsolicited_flood(line, by_request=isinstance(message, JSONRPCRequest)):
            return None
        self._strays_in_a_row = 0
        return SessionMessage(message)

    def _is_unsolicited_flood(self, line: bytes, *, by_request: bool) -> bool:
        return CHATTER.match(line) is None and self._budget.is_exceeded(by_request=by_request)

    def _unusable(self, line: bytes | OversizedLine, fault: Fault) -> SessionMessage | None:
        request_id = self.outstanding.blamed(line)
        if request_id is None:
            return self._stray(line)
        self.outstanding.note_answered(request_id)
        return SessionMessage(fault.as_message(request_id))

    def _stray(self, line: bytes | OversizedLine) -> None:
        self.stray_count += 1
        self._strays_in_a_row += 1
        edge = line.head if isinstance(line, OversizedLine) else line
        self.last_stray = shown(edge[:200].decode(errors="replace"))
        if self.stray_count <= _LOGGED_STRAYS:
            logger.warning("Tool server %r printed a line that is no message", self._server)
        if self._strays_in_a_row > self._limits.stray_lines:
            message = f"The tool server {self._server!r} does not speak MCP on its stdout: {self.last_stray}."
            raise CallFault(Fault(code="protocol_error", message=message))

    def _too_large(self, size: int) -> Fault:
        limit = self._limits.message_bytes
        return Fault(
            code="payload_too_large",
            message=f"The tool server {self._server!r} sent a message of {size:,} bytes; "
            f"the limit is {limit:,}.",
            details={"server": self._server, "limit_bytes": limit},
            answered=True,
        )

    def _malformed(self, error: InvalidJson) -> Fault:
        return Fault(
            code="invalid_result",
            message=f"The tool server {self._server!r} sent an answer that cannot be used. {error.message}",
            details={"server": self._server, "path": error.path or ""},
            answered=True,
        )

    def _unasked(self, request_id: RequestId | None) -> Fault:
        return self._broken_protocol(
            f"an answer with the id {shown(request_id)}, under which nothing was asked"
        )

    def _broken_protocol(self, what: str) -> Fault:
        message = f"The tool server {self._server!r} sent {what}."
        return Fault(code="protocol_error", message=message, details={"server": self._server}, answered=True)


def _claims_json_rpc(line: bytes) -> bool:
    return b'"jsonrpc"' in line[:_EDGE_BYTES] or b'"jsonrpc"' in line[-_EDGE_BYTES:]


def _is_binary(line: bytes) -> bool:
    if b"\0" in line:
        return True
    try:
        line.decode()
    except UnicodeDecodeError:
        return True
    return False
