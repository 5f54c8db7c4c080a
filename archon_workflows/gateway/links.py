"""What a session needs of its transport beside the messages: to learn that it has ended, and why."""

from dataclasses import replace

import anyio

from archon_workflows.gateway.faults import Fault
from archon_workflows.model.outcomes import JsonValue


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

    def end(self, fault: Fault | None = None) -> None:
        """Declare the connection lost; the first reason counts; it leaves calls in flight unknown."""
        if fault is not None and not self.lost.is_set():
            self.fault = replace(fault, sent=True, answered=False)
        self.lost.set()

    def diagnosis(self) -> dict[str, JsonValue]:
        """Return what may explain a silence, for the details of an error."""
        return {}
