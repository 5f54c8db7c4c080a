"""``manage_workflow_template``: everything that can be done with templates and their versions."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mcp.server.mcpserver import Context
from mcp_types import ToolAnnotations

from archon_workflows.expressions.values import is_object
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.records import TemplateFilter
from archon_workflows.server.arguments import page_facts, version_name
from archon_workflows.server.callers import Caller, Callers, Verbs
from archon_workflows.server.presentation.answer import Answer
from archon_workflows.server.presentation.schedules import ScheduleAnswer, ScheduleList
from archon_workflows.server.presentation.templates import (
    DifferenceAnswer,
    SuggestionAnswer,
    TemplateAnswer,
    TemplateList,
    ValidationAnswer,
    VersionAnswer,
    VersionList,
    present_deleted,
    present_difference,
    present_findings,
    present_saved,
    present_suggestions,
    present_template,
    present_templates,
    present_version,
    present_versions,
)
from archon_workflows.server.schedule_actions import (
    list_schedules,
    pause_schedule,
    resume_schedule,
    save_schedule,
    unschedule,
)
from archon_workflows.server.template_arguments import DESCRIPTION, TemplateAction, TemplateArguments
from archon_workflows.server.tool import AnsweringTool, answering_tool

Perform = Callable[[Verbs, TemplateArguments], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class _Action:
    perform: Perform
    takes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def template_tool(callers: Callers) -> AnsweringTool:
    """Return the tool ``manage_workflow_template``."""

    async def perform(arguments: TemplateArguments, _context: Context) -> Answer:
        action = _ACTIONS[arguments.action]
        arguments.require(arguments.action, takes=action.takes, needs=action.needs)
        caller = callers.current()
        return await action.perform(caller.verbs, _signed(arguments, caller))

    return answering_tool(
        TemplateArguments,
        perform,
        title="Manage workflow templates",
        description=DESCRIPTION,
        answers=TemplateAnswer
        | TemplateList
        | ValidationAnswer
        | VersionList
        | VersionAnswer
        | DifferenceAnswer
        | SuggestionAnswer
        | ScheduleAnswer
        | ScheduleList,
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False
        ),
    )


def _signed(given: TemplateArguments, caller: Caller) -> TemplateArguments:
    """Return the arguments with who saves; a document that is saved names no other creator either."""
    if given.action in ("create", "update") and is_object(given.template):
        claimed = given.template.get("created_by")
        caller.sign(claimed if isinstance(claimed, str) else None, "template", "created_by")
    return given.model_copy(update={"created_by": caller.sign(given.created_by, "created_by")})


async def _create(verbs: Verbs, given: TemplateArguments) -> Answer:
    saved = await verbs.templates.create(
        given.template, created_by=given.created_by, change_summary=given.change_summary
    )
    return present_saved(saved, "created")


async def _update(verbs: Verbs, given: TemplateArguments) -> Answer:
    named = given.name is not None or given.template_id is not None
    saved = await verbs.templates.update(
        given.template,
        **(given.which if named else {}),
        change_type=given.change_type,
        change_summary=given.change_summary,
        created_by=given.created_by,
        expected_version_number=given.expected_version_number,
    )
    return present_saved(saved, "updated")


async def _get(verbs: Verbs, given: TemplateArguments) -> Answer:
    return present_template(await verbs.templates.get(**given.which))


async def _list(verbs: Verbs, given: TemplateArguments) -> Answer:
    which = TemplateFilter(text=given.search, statuses=given.status, category=given.category, tags=given.tags)
    page = await verbs.templates.list(which, offset=(given.page - 1) * given.page_size, limit=given.page_size)
    return present_templates(page, page_facts(given.page, given.page_size, page.total))


async def _delete(verbs: Verbs, given: TemplateArguments) -> Answer:
    return present_deleted(await verbs.templates.delete(**given.which))


async def _archive(verbs: Verbs, given: TemplateArguments) -> Answer:
    return present_saved(
        await verbs.templates.archive(**given.which, created_by=given.created_by), "archived"
    )


async def _clone(verbs: Verbs, given: TemplateArguments) -> Answer:
    saved = await verbs.templates.clone(
        **given.which, new_name=given.new_name or "", created_by=given.created_by
    )
    return present_saved(saved, "cloned as")


async def _validate(verbs: Verbs, given: TemplateArguments) -> Answer:
    document: JsonValue = given.template
    if "template" not in given.given:
        document = dict((await verbs.templates.get(**given.which)).document)
    return present_findings(await verbs.templates.validate(document), given.page, given.page_size)


async def _list_versions(verbs: Verbs, given: TemplateArguments) -> Answer:
    offset = (given.page - 1) * given.page_size
    page = await verbs.templates.list_versions(**given.which, offset=offset, limit=given.page_size)
    return present_versions(page, page_facts(given.page, given.page_size, page.total))


async def _get_version(verbs: Verbs, given: TemplateArguments) -> Answer:
    version = await verbs.templates.get_version(**given.which, version=version_name(given.version or ""))
    return present_version(version)


async def _diff_versions(verbs: Verbs, given: TemplateArguments) -> Answer:
    difference = await verbs.templates.diff_versions(
        **given.which, old=version_name(given.from_version or ""), new=version_name(given.to_version or "")
    )
    return present_difference(difference.changes, difference.breaking_changes)


async def _restore_version(verbs: Verbs, given: TemplateArguments) -> Answer:
    saved = await verbs.templates.restore_version(
        **given.which, version=version_name(given.version or ""), created_by=given.created_by
    )
    return present_saved(saved, "restored")


async def _suggest(verbs: Verbs, given: TemplateArguments) -> Answer:
    limit = given.page_size if "page_size" in given.given else 5
    return present_suggestions(await verbs.templates.suggest(given.task or "", limit=limit))


_WHICH = ("name", "template_id")

_ACTIONS: dict[TemplateAction, _Action] = {
    "create": _Action(_create, ("change_summary", "created_by"), ("template",)),
    "update": _Action(
        _update,
        (*_WHICH, "change_type", "change_summary", "expected_version_number", "created_by"),
        ("template",),
    ),
    "get": _Action(_get, _WHICH),
    "list": _Action(_list, ("search", "status", "category", "tags", "page", "page_size")),
    "delete": _Action(_delete, _WHICH),
    "archive": _Action(_archive, (*_WHICH, "created_by")),
    "clone": _Action(_clone, (*_WHICH, "created_by"), ("new_name",)),
    "validate": _Action(_validate, ("template", *_WHICH, "page", "page_size")),
    "list_versions": _Action(_list_versions, (*_WHICH, "page", "page_size")),
    "get_version": _Action(_get_version, _WHICH, ("version",)),
    "diff_versions": _Action(_diff_versions, _WHICH, ("from_version", "to_version")),
    "restore_version": _Action(_restore_version, (*_WHICH, "created_by"), ("version",)),
    "suggest": _Action(_suggest, ("page_size",), ("task",)),
    "schedule": _Action(save_schedule, (*_WHICH, "created_by"), ("schedule",)),
    "list_schedules": _Action(list_schedules, ("name", "page", "page_size")),
    "pause_schedule": _Action(pause_schedule, needs=("schedule_name",)),
    "resume_schedule": _Action(resume_schedule, needs=("schedule_name",)),
    "unschedule": _Action(unschedule, needs=("schedule_name",)),
}
