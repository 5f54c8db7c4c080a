"""The verbs of schedules: when a template is run by itself."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice
from uuid import UUID

from archon_workflows.engine.launch import Launcher
from archon_workflows.engine.plans import Plans
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.errors import Conflict, InvalidParameters, InvalidRequest, NotFound, did_you_mean
from archon_workflows.model.json_values import normalise, shown
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.parameters import secret_names
from archon_workflows.model.records import Page
from archon_workflows.model.schedules import (
    NewSchedule,
    OnMissed,
    OnOverlap,
    ScheduleFilter,
    ScheduleRecord,
    Timetable,
)
from archon_workflows.model.steps import NAME_PATTERN
from archon_workflows.storage.repository import Repository

COMING_SHOWN = 3
NAMES_READ = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRequest:
    """Which template to run when, with what; see ``NewSchedule``.

    Attributes:
        name: ``None``: the template's.
    """

    workflow: str
    cron: str
    name: str | None = None
    time_zone: str = "UTC"
    version: str | None = None
    parameters: Mapping[str, JsonValue] | None = None
    priority: int | None = None
    on_missed: OnMissed = "run_once"
    on_overlap: OnOverlap = "skip"
    created_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule with what follows from it.

    Attributes:
        in_words: the cron expression as a sentence.
        coming: the next due times, in UTC; none while it is paused.
    """

    record: ScheduleRecord
    in_words: str
    coming: tuple[datetime, ...]


class Schedules:
    """What callers can do with schedules; starting what is due is the scheduler's."""

    def __init__(self, repository: Repository, launcher: Launcher, plans: Plans) -> None:
        self._repository = repository
        self._launcher = launcher
        self._plans = plans

    async def save(self, request: ScheduleRequest) -> Schedule:
        """Write a schedule, or change the one of that name; whatever it would run must be able to run now.

        Raises:
            NotFound: no such template or version.
            InvalidParameters: the parameters do not fit the template's, or one of them is a secret.
            InvalidRequest: ``invalid_name``, ``invalid_cron``, ``invalid_time_zone``.
            Conflict: the template is a draft or archived.
        """
        _check_name(request.name)
        timetable = Timetable(request.cron, request.time_zone)
        parameters = normalise(dict(request.parameters or {}), "refuse").value
        run = RunRequest(workflow=request.workflow, parameters=parameters, version=request.version)
        execution, _ = await self._launcher.drawn_up(run)
        plan = await self._plans.of_version(execution.workflow_version_id)
        _refuse_secrets(parameters, secret_names(plan.template))
        new = NewSchedule(
            name=request.name or request.workflow,
            workflow_template_id=execution.workflow_template_id,
            version_tag=request.version,
            cron=request.cron,
            time_zone=request.time_zone,
            parameters=parameters,
            priority=request.priority,
            on_missed=request.on_missed,
            on_overlap=request.on_overlap,
            created_by=request.created_by,
            next_due_at=timetable.first_after(await self._now()),
        )
        return _described(await self._repository.save_schedule(new))

    async def read(self, which: str) -> Schedule:
        """Return the schedule of that name or id.

        Raises:
            NotFound: ``schedule_not_found``, with the nearest name.
            Conflict: ``several_schedules``: callers have schedules of that name; its id says which.
        """
        return _described(await self._found(which))

    async def list(self, which: ScheduleFilter, *, offset: int, limit: int) -> Page[Schedule]:
        """Return one page of schedules by name."""
        page = await self._repository.list_schedules(which, offset=offset, limit=limit)
        return Page(tuple(_described(one) for one in page.records), page.total)

    async def pause(self, which: str) -> Schedule:
        """Let a schedule start nothing until it is resumed.

        Raises:
            NotFound: see ``read``.
            Conflict: see ``read``.
        """
        return await self._rewritten(replace(await self._found(which), is_paused=True))

    async def resume(self, which: str) -> Schedule:
        """Go on from now; what was due while it was paused was not missed.

        Raises:
            NotFound: see ``read``.
            Conflict: see ``read``.
        """
        found = await self._found(which)
        if not found.is_paused:
            return _described(found)
        next_due_at = found.timetable.first_after(await self._now())
        return await self._rewritten(replace(found, is_paused=False, next_due_at=next_due_at))

    async def remove(self, which: str) -> Schedule:
        """Remove a schedule and return it; what it started goes on.

        Raises:
            NotFound: see ``read``.
            Conflict: see ``read``.
        """
        found = await self._found(which)
        await self._repository.delete_schedule(found.id)
        return _described(replace(found, is_paused=True))

    async def _now(self) -> datetime:
        return (await self._repository.read_due_schedules(limit=0)).now

    async def _rewritten(self, record: ScheduleRecord) -> Schedule:
        return _described(await self._repository.save_schedule(record))

    async def _found(self, which: str) -> ScheduleRecord:
        page = await self._repository.list_schedules(_filter(which), offset=0, limit=2)
        if len(page.records) == 1:
            return page.records[0]
        if page.records:
            raise Conflict(
                f"{page.total} callers have a schedule named {which!r}.",
                code="several_schedules",
                suggestion="Say which by its id; the list of schedules shows the ids.",
            )
        known = await self._repository.list_schedules(ScheduleFilter(), offset=0, limit=NAMES_READ)
        raise NotFound(
            f"There is no schedule {which!r}.",
            code="schedule_not_found",
            suggestion=did_you_mean(which, [one.name for one in known.records], noun="schedule"),
        )


def _filter(which: str) -> ScheduleFilter:
    try:
        return ScheduleFilter(schedule_id=UUID(which))
    except ValueError:
        return ScheduleFilter(name=which)


def _described(record: ScheduleRecord) -> Schedule:
    timetable = record.timetable
    coming = chain([record.next_due_at], timetable.after(record.next_due_at))
    shown = 0 if record.is_paused else COMING_SHOWN
    return Schedule(record=record, in_words=timetable.in_words, coming=tuple(islice(coming, shown)))


def _check_name(name: str | None) -> None:
    if name is not None and re.fullmatch(NAME_PATTERN, name) is None:
        raise InvalidRequest(
            f"{shown(name)} cannot be a schedule's name.",
            code="invalid_name",
            path="/schedule/name",
            suggestion="Use lower case letters, digits and underscores, a letter first, at most 63 of them.",
        )


def _refuse_secrets(parameters: Mapping[str, JsonValue], secret: frozenset[str]) -> None:
    """Refuse what would lie in the schedule in clear until it is due."""
    named = sorted(secret & parameters.keys())
    if named:
        raise InvalidParameters(
            f"The parameter {named[0]!r} is a secret, and a schedule keeps its parameters in clear.",
            code="secret_in_schedule",
            path=f"/schedule/parameters/{named[0]}",
            suggestion="Let the template take it from secrets.X instead, or give the parameter a default.",
        )
