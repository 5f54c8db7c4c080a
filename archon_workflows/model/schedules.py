"""Schedules: when a template is run by itself. Pure: the clock is the database's and is passed in.

A due time is a time that the cron expression names, on the wall clock of the time zone. Where a clock change
skips it, it is due at the moment of the change; where one repeats it, a schedule for certain hours is due
once and one for every hour both times, as Debian's cron has it (https://github.com/cuu508/cronsim).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, islice, takewhile
from typing import Final, Literal
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from archon_workflows.errors import InvalidRequest, nearest
from archon_workflows.model.json_values import shown
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.records import NewExecution

OnMissed = Literal["skip", "run_once", "run_all"]
OnOverlap = Literal["skip", "allow", "cancel_previous"]
FiringOutcome = Literal["started", "missed", "overlapped", "refused"]

PUNCTUAL_SECONDS: Final = 60.0
"""A due time that nobody acted on for longer was missed: nobody was there."""

LARGEST_BACKLOG: Final = 100
"""Missed due times that ``run_all`` makes up for; earlier ones pass."""

_CRON_CHARACTERS: Final = 200
_COUNTED: Final = 1_000
"""Due times that are counted one by one after a long absence; further ones are not told apart."""
_ANY_MOMENT: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Timetable:
    """The due times of a cron expression in a time zone.

    Args:
        cron: five fields (minute, hour, day of month, month, day of week); ``L``, ``#`` and names of months
            and days are understood.
        time_zone: an IANA name, such as ``Europe/Berlin``.

    Raises:
        InvalidRequest: ``invalid_cron`` or ``invalid_time_zone``.
    """

    def __init__(self, cron: str, time_zone: str) -> None:
        self._cron = cron
        self._zone = _zone(time_zone)
        self._from(_ANY_MOMENT)  # raises for what is no cron expression

    @property
    def in_words(self) -> str:
        """The expression as an English sentence."""
        return self._from(_ANY_MOMENT).explain()

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the due times after a moment, in UTC, the earliest first; at most some decades ahead."""
        return (due_at.astimezone(UTC) for due_at in self._from(moment))

    def first_after(self, moment: datetime) -> datetime:
        """Return the earliest due time after a moment, in UTC.

        Raises:
            InvalidRequest: ``invalid_cron``: there is none, such as on a 31 April.
        """
        found = next(self.after(moment), None)
        if found is None:
            raise self._refusal("it names no day that ever comes")
        return found

    def until(self, moment: datetime) -> Iterator[datetime]:
        """Yield the due times that are not after a moment, in UTC, the latest first."""
        just_after = moment + timedelta(microseconds=1)
        return (due_at.astimezone(UTC) for due_at in self._from(just_after, reverse=True))

    def _from(self, moment: datetime, *, reverse: bool = False) -> CronSim:
        if len(self._cron) > _CRON_CHARACTERS or len(self._cron.split()) != 5:  # noqa: PLR2004 - see above
            raise self._refusal("it needs five fields")
        try:
            return CronSim(self._cron, moment.astimezone(self._zone), reverse=reverse)
        except CronSimError as error:
            raise self._refusal(str(error)) from error

    def _refusal(self, why: str) -> InvalidRequest:
        return InvalidRequest(
            f"{shown(self._cron)} is not a cron expression: {why[:1].lower()}{why[1:]}.",
            code="invalid_cron",
            path="/schedule/cron",
            suggestion="Write minute, hour, day of month, month and day of week, such as '30 9 * * mon-fri'.",
        )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = nearest(name, sorted(available_timezones()))
        raise InvalidRequest(
            f"{shown(name)} is not a time zone.",
            code="invalid_time_zone",
            path="/schedule/time_zone",
            suggestion=f"Did you mean {near!r}?" if near else "Use an IANA name, such as Europe/Berlin.",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSchedule:
    """A schedule to write; one of the same name that belongs to the same caller is changed.

    Attributes:
        version_tag: which version to run; ``None``: the newest one when it is due.
        on_missed: what becomes of due times at which no process was there: none of them runs, one execution
            for the latest of them, or one for each of the latest 100.
        on_overlap: what happens when the execution before has not ended: the due time passes, both run, or
            the one before is cancelled.
        next_due_at: the first time.
        caller: to whom the schedule and its executions belong, where authentication is on.
    """

    name: str
    workflow_template_id: UUID
    version_tag: str | None = None
    cron: str
    time_zone: str
    parameters: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    priority: int | None = None
    on_missed: OnMissed
    on_overlap: OnOverlap
    is_paused: bool = False
    created_by: str | None = None
    caller: str | None = None
    next_due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord(NewSchedule):
    """One row of ``archon_workflow_schedules``, with the name of its template.

    Attributes:
        last_outcome: what became of ``last_due_at``: an execution, nothing because nobody was there, nothing
            because the one before had not ended, or nothing because the template could not be run.
        last_error: why it could not be run, as a letter.
        missed_count: due times that passed although somebody would have run them.
    """

    id: UUID
    workflow_name: str
    last_due_at: datetime | None
    last_outcome: FiringOutcome | None
    last_execution_id: UUID | None
    last_error: Mapping[str, JsonValue] | None
    started_count: int
    missed_count: int
    overlapped_count: int
    refused_count: int
    created_at: datetime
    updated_at: datetime

    @property
    def timetable(self) -> Timetable:
        """When it is due."""
        return Timetable(self.cron, self.time_zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class DueSchedules:
    """Which schedules are due by the database's clock, and when the next one will be."""

    now: datetime
    due: tuple[ScheduleRecord, ...]
    next_due_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """What becomes of a schedule's due time; written once, by whoever is first.

    Attributes:
        expected_due_at: the row's ``next_due_at`` for which this was decided.
        due_at: the due time that is acted on: a later one, where earlier ones were missed.
        next_due_at: when it is due next.
        outcome: ``started`` with an execution; the database makes ``overlapped`` of it where that applies.
        missed: due times that pass without an execution of their own.
        error: why the execution cannot be started, as a letter.
    """

    schedule_id: UUID
    expected_due_at: datetime
    due_at: datetime
    next_due_at: datetime
    outcome: FiringOutcome
    missed: int = 0
    execution: NewExecution | None = None
    error: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """What became of a due time."""

    outcome: FiringOutcome
    execution_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFilter:
    """Which schedules to list.

    Attributes:
        caller: only those that belong to this caller.
    """

    schedule_id: UUID | None = None
    name: str | None = None
    workflow_name: str | None = None
    caller: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The due time of a schedule that is to be acted on now.

    Attributes:
        is_missed: nobody was there, and the schedule's policy is that it passes.
        missed: due times that pass with it, itself not counted unless it ``is_missed``.
    """

    due_at: datetime
    next_due_at: datetime
    is_missed: bool
    missed: int


def due_now(schedule: ScheduleRecord, now: datetime) -> Due:
    """Return what is to be done for a schedule whose ``next_due_at`` has come.

    The latest due time is acted on, with ``run_all`` the earliest of the latest 100: the next one after it is
    due at once then.
    """
    timetable, earliest = schedule.timetable, schedule.next_due_at
    backlog = LARGEST_BACKLOG if schedule.on_missed == "run_all" else 1
    due_at = max([earliest, *islice(timetable.until(now), backlog - 1, backlog)])
    passed = takewhile(lambda at: at < due_at, chain([earliest], timetable.after(earliest)))
    before = sum(1 for _ in islice(passed, _COUNTED))
    is_missed = schedule.on_missed == "skip" and now - due_at > timedelta(seconds=PUNCTUAL_SECONDS)
    return Due(
        due_at=due_at,
        next_due_at=timetable.first_after(due_at),
        is_missed=is_missed,
        missed=before + is_missed,
    )
