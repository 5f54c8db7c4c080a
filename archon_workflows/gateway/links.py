"""What a session needs of its transport beside the messages: to learn that it has ended, and why.

And, the other way round, which calls may not be sent any more when their turn to be written has come.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import anyio
from mcp_types import JSONRPCError, JSONRPCMessage, JSONRPCRequest

from archon_workflows.gateway.faults import Fault
from archon_workflows.gateway.port import IDEMPOTENCY_KEY, Permit
from archon_workflows.model.outcomes import JsonValue

_CALL = "tools/call"


class Link:
    """The life of one connection to a tool server.

    Args:
        server: the tool server's name.
    """

    def __init__(self, server: str) -> None:
        self.server = server
        self.lost = anyio.Event()
        self.is_closing = False
        """Whether it is known to be of no more use although the reason is still being looked for."""
        self.fault = Fault(
            code="connection", message=f"The connection to the tool server {server!r} was lost."
        )
        self._wanted: dict[str, list[Permit | None]] = {}

    @contextmanager
    def permitting(self, meta: Mapping[str, str], permit: Permit | None) -> Generator[None]:
        """Inside the block the call with that idempotency key is sent if the permit runs; after it never."""
        key = meta.get(IDEMPOTENCY_KEY, "")
        wanted = self._wanted.setdefault(key, [])
        wanted.append(permit)
        try:
            yield
        finally:
            wanted.remove(permit)
            if not wanted:
                del self._wanted[key]

    def refusal(self, message: JSONRPCMessage) -> JSONRPCError | None:
        """Return the answer to a message that is not to be written any more."""
        if not isinstance(message, JSONRPCRequest) or message.method != _CALL or message.params is None:
            return None
        meta = cast("Mapping[str, Any]", message.params.get("_meta") or {})
        wanted = self._wanted.get(str(meta.get(IDEMPOTENCY_KEY, "")), ())
        if any(permit is None or permit.runs for permit in wanted):
            return None
        what = "The right to make the call ran out." if wanted else "Nobody waits for the call any more."
        return Fault(code="connection", message=what, sent=False).as_message(message.id)

    def end(self, fault: Fault | None = None) -> None:
        """Declare the connection lost; the first reason counts; it leaves calls in flight unknown."""
        if fault is not None and not self.lost.is_set():
            self.fault = replace(fault, sent=True, answered=False)
        self.lost.set()

    def diagnosis(self) -> dict[str, JsonValue]:
        """Return what may explain a silence, for the details of an error."""
        return {}
