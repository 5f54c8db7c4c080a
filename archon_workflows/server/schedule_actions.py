"""What ``manage_workflow_template`` does with schedules."""

from archon_workflows.engine.schedules import ScheduleRequest
from archon_workflows.errors import InvalidRequest
from archon_workflows.expressions.values import is_object
from archon_workflows.model.json_values import shown
from archon_workflows.model.schedules import ScheduleFilter
from archon_workflows.server.arguments import page_facts
from archon_workflows.server.callers import Verbs
from archon_workflows.server.presentation.answer import Answer
from archon_workflows.server.presentation.schedules import (
    present_removed,
    present_schedule,
    present_schedules,
)
from archon_workflows.server.template_arguments import ScheduleArguments, TemplateArguments


async def save_schedule(verbs: Verbs, given: TemplateArguments) -> Answer:
    """Write a schedule, or replace the one of that name."""
    template = await verbs.templates.get(**given.which)
    told = _read(given.schedule)
    request = ScheduleRequest(
        workflow=template.name,
        cron=told.cron,
        name=told.name,
        time_zone=told.time_zone,
        version=told.version,
        parameters=told.parameters,
        priority=told.priority,
        on_missed=told.on_missed,
        on_overlap=told.on_overlap,
        created_by=given.created_by,
    )
    return present_schedule(await verbs.schedules.save(request), "scheduled")


async def list_schedules(verbs: Verbs, given: TemplateArguments) -> Answer:
    """List schedules by name, of one template or all."""
    offset = (given.page - 1) * given.page_size
    which = ScheduleFilter(workflow_name=given.name)
    page = await verbs.schedules.list(which, offset=offset, limit=given.page_size)
    return present_schedules(page, page_facts(given.page, given.page_size, page.total))


async def pause_schedule(verbs: Verbs, given: TemplateArguments) -> Answer:
    """Let a schedule start nothing for a while."""
    return present_schedule(await verbs.schedules.pause(given.schedule_name or ""), "paused")


async def resume_schedule(verbs: Verbs, given: TemplateArguments) -> Answer:
    """Let a paused schedule go on from now."""
    return present_schedule(await verbs.schedules.resume(given.schedule_name or ""), "resumed")


async def unschedule(verbs: Verbs, given: TemplateArguments) -> Answer:
    """Remove a schedule."""
    return present_removed(await verbs.schedules.remove(given.schedule_name or ""))


def _read(schedule: object) -> ScheduleArguments:
    if not is_object(schedule):
        raise InvalidRequest(
            f"'schedule' is {shown(schedule)}, which is no object.",
            code="invalid_argument",
            path="/schedule",
            suggestion='Write an object, such as {"cron": "30 9 * * mon-fri", "time_zone": "Europe/Berlin"}.',
        )
    try:
        return ScheduleArguments.read(schedule)
    except InvalidRequest as error:
        error.path = f"/schedule{error.path or ''}"
        raise
