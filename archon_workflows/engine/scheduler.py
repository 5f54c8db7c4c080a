"""Starts the executions of schedules that are due: each due time once, however many processes look.

A server looks by itself; among workers each due schedule is a job that one of them gets. The database decides
who was first, and the execution starts in the same transaction in which the next due time is set.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import anyio

from archon_workflows.engine.launch import Launcher
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.errors import Conflict, InvalidParameters, NotFound, StorageError, WorkflowError
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.records import NewExecution
from archon_workflows.model.schedules import Due, Fired, Firing, ScheduleRecord, due_now
from archon_workflows.storage.callers import seen_by
from archon_workflows.storage.repository import Repository

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""A schedule that somebody made, changed or resumed elsewhere is noticed within this time."""

DUE_AT_ONCE = 100


class Scheduler:
    """Fires schedules.

    Args:
        launcher: makes the launcher of whoever a schedule belongs to.
    """

    def __init__(self, repository: Repository, launcher: Callable[[Repository], Launcher]) -> None:
        self._repository = repository
        self._launcher = launcher

    async def keep_firing(self) -> None:
        """Fire what is due until cancelled; while the database is away, wait for it."""
        while True:
            seconds = LOOK_SECONDS
            try:
                seconds = await self._fire_all()
            except StorageError as trouble:
                logger.warning("Schedules wait for the database: %s", trouble)
            await anyio.sleep(min(seconds, LOOK_SECONDS))

    async def fire(self, schedule_id: UUID) -> None:
        """Fire one schedule if it is due.

        Raises:
            StorageError: the database is away.
        """
        waiting = await self._repository.read_due_schedules(limit=DUE_AT_ONCE)
        for schedule in waiting.due:
            if schedule.id == schedule_id:
                await self._fire(schedule, due_now(schedule, waiting.now))

    async def _fire_all(self) -> float:
        """Fire each schedule that is due once; return how many seconds there are until the next look."""
        waiting = await self._repository.read_due_schedules(limit=DUE_AT_ONCE)
        for schedule in waiting.due:
            await self._fire(schedule, due_now(schedule, waiting.now))
        if waiting.due:
            return 0.0
        if waiting.next_due_at is None:
            return LOOK_SECONDS
        return (waiting.next_due_at - waiting.now).total_seconds()

    async def _fire(self, schedule: ScheduleRecord, due: Due) -> None:
        firing = Firing(
            schedule_id=schedule.id,
            expected_due_at=schedule.next_due_at,
            due_at=due.due_at,
            next_due_at=due.next_due_at,
            outcome="missed",
            missed=due.missed,
        )
        if due.is_missed:
            fired = await self._repository.fire_schedule(firing)
        else:
            fired = await self._start(schedule, firing, due)
        if fired is not None:
            _report(schedule, firing, fired)

    async def _start(self, schedule: ScheduleRecord, firing: Firing, due: Due) -> Fired | None:
        """Start the execution, or note why it cannot be started."""
        try:
            execution = await self._drawn_up(schedule, due)
            started = replace(firing, outcome="started", execution=execution)
            return await self._repository.fire_schedule(started)
        except (Conflict, InvalidParameters, NotFound) as error:
            refused = replace(firing, outcome="refused", error=_letter(error))
            return await self._repository.fire_schedule(refused)

    async def _drawn_up(self, schedule: ScheduleRecord, due: Due) -> NewExecution:
        request = RunRequest(
            workflow=schedule.workflow_name,
            version=schedule.version_tag,
            parameters=schedule.parameters,
            priority=schedule.priority,
            triggered_by=f"schedule:{schedule.name}",
            trigger_context={"schedule": _context(schedule, due)},
            idempotency_key=f"schedule:{schedule.id}:{due.due_at.isoformat()}",
        )
        launcher = self._launcher(seen_by(schedule.caller, self._repository))
        execution, _ = await launcher.drawn_up(request)
        return replace(execution, caller=schedule.caller)


def _context(schedule: ScheduleRecord, due: Due) -> dict[str, JsonValue]:
    return {
        "id": str(schedule.id),
        "name": schedule.name,
        "cron": schedule.cron,
        "time_zone": schedule.time_zone,
        "due_at": due.due_at.isoformat(),
        "missed": due.missed,
    }


def _letter(error: WorkflowError) -> dict[str, JsonValue]:
    return {"code": error.code, "message": error.message, "suggestion": error.suggestion}


def _report(schedule: ScheduleRecord, firing: Firing, fired: Fired) -> None:
    level = logging.WARNING if fired.outcome == "refused" else logging.INFO
    why = f": {firing.error['message']}" if firing.error is not None else ""
    logger.log(level, "Schedule %r, due %s: %s%s", schedule.name, firing.due_at, fired.outcome, why)
