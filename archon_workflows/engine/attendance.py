"""A worker's attendance: it looks at the executions that the dispatch hands to it, for as long as it lives.

Every worker also makes the jobs: whatever is free (new, released, due, asked for something, or left by an
owner that died) gets one within ``poll_seconds``, and at once where the database announces it; so does a
schedule that is due. So whoever creates executions needs to know nothing of jobs.
"""

import logging
from datetime import timedelta
from typing import Final

import anyio

from archon_workflows.engine.clock import steady_seconds
from archon_workflows.engine.engine import Engine, EngineLimits
from archon_workflows.engine.scheduler import Scheduler
from archon_workflows.errors import StorageError
from archon_workflows.storage.dispatch import Dispatch, open_dispatch

logger = logging.getLogger(__name__)

GATHERED_SECONDS: Final = 0.01
"""How long news gathers between two looks, since every worker hears of everything."""

FORGET_SECONDS: Final = timedelta(minutes=10).total_seconds()
"""How often a worker clears away what is logged of jobs that are over."""


class Attendance:
    """Feeds an engine that ``is_dispatched``.

    Args:
        url: the database's, for a direct connection.
        limits: the engine's.
    """

    def __init__(self, engine: Engine, scheduler: Scheduler, url: str, limits: EngineLimits) -> None:
        self._engine = engine
        self._scheduler = scheduler
        self._url = url
        self._limits = limits
        self._forget_at = steady_seconds() + FORGET_SECONDS

    async def run(self) -> None:
        """Attend until cancelled; while the database is away, wait for it."""
        while True:
            try:
                async with open_dispatch(self._url, self._engine.attend, self._scheduler.fire) as dispatch:
                    await self._attend(dispatch)
            except* StorageError as trouble:
                logger.warning("Not attending for the moment: %s", trouble.exceptions[0])
            await anyio.sleep(self._limits.poll_seconds)

    async def _attend(self, dispatch: Dispatch) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_adding, dispatch)
            await dispatch.run(
                at_once=self._limits.max_executions,
                silence_seconds=self._limits.lease_seconds / 2,
                poll_seconds=self._limits.poll_seconds,
            )
            tasks.cancel_scope.cancel()

    async def _keep_adding(self, dispatch: Dispatch) -> None:
        while True:
            await self._engine.give_places()
            await dispatch.add_free()
            await dispatch.accept(self._engine.offered_tools)
            if steady_seconds() > self._forget_at:
                self._forget_at = steady_seconds() + FORGET_SECONDS
                await dispatch.forget_history()
            await anyio.sleep(GATHERED_SECONDS)
            await self._engine.next_hint()
