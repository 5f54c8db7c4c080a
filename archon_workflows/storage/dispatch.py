"""Dispatch: which worker looks at which execution, by jobs in PgQueuer's tables beside the workflow tables.

A job says no more than "look at this execution"; the executions themselves stay the truth, so a job may be
lost, doubled or late without harm. The tables are unlogged for that reason, in a schema of their own.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import anyio
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.executors import EntrypointExecutor, EntrypointExecutorParameters
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import FailingListenerError, RetryRequested
from pgqueuer.domain.models import Job
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel

from archon_workflows.errors import StorageError
from archon_workflows.storage import statements
from archon_workflows.storage.sessions import Session, SessionLimits, open_session, translated

logger = logging.getLogger(__name__)

SCHEMA: Final = "archon_workflow_dispatch"
_NAMES: Final = DBSettings(
    prefix="", db_schema=SCHEMA, channel=Channel(SCHEMA), durability=Durability.volatile
)
_LIMITS: Final = SessionLimits(application_name="archon-workflows dispatch", lock=60)
_LARGEST_BATCH: Final = 10
_CLOSE_SECONDS: Final = 5.0

SCHEDULE_JOB: Final = "schedule"
"""The jobs of schedules that are due, as ``FREE_WITHOUT_JOB`` names them."""

Fire = Callable[[UUID], Awaitable[None]]
"""Starts what a schedule has due."""

Attend = Callable[[UUID], Awaitable[float | None]]
"""Looks at an execution until nothing is left to do here; returns after how many seconds to look again."""


class Dispatch:
    """The jobs as one worker sees them, over one session; open it with ``open_dispatch``."""

    def __init__(self, session: Session, attend: Attend, fire: Fire) -> None:
        self._attend = attend
        self._fire = fire
        self._line = _Line(session, self._stop)
        self._queries = _queries_over(self._line)
        self._manager = QueueManager(self._queries, _NAMES.channel)
        self._tools_of: dict[str, frozenset[str]] = {}
        self._register(SCHEDULE_JOB, self._fire_job)

    async def add_free(self) -> None:
        """Make a job for each execution that is free, and each schedule that is due, and has none.

        Raises:
            StorageError: the database is away.
        """
        async with translated():
            free = await self._line.fetch(statements.FREE_WITHOUT_JOB)
            if not free:
                return
            entrypoints = [str(row["entrypoint"]) for row in free]
            ids: list[Any] = [row["id"] for row in free]
            await self._queries.enqueue(
                entrypoints,
                [one.bytes for one in ids],
                [int(str(row["priority"])) for row in free],
                dedupe_key=[f"{name}/{one}" for name, one in zip(entrypoints, ids, strict=True)],
                on_conflict="skip",
            )

    async def accept(self, offered_tools: Collection[str]) -> None:
        """From now on take the jobs of executions that need no other tools than these.

        Raises:
            StorageError: the database is away.
        """
        async with translated():
            unknown = await self._line.fetch(statements.UNKNOWN_JOBS, list(self._tools_of))
        for row in unknown:
            tools: Any = row["tools"]
            self._tools_of[str(row["entrypoint"])] = frozenset(tools)
        offered = frozenset(offered_tools)
        for entrypoint, tools in self._tools_of.items():
            if tools <= offered and entrypoint not in self._manager.entrypoint_registry:
                self._register(entrypoint, self._attend_job)

    async def forget_history(self) -> None:
        """Remove what PgQueuer logged of jobs that are over.

        Raises:
            StorageError: the database is away.
        """
        async with translated():
            await self._queries.clear_queue_log([SCHEDULE_JOB, *self._tools_of])

    async def run(self, *, at_once: int, silence_seconds: float, poll_seconds: float) -> None:
        """Attend to jobs until cancelled; what is attended to then is left as it is.

        Args:
            at_once: how many executions to attend to at the same time.
            silence_seconds: how long a worker may be silent before others look at what it attended to.
            poll_seconds: how often to look for such, and for jobs whose announcement was missed.

        Raises:
            StorageError: the session was lost.
        """
        task = asyncio.create_task(
            self._manager.run(
                dequeue_timeout=timedelta(seconds=poll_seconds),
                batch_size=max(1, min(_LARGEST_BATCH, at_once // 2)),
                max_concurrent_tasks=max(at_once, 2),
                shutdown_on_listener_failure=True,
                heartbeat_timeout=timedelta(seconds=silence_seconds),
                log_aggregation_interval=timedelta(0),
            )
        )
        try:
            await asyncio.wait({task})
        finally:
            self._stop()
            with anyio.CancelScope(shield=True):
                await asyncio.wait({task}, timeout=_CLOSE_SECONDS)
                task.cancel()
                await asyncio.wait({task})
        await _outcome_of(task)

    def _stop(self) -> None:
        self._manager.shutdown.set()

    def _register(self, entrypoint: str, work: Callable[[Job], Awaitable[None]]) -> None:
        parameters = EntrypointExecutorParameters(concurrency_limit=0, func=work)
        self._manager.register_executor(entrypoint, EntrypointExecutor(parameters))

    async def _fire_job(self, job: Job) -> None:
        await self._fire(UUID(bytes=job.payload))

    async def _attend_job(self, job: Job) -> None:
        """Attend to one execution; a job whose manager stops is over, whatever became of the execution."""
        again: float | None = None

        async def attend() -> None:
            nonlocal again
            again = await self._attend(UUID(bytes=job.payload))
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attend)
            await self._manager.shutdown.wait()
            tasks.cancel_scope.cancel()
        if again is not None:
            raise RetryRequested(timedelta(seconds=again), reason="owned by another process")


@asynccontextmanager
async def open_dispatch(url: str, attend: Attend, fire: Fire) -> AsyncGenerator[Dispatch]:
    """Yield the jobs of the database at ``url``, whose tables are made if they are missing.

    Args:
        url: of a direct connection, or one pooled by session.
        attend: is given each execution that this worker is to look at.
        fire: is given each schedule that is due.

    Raises:
        StorageError: the database cannot be reached, or the tables cannot be made.
    """
    await install_dispatch(url)
    session = await open_session(url, _LIMITS, reads_json=False)
    try:
        yield Dispatch(session, attend, fire)
    finally:
        session.terminate()


async def install_dispatch(url: str) -> None:
    """Make the tables of the jobs, or bring them up to date; safe to repeat, and for many at once.

    Raises:
        StorageError: the database cannot be reached, or the role may not make a schema.
    """
    session = await open_session(url, _LIMITS, reads_json=False)
    queries = _queries_over(AsyncpgDriver(session))  # pyright: ignore[reportArgumentType] - a driver's connection
    try:
        async with translated():
            await session.execute(statements.LOCK_DISPATCH)
            if await queries.schema_is_installed():
                await queries.upgrade()
            else:
                await queries.install()
    finally:
        session.terminate()


class _Line(AsyncpgDriver):
    """The session as PgQueuer uses it; tells when something went wrong on it: PgQueuer gives up then."""

    def __init__(self, session: Session, failed: Callable[[], None]) -> None:
        super().__init__(session)  # pyright: ignore[reportArgumentType] - a driver's connection
        self._failed = failed

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        try:
            return await super().fetch(query, *args)
        except Exception:
            self._failed()
            raise

    async def execute(self, query: str, *args: object) -> str:
        try:
            return await super().execute(query, *args)
        except Exception:
            self._failed()
            raise


def _queries_over(driver: AsyncpgDriver) -> Queries:
    return Queries(
        driver,
        qbe=QueryBuilderEnvironment(_NAMES),
        qbq=QueryQueueBuilder(_NAMES),
        qbs=QuerySchedulerBuilder(_NAMES),
    )


async def _outcome_of(task: asyncio.Task[None]) -> None:
    if task.cancelled():
        return
    async with translated():
        try:
            task.result()
        except FailingListenerError as error:
            raise StorageError(
                "The session of the dispatch hears nothing any more.", code="database_unavailable"
            ) from error
