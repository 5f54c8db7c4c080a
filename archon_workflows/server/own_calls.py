"""Who may call this server: anyone but the steps of workflows, whose calls would lead back to it."""

from collections.abc import Mapping
from typing import Any

from archon_workflows.errors import InvalidRequest
from archon_workflows.gateway.port import IDEMPOTENCY_KEY, TRACE_STATE, TRACE_STATE_OF_STEPS


def refuse_steps(tool_name: str, meta: Mapping[str, Any]) -> None:
    """Refuse a call that a step of a workflow made, directly or through a server that passed it on.

    Args:
        tool_name: the tool of this server that is called.
        meta: the call's ``_meta``.

    Raises:
        InvalidRequest: ``called_from_step``.
    """
    if IDEMPOTENCY_KEY not in meta and TRACE_STATE_OF_STEPS not in str(meta.get(TRACE_STATE, "")):
        return
    raise InvalidRequest(
        f"A step of a workflow called {tool_name}; the tools of a workflow server are not for steps.",
        code="called_from_step",
        suggestion="Use a workflow_link step to run another workflow.",
    )
