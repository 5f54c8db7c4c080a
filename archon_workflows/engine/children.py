"""Child executions: created for a link step, found again after a crash, waited for until they end."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from archon_workflows.engine.changes import Changes
from archon_workflows.engine.clock import DatabaseClock
from archon_workflows.engine.launch import Launcher
from archon_workflows.engine.retrying import until_database_answers
from archon_workflows.errors import StorageError, WorkflowError
from archon_workflows.interpreter import ChildFinished, StartChild
from archon_workflows.model.outcomes import StepError
from archon_workflows.model.records import TERMINAL_STATUSES, CreatedExecution, ExecutionRecord, Taker
from archon_workflows.storage.repository import Repository

LOOK_AGAIN_SECONDS = 2.0

Create = Callable[[Taker | None], Awaitable[CreatedExecution]]
"""Creates an execution, for whoever is to advance it."""


class Children:
    """Runs the children of this process's owners.

    Args:
        start: creates a child, and lets this process advance it at once if it executes at all.
        take: lets this process advance a child that is there.
        owns: whether this process advances an execution.
    """

    def __init__(
        self,
        repository: Repository,
        launcher: Launcher,
        changes: Changes,
        clock: DatabaseClock,
        *,
        start: Callable[[Create], Awaitable[CreatedExecution]],
        take: Callable[[UUID], Awaitable[None]],
        owns: Callable[[UUID], bool],
    ) -> None:
        self._repository = repository
        self._launcher = launcher
        self._changes = changes
        self._clock = clock
        self._start = start
        self._take = take
        self._owns = owns

    async def run(self, parent_id: UUID, command: StartChild, secret: frozenset[str]) -> ChildFinished:
        """Create the child unless it exists, and return when it has ended.

        Args:
            parent_id: the execution whose step it is.
            command: what to start.
            secret: names of the parameters that hold a secret of the parent's.
        """
        try:
            child = await until_database_answers(lambda: self._find_or_create(parent_id, command, secret))
        except WorkflowError as error:
            return self._finished(command, None, StepError(error.code, error.message, error.details))
        if child.status not in TERMINAL_STATUSES:
            child = await self._end_of(child.id)
        return self._finished(command, child, _error_of(child))

    async def _find_or_create(
        self, parent_id: UUID, command: StartChild, secret: frozenset[str]
    ) -> ExecutionRecord:
        try:
            created = await self._start(
                lambda taker: self._launcher.launch_child(parent_id, command, secret, taker)
            )
        except StorageError:
            raise
        except WorkflowError:
            # What could not be started any more may have been started before a crash.
            existing = await self._repository.read_executions([command.child_id])
            if not existing:
                raise
            return existing[0]
        if created.claim is not None:
            return created.claim.execution
        return await self._repository.read_execution(command.child_id)

    async def _end_of(self, child_id: UUID) -> ExecutionRecord:
        """Wait for the child, and advance it here whenever nobody else does, even if there is no room."""
        while True:
            with self._changes.expected(child_id, only_settled=True) as change:
                if self._owns(child_id):
                    await change.within(LOOK_AGAIN_SECONDS)
                    if change.row is not None and change.row.status in TERMINAL_STATUSES:
                        return change.row
                    continue
                child = await until_database_answers(lambda: self._repository.read_execution(child_id))
                if child.status in TERMINAL_STATUSES:
                    return child
                if self._is_free(child):
                    await self._take(child_id)
                await change.within(LOOK_AGAIN_SECONDS)

    def _is_free(self, child: ExecutionRecord) -> bool:
        has_run_out = child.lease_expires_at is not None and child.lease_expires_at <= self._clock.now()
        return child.status != "paused" and (child.owner_id is None or has_run_out)

    def _finished(
        self, command: StartChild, child: ExecutionRecord | None, error: StepError | None
    ) -> ChildFinished:
        now = self._clock.now()
        if child is None:
            return ChildFinished(command.path, "failed", None, error, now)
        match child.status:
            case "completed":
                return ChildFinished(command.path, "completed", child.output_data, None, now)
            case "cancelled":
                return ChildFinished(command.path, "cancelled", None, error, now)
            case _:
                return ChildFinished(command.path, "failed", None, error, now)


def _error_of(child: ExecutionRecord) -> StepError | None:
    details = child.error_details
    if not details:
        return None
    return StepError(
        str(details.get("code", "unknown")), child.error_message or "", details.get("details") or {}
    )
