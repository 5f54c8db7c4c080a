"""What ``manage_workflow_template`` takes."""

from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field, WithJsonSchema

from archon_workflows.errors import InvalidRequest
from archon_workflows.model.schedules import OnMissed, OnOverlap
from archon_workflows.model.template import TemplateStatus
from archon_workflows.server.arguments import (
    PAGE_SIZE,
    Arguments,
    JsonObject,
    OneOrMany,
    PageNumber,
    PageSize,
    VersionName,
    uuid_of,
)

TemplateAction = Literal[
    "create",
    "update",
    "get",
    "list",
    "delete",
    "archive",
    "clone",
    "validate",
    "list_versions",
    "get_version",
    "diff_versions",
    "restore_version",
    "suggest",
    "schedule",
    "list_schedules",
    "pause_schedule",
    "resume_schedule",
    "unschedule",
]

DESCRIPTION = """\
Store and manage workflow templates: named, versioned JSON documents whose steps call tools.
- create(template); update(name, template: only the top-level fields that change); validate(template or name)
- get(name); list(search, status, category, tags, page); suggest(task): templates that fit a task
- clone(name, new_name); archive(name); delete(name)
- list_versions(name); get_version(name, version); diff_versions(name, from_version, to_version); \
restore_version(name, version)
- schedule(name, schedule): run it by cron; list_schedules(name); pause_schedule, resume_schedule, \
unschedule(schedule_name)
A document that is not valid is refused with every finding, and nothing is stored. The resource \
workflow://guide says how to write one."""


class ScheduleArguments(Arguments):
    """When to run a template, with what."""

    tool_name: ClassVar[str] = "A schedule"

    cron: str
    """Minute, hour, day of month, month, day of week, e.g. 30 9 * * mon-fri."""
    time_zone: str = "UTC"
    """IANA name, e.g. Europe/Berlin."""
    name: str | None = None
    """Of the schedule; default: the template's name. A schedule of that name is replaced."""
    parameters: JsonObject = None
    """The input of every run; no secrets."""
    version: str | None = None
    """A version tag; default: the newest when it is due."""
    priority: Annotated[int, Field(ge=-100, le=100)] | None = None
    """Default: the template's."""
    on_missed: OnMissed = "run_once"
    """When nobody was there at a due time: skip, one run for all that passed, or one each (at most 100)."""
    on_overlap: OnOverlap = "skip"
    """When the run before has not ended: skip this one, allow both, or cancel the one before."""


class TemplateArguments(Arguments):
    """What ``manage_workflow_template`` takes."""

    tool_name: ClassVar[str] = "manage_workflow_template"

    action: TemplateAction
    """What to do."""
    template: JsonObject = None
    """create, update, validate: the document, e.g. {"name": "say_hello", "steps": [{"name": "greet", \
"type": "action", "tool_name": "say", "parameters": {"text": "hello"}}]}."""
    name: str | None = None
    """Which template, by name."""
    template_id: str | None = None
    """Which template, by id; instead of name."""
    new_name: str | None = None
    """clone: the name of the copy."""
    version: VersionName | None = None
    """get_version, restore_version: a version tag (1.2.0) or a version_number (3)."""
    from_version: VersionName | None = None
    """diff_versions: the older one, tag or number."""
    to_version: VersionName | None = None
    """diff_versions: the newer one, tag or number."""
    change_type: Literal["update", "major", "minor", "patch"] = "update"
    """update: which part of the version tag to bump."""
    change_summary: str | None = None
    """create, update: what changed, in a sentence."""
    expected_version_number: int | None = None
    """update: refuse when somebody saved a newer version meanwhile."""
    created_by: str | None = None
    """Who saves."""
    search: str | None = None
    """list: text in name, title, description, category or tags."""
    status: Annotated[tuple[TemplateStatus, ...], OneOrMany] = ()
    """list: only these statuses."""
    category: str | None = None
    """list: only this category."""
    tags: Annotated[tuple[str, ...], OneOrMany] = ()
    """list: only templates with all of these tags."""
    task: str | None = None
    """suggest: what you want to do, in words."""
    schedule: Annotated[JsonObject, WithJsonSchema(ScheduleArguments.input_schema())] = None
    """schedule: when to run it, with what."""
    schedule_name: str | None = None
    """pause_schedule, resume_schedule, unschedule: which, by name or id."""
    page: PageNumber = 1
    """list, list_versions, list_schedules, validate: which page."""
    page_size: PageSize = PAGE_SIZE
    """list, list_versions, list_schedules, validate, suggest: how many at a time."""

    @property
    def which(self) -> dict[str, Any]:
        """The template that is meant, as the verbs take it.

        Raises:
            InvalidRequest: ``missing_argument``, or both name and id are given.
        """
        if (self.name is None) == (self.template_id is None):
            given = (
                "both 'name' and 'template_id'"
                if self.name is not None
                else "neither 'name' nor 'template_id'"
            )
            raise InvalidRequest(
                f"{self.action!r} needs to know which template; there is {given}.",
                code="missing_argument" if self.name is None else "invalid_argument",
                path="/name",
                suggestion="Give one of them; action 'list' shows the names.",
            )
        return {"name": self.name, "template_id": self._id()}

    def _id(self) -> UUID | None:
        return uuid_of(self.template_id, "template_id") if self.template_id is not None else None
