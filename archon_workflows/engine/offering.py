"""What this process offers to executions: the tools that it can call, told to the database while it lives.

Tool servers are asked for their tools only when an execution that nobody owns needs one that is not known.
"""

import logging
from collections.abc import Callable, Sequence

import anyio
from anyio.abc import TaskGroup

from archon_workflows.errors import StorageError
from archon_workflows.gateway.port import Gateway
from archon_workflows.model.records import WorkerKind, WorkerReport
from archon_workflows.storage.repository import Repository

logger = logging.getLogger(__name__)

FAREWELL_SECONDS = 2.0
"""How long saying goodbye may take; a worker that could not is forgotten when its time is over."""


class Offering:
    """Reports the process as a worker, and finds out what it can call when that is needed.

    Args:
        lifetime_seconds: how long the database counts it as living after each report.
    """

    def __init__(
        self,
        repository: Repository,
        gateway: Gateway,
        *,
        owner_id: str,
        kind: WorkerKind,
        max_executions: int,
        lifetime_seconds: float,
    ) -> None:
        self._repository = repository
        self._gateway = gateway
        self._owner_id = owner_id
        self._kind: WorkerKind = kind
        self._max_executions = max_executions
        self._lifetime_seconds = lifetime_seconds
        self._wanted = anyio.Event()
        self._is_listing = False

    @property
    def tools(self) -> Sequence[str]:
        """Every name by which a step can mean a tool that is known here."""
        return tuple(self._gateway.offer().names)

    def look(self) -> None:
        """Find out soon what free executions need, unless everything that can be called is known already."""
        if not self._gateway.offer().is_complete:
            self._wanted.set()

    async def keep_reporting(self, grown: Callable[[], None]) -> None:
        """Report until cancelled, then say goodbye; ``grown`` is called when more tools are known."""
        try:
            async with anyio.create_task_group() as tasks:
                while True:
                    await self._report(tasks, grown)
                    with anyio.move_on_after(self._lifetime_seconds / 3):
                        await self._wanted.wait()
                    self._wanted = anyio.Event()
        finally:
            with anyio.move_on_after(FAREWELL_SECONDS, shield=True):
                await self._say_goodbye()

    async def _report(self, tasks: TaskGroup, grown: Callable[[], None]) -> None:
        offer = self._gateway.offer()
        report = WorkerReport(
            owner_id=self._owner_id,
            kind=self._kind,
            offered_tools=tuple(offer.names),
            has_listed_all=offer.is_complete,
            max_executions=self._max_executions,
        )
        try:
            missed = await self._repository.report_worker(report, lifetime_seconds=self._lifetime_seconds)
        except StorageError as error:
            logger.warning("This worker could not report itself: %s", error)
            return
        if missed and not offer.is_complete and not self._is_listing:
            self._is_listing = True
            tasks.start_soon(self._list, grown)

    async def _list(self, grown: Callable[[], None]) -> None:
        before = self._gateway.offer().names
        try:
            await self._gateway.tools()
        finally:
            self._is_listing = False
        if self._gateway.offer().names != before:
            self._wanted.set()
            grown()

    async def _say_goodbye(self) -> None:
        try:
            await self._repository.remove_worker(self._owner_id)
        except StorageError as error:
            logger.warning("This worker could not say goodbye: %s", error)
