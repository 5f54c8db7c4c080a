"""Tool calls as the engine makes them: with a key, a trace, a deadline, and an outcome for every failure."""

import logging
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from archon_workflows.engine.lease import Lease
from archon_workflows.engine.tool_policy import ToolPolicy
from archon_workflows.errors import ToolServerError, origin_of
from archon_workflows.gateway.port import Gateway, ToolCall, ToolEntry, ToolProgress
from archon_workflows.interpreter import (
    CallTool,
    InterruptionDecided,
    LookUpInterrupted,
    LookUpTool,
    ToolLookedUp,
)
from archon_workflows.model.outcomes import Failed, Outcome, StepError

logger = logging.getLogger(__name__)


class ToolCaller:
    """Calls tools for all owners of the process.

    Args:
        policy: which calls need approval.
        timeout_seconds: of a call whose step gives none.
    """

    def __init__(self, gateway: Gateway, policy: ToolPolicy, *, timeout_seconds: float) -> None:
        self._gateway = gateway
        self._policy = policy
        self._timeout_seconds = timeout_seconds

    async def call(
        self,
        command: CallTool,
        *,
        trace_id: UUID,
        lease: Lease,
        admission: Callable[[ToolEntry], StepError | None],
        on_progress: Callable[[ToolProgress], None],
    ) -> Outcome:
        """Make the call while the lease runs; whatever goes wrong is an outcome."""
        await lease.hold()
        call = ToolCall(
            tool_name=command.tool_name,
            arguments=command.arguments,
            idempotency_key=command.idempotency_key,
            trace_parent=trace_parent(trace_id, command.idempotency_key),
            timeout_seconds=command.timeout_seconds or self._timeout_seconds,
            on_progress=on_progress,
            permit=lease,
            admission=admission,
        )
        try:
            return await self._gateway.call(call)
        except Exception as error:  # noqa: BLE001 - whatever it is, the step must hear of it
            logger.error("Calling the tool %r broke the gateway: %s", command.tool_name, origin_of(error))  # noqa: TRY400 - without its text
            message = (
                f"Calling the tool {command.tool_name!r} failed inside the workflow server; see its log."
            )
            return Failed(StepError("internal_error", message))

    async def look_up(self, command: LookUpTool, now: Callable[[], datetime]) -> ToolLookedUp:
        """Say whether someone must approve a call; a tool that nobody can ask for may be destructive."""
        try:
            tool = await self._gateway.resolve(command.tool_name)
        except ToolServerError as error:
            if error.code in ("unknown_tool", "ambiguous_tool"):
                return ToolLookedUp(command.path, None, now())  # the call itself says so
            reason = f"the tool {command.tool_name!r} cannot be looked up, so it may be destructive"
            return ToolLookedUp(command.path, reason, now())
        return ToolLookedUp(command.path, self._policy.approval_reason(tool), now())

    async def decide_interruption(
        self, command: LookUpInterrupted, now: Callable[[], datetime]
    ) -> InterruptionDecided:
        """Say whether an interrupted call may be repeated; what nobody knows waits for someone's word."""
        try:
            tool = await self._gateway.resolve(command.tool_name)
        except ToolServerError as error:
            reason = (
                f"the tool cannot be looked up ({error.code}), so nobody knows whether repeating it is safe"
            )
            return InterruptionDecided(command.path, "pause", reason, now())
        if tool.destructive and not tool.idempotent:
            reason = f"the tool {tool.address!r} is destructive and not idempotent"
            return InterruptionDecided(command.path, "pause", reason, now())
        reason = f"the tool {tool.address!r} may be called again"
        return InterruptionDecided(command.path, "retry", reason, now())


def trace_parent(trace_id: UUID, span_name: str) -> str:
    """Return a W3C ``traceparent`` (https://www.w3.org/TR/trace-context/): one trace an execution tree."""
    return f"00-{trace_id.hex}-{sha256(span_name.encode()).hexdigest()[:16]}-01"
