"""What can go wrong between the gateway and a tool server, and which outcome it means for a call.

A fault is known on this side of the wire only: the transports put it where the SDK carries an error's
``data``, and nothing that a server sends can look like one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR, INVALID_PARAMS, ErrorData, JSONRPCError, RequestId

from archon_workflows.errors import ToolServerError
from archon_workflows.model.outcomes import Failed, JsonValue, StepError, Unknown

_RATE_LIMIT_CODES = frozenset({429, -32029, -32429})
_RATE_LIMIT_TEXT = re.compile(
    r"\btoo many requests\b|\brate[ -]?limit(ed| exceeded| reached)?\b", re.IGNORECASE
)
_LOST_STREAM = "SSE stream"
_SHOWN_TEXT = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a call got no usable answer.

    Attributes:
        code: the stable code of the step's error.
        sent: whether the request may have reached the tool.
        answered: whether an answer came, readable or not: then the outcome is no longer unknown.
    """

    code: str
    message: str
    details: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    sent: bool = True
    answered: bool = False

    def as_outcome(self) -> Failed | Unknown:
        """Return ``Unknown`` when the tool may have run and nobody knows how it ended."""
        error = StepError(self.code, self.message, self.details)
        return Failed(error) if self.answered or not self.sent else Unknown(error)

    def as_unsent(self) -> "Fault":
        """Return the same fault for a call that was never written."""
        return replace(self, sent=False)

    def as_message(self, request_id: RequestId) -> JSONRPCError:
        """Return the answer that tells the caller of ``request_id`` of the fault."""
        error = ErrorData(code=INTERNAL_ERROR, message=self.message, data=self)
        return JSONRPCError(jsonrpc="2.0", id=request_id, error=error)

    def as_error(self) -> ToolServerError:
        """Return the fault as an error of the tool server."""
        return ToolServerError(self.message, code=self.code, details=self.details)


class CallFault(Exception):
    """Raised inside the gateway where a call cannot go on; never leaves it."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def fault_in(error: MCPError, *, server: str, lost: Fault | None) -> Fault:
    """Say what an error of the SDK means for the call that got it.

    Args:
        error: from the server, or made by the SDK.
        server: its name.
        lost: why the session ended, if it has.
    """
    data: Any = error.data
    if isinstance(data, Fault):
        return data
    if lost is not None and error.code == CONNECTION_CLOSED:
        return lost
    if error.code == CONNECTION_CLOSED and error.message.startswith(_LOST_STREAM):
        return Fault(
            code="connection", message=f"The tool server {server!r} broke the answer off: {error.message}."
        )
    return _refusal(error, server)


def says_rate_limited(text: str) -> bool:
    """Say whether an error's text clearly names a rate limit."""
    return _RATE_LIMIT_TEXT.search(text[:_SHOWN_TEXT]) is not None


def _refusal(error: MCPError, server: str) -> Fault:
    text = error.message[:_SHOWN_TEXT]
    details = {"server": server, "json_rpc_code": error.code}
    return Fault(
        code=_code_of(error),
        message=f"The tool server {server!r} refused the call: {text or 'it gave no reason'}",
        details=details,
        answered=True,
    )


def _code_of(error: MCPError) -> str:
    if error.code in _RATE_LIMIT_CODES or says_rate_limited(error.message):
        return "rate_limited"
    return "invalid_arguments" if error.code == INVALID_PARAMS else "protocol_error"
