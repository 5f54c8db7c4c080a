"""The port to the tools: one protocol, so that engine and tests need not know how a tool is reached."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from archon_workflows.model.outcomes import JsonValue, Outcome, StepError

WORKFLOW_SERVER = "archon-workflows"
"""What a workflow server calls itself when MCP asks who it is."""

IDEMPOTENCY_KEY = "archon-workflows/idempotency-key"
"""The key in a call's ``_meta`` under which the idempotency key is sent."""

TRACE_PARENT = "traceparent"
"""The key in a call's ``_meta`` for the W3C trace context."""

TRACE_STATE = "tracestate"
"""The key in a call's ``_meta`` for the W3C trace state, which proxies pass on with the trace parent."""

TRACE_STATE_OF_STEPS = "archon-workflows=step"
"""The trace state of every call that a step makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEntry:
    """One tool of one tool server as ``tools/list`` describes it.

    Attributes:
        destructive: ``destructiveHint`` as the server gave it; ``None`` when it did not say.
        idempotent: ``idempotentHint``, likewise.
        read_only: ``readOnlyHint``, likewise.
        fingerprint: SHA-256 of name, description, schemas and annotations; empty when nobody took it.
        is_workflow_server: whether the server says that it is a workflow server.
    """

    server: str
    name: str
    title: str | None = None
    description: str | None = None
    input_schema: Mapping[str, Any] = field(default_factory=dict[str, Any])
    output_schema: Mapping[str, Any] | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    read_only: bool | None = None
    fingerprint: str = ""
    is_workflow_server: bool = False

    @property
    def address(self) -> str:
        """The unambiguous name: ``server/tool``."""
        return f"{self.server}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolProgress:
    """One progress notification of a running call."""

    progress: float
    total: float | None = None
    message: str | None = None


class Permit(Protocol):
    """The right to make a call, which may end before the call is sent."""

    @property
    def runs(self) -> bool:
        """Whether it holds now."""
        ...

    async def hold(self) -> None:
        """Return when it holds; whoever knows that it never will cancels the wait."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call to make.

    Attributes:
        idempotency_key: sent in ``_meta``; the same for every attempt of the same step occurrence.
        trace_parent: W3C ``traceparent``, sent in ``_meta``.
        timeout_seconds: deadline of the whole call, connecting included; while the server has as many calls
            as it may have, the time stands still.
        permit: without it the call is not sent; it is looked at again when the request is written.
        admission: is shown the tool before anything is sent; an error that it returns is the outcome.
    """

    tool_name: str
    arguments: Mapping[str, JsonValue]
    idempotency_key: str
    trace_parent: str
    timeout_seconds: float
    on_progress: Callable[[ToolProgress], None] | None = None
    permit: Permit | None = None
    admission: Callable[[ToolEntry], StepError | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """How a tool server is doing: ``connected``, ``connecting``, ``failed`` (with ``error``) or ``idle``."""

    name: str
    transport: str
    state: str
    error: str | None = None
    tool_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOffer:
    """What can be called, as far as it is known.

    Attributes:
        names: each tool in every spelling that a step may use; of a server that is away, as last listed.
        is_complete: false: some server has not been listed yet.
    """

    names: frozenset[str]
    is_complete: bool


class Gateway(Protocol):
    """What the engine asks of the tool servers."""

    async def tools(self) -> tuple[ToolEntry, ...]:
        """Return the tools of every reachable server, connecting where needed (bounded by a deadline)."""
        ...

    def offer(self) -> ToolOffer:
        """Return what is known to be callable; nothing is connected for it."""
        ...

    async def servers(self) -> tuple[ServerState, ...]:
        """Return the state of every configured server."""
        ...

    async def resolve(self, tool_name: str) -> ToolEntry:
        """Find the tool that a step means: exact name, ``server/tool``, then ``tool_server``.

        Raises:
            ToolServerError: ``unknown_tool`` or ``ambiguous_tool`` with the candidates, or
                ``tool_server_unavailable`` when a server that may have it cannot be reached.
        """
        ...

    async def call(self, call: ToolCall) -> Outcome:
        """Resolve, check the arguments, call, and read the answer; every failure is an ``Outcome``.

        Cancelling the caller cancels the call at the server.
        """
        ...
