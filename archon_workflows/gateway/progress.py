"""Progress of a running call, thinned to what a reader can follow."""

import logging
import math
from collections.abc import Callable

import anyio

from archon_workflows.gateway.port import ToolProgress

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN = 0.1
_MESSAGE_CHARACTERS = 1_000


class ProgressFilter:
    """Passes on at most ten notifications a second: the first of a burst at once, the last at the end.

    Args:
        listener: what the caller wants to be told; its errors are logged and change nothing.
    """

    def __init__(self, listener: Callable[[ToolProgress], None]) -> None:
        self._listener = listener
        self._latest: ToolProgress | None = None
        self._next_at = -math.inf
        self._finished = False

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """Take one notification; the SDK calls it."""
        if self._finished or not math.isfinite(progress):
            return
        shown_total = total if total is not None and math.isfinite(total) else None
        self._latest = ToolProgress(
            progress=progress, total=shown_total, message=message[:_MESSAGE_CHARACTERS] if message else None
        )
        if anyio.current_time() >= self._next_at:
            self._pass_on()

    def finish(self) -> None:
        """Pass on what was held back, and nothing afterwards."""
        if not self._finished:
            self._finished = True
            self._pass_on()

    def _pass_on(self) -> None:
        latest, self._latest = self._latest, None
        if latest is None:
            return
        self._next_at = anyio.current_time() + _SECONDS_BETWEEN
        try:
            self._listener(latest)
        except Exception:
            logger.exception("The listener of a tool's progress failed")
