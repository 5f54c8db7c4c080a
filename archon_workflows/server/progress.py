"""What the caller hears while an execution goes on: MCP progress notifications.

``progress`` is the execution's percentage; since MCP wants it to grow with every notification, news
without a higher percentage move it by a hair.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.mcpserver import Context

from archon_workflows.engine.executions import Executions
from archon_workflows.model.records import ExecutionRecord
from archon_workflows.server.presentation.executions import describe_progress
from archon_workflows.server.standing import read_standing

TOTAL = 100.0
HAIR = 0.001

OnChange = Callable[[ExecutionRecord], Awaitable[None]]


class ProgressReport:
    """Reports an execution's changes to the request that waits for it."""

    def __init__(self, executions: Executions, context: Context[Any, Any]) -> None:
        self._executions = executions
        self._context = context
        self._progress = 0.0

    @property
    def on_change(self) -> OnChange | None:
        """What to call at each change; ``None`` when the caller did not ask for progress."""
        meta = self._context.request_context.meta or {}
        return self._report if "progress_token" in meta else None

    async def _report(self, execution: ExecutionRecord) -> None:
        standing = await read_standing(self._executions, execution)
        a_hair_more = self._progress + (TOTAL - self._progress) * HAIR
        self._progress = max(execution.progress_percentage, a_hair_more)
        await self._context.report_progress(self._progress, TOTAL, describe_progress(standing))
