"""What a session needs of its transport beside the messages: to learn that it has ended, and why.

And, the other way round, which calls may not be sent any more when their turn to be written has come.
"""

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, cast

import anyio
from mcp.client import ClientSession
from mcp_types import Implementation, JSONRPCRequest

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

    @asynccontextmanager
    async def calling(
        self,
        session: ClientSession,
        client_info: Implementation,  # noqa: ARG002 - for links that open a session of their own
    ) -> AsyncGenerator[ClientSession]:
        """Yield the session for calls: the one that was opened, where there is no shorter way."""
        yield session

    def refusal(self, request: JSONRPCRequest) -> Fault | None:
        """Return why a call is not to be written any more."""
        if request.method != _CALL or request.params is None:
            return None
        meta = cast("Mapping[str, Any]", request.params.get("_meta") or {})
        wanted = self._wanted.get(str(meta.get(IDEMPOTENCY_KEY, "")), ())
        if any(permit is None or permit.runs for permit in wanted):
            return None
        what = "The right to make the call ran out." if wanted else "Nobody waits for the call any more."
        return Fault(code="connection", message=what, sent=False)

    def end(self, fault: Fault | None = None) -> None:
        """Declare the connection lost; the first reason counts; it leaves calls in flight unknown."""
        if fault is not None and not self.lost.is_set():
            self.fault = replace(fault, sent=True, answered=False)
        self.lost.set()

    def diagnosis(self) -> dict[str, JsonValue]:
        """Return what may explain a silence, for the details of an error."""
        return {}
