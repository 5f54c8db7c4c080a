"""Schedules as a model reads them."""

from typing import Any, NotRequired

from typing_extensions import TypedDict

from archon_workflows.engine.schedules import Schedule
from archon_workflows.model.records import Page
from archon_workflows.server.presentation.answer import (
    Answer,
    Next,
    NextCall,
    PageFacts,
    call_lines,
    moment,
    page_line,
    without_empty,
)


class ScheduleFacts(TypedDict):
    """One schedule; `next_due_at` lists the coming times, `last` says what became of the newest one."""

    schedule_name: str
    schedule_id: str
    workflow: str
    cron: str
    time_zone: str
    in_words: str
    on_missed: str
    on_overlap: str
    paused: NotRequired[bool]
    next_due_at: NotRequired[list[str]]
    version: NotRequired[str]
    parameters: NotRequired[dict[str, Any]]
    priority: NotRequired[int]
    created_by: NotRequired[str]
    last: NotRequired[dict[str, Any]]
    counts: NotRequired[dict[str, int]]


class ScheduleAnswer(ScheduleFacts):
    """A schedule (schedule, pause_schedule, resume_schedule, unschedule)."""

    removed: NotRequired[bool]
    next: NotRequired[Next]


class ScheduleList(TypedDict):
    """A page of schedules by name (list_schedules)."""

    schedules: list[ScheduleFacts]
    page: PageFacts


def present_schedule(schedule: Schedule, what: str) -> Answer:
    """Return a schedule after something was done with it."""
    calls = [
        NextCall(
            tool="manage_workflow_template",
            arguments={"action": "list_schedules", "name": schedule.record.workflow_name},
            why="see later what became of it",
        )
    ]
    lines = [f"{what} {_line(schedule)}", *call_lines(calls)]
    return Answer(lines, schedule_facts(schedule) | {"next": calls})


def present_removed(schedule: Schedule) -> Answer:
    """Return which schedule is gone."""
    line = f"unscheduled {schedule.record.name}; executions that it started go on"
    return Answer([line], schedule_facts(schedule) | {"removed": True})


def present_schedules(page: Page[Schedule], facts: PageFacts) -> Answer:
    """Return a list of schedules, a line or two each."""
    lines = [line for one in page.records for line in (_line(one), *_last_lines(one))]
    content = {"schedules": [schedule_facts(one) for one in page.records], "page": facts}
    return Answer([*(lines or ["There are no schedules."]), *page_line(facts, len(page.records))], content)


def schedule_facts(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule as JSON."""
    record = schedule.record
    return {
        "schedule_name": record.name,
        "schedule_id": str(record.id),
        "workflow": record.workflow_name,
        "cron": record.cron,
        "time_zone": record.time_zone,
        "in_words": schedule.in_words,
        "on_missed": record.on_missed,
        "on_overlap": record.on_overlap,
        **without_empty(
            {
                "paused": record.is_paused or None,
                "next_due_at": [moment(at) for at in schedule.coming],
                "version": record.version_tag,
                "parameters": dict(record.parameters),
                "priority": record.priority,
                "created_by": record.created_by,
                "last": _last(schedule),
                "counts": _counts(schedule),
            }
        ),
    }


def _last(schedule: Schedule) -> dict[str, Any]:
    record = schedule.record
    if record.last_due_at is None:
        return {}
    execution = str(record.last_execution_id) if record.last_outcome == "started" else None
    return without_empty(
        {
            "due_at": moment(record.last_due_at),
            "outcome": record.last_outcome,
            "execution_id": execution,
            "error": dict(record.last_error or {}),
        }
    )


def _counts(schedule: Schedule) -> dict[str, int]:
    record = schedule.record
    counts = {
        "started": record.started_count,
        "missed": record.missed_count,
        "overlapped": record.overlapped_count,
        "refused": record.refused_count,
    }
    return {name: count for name, count in counts.items() if count}


def _line(schedule: Schedule) -> str:
    record = schedule.record
    when = f"next {moment(schedule.coming[0])}" if schedule.coming else "paused"
    return f"{record.name} -> {record.workflow_name}: {schedule.in_words} ({record.time_zone}), {when}"


def _last_lines(schedule: Schedule) -> list[str]:
    last = _last(schedule)
    if not last:
        return []
    what = last.get("execution_id") or last.get("error", {}).get("message", "")
    return [f"  last {last['due_at']}: {last['outcome']}" + (f", {what}" if what else "")]
