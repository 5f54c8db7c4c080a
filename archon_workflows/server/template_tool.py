"""``manage_workflow_template``: everything that can be done with templates and their versions."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from mcp.server.mcpserver import Context
from mcp_types import ToolAnnotations

from archon_workflows.engine.templates import TemplateLibrary
from archon_workflows.errors import InvalidRequest
from archon_workflows.expressions.values import is_object
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.records import TemplateFilter
from archon_workflows.model.template import TemplateStatus
from archon_workflows.server.arguments import (
    PAGE_SIZE,
    Arguments,
    JsonObject,
    OneOrMany,
    PageNumber,
    PageSize,
    VersionName,
    page_facts,
    uuid_of,
    version_name,
)
from archon_workflows.server.callers import Caller, Callers
from archon_workflows.server.presentation.answer import Answer
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
from archon_workflows.server.tool import AnsweringTool, answering_tool

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
]

DESCRIPTION = """\
Store and manage workflow templates: named, versioned JSON documents whose steps call tools.
- create(template); update(name, template: only the top-level fields that change); validate(template or name)
- get(name); list(search, status, category, tags, page); suggest(task): templates that fit a task
- clone(name, new_name); archive(name); delete(name)
- list_versions(name); get_version(name, version); diff_versions(name, from_version, to_version); \
restore_version(name, version)
A document that is not valid is refused with every finding, and nothing is stored. The resource \
workflow://guide says how to write one."""


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
    page: PageNumber = 1
    """list, list_versions, validate: which page."""
    page_size: PageSize = PAGE_SIZE
    """list, list_versions, validate, suggest: how many at a time."""

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


Perform = Callable[[TemplateLibrary, TemplateArguments], Awaitable[Answer]]


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
        return await action.perform(caller.verbs.templates, _signed(arguments, caller))

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
        | SuggestionAnswer,
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


async def _create(templates: TemplateLibrary, given: TemplateArguments) -> Answer:
    saved = await templates.create(
        given.template, created_by=given.created_by, change_summary=given.change_summary
    )
    return present_saved(saved, "created")


async def _update(templates: TemplateLibrary, given: TemplateArguments) -> Answer:
    named = given.name is not None or given.template_id is not None
    saved = await templates.update(
        given.template,
        **(given.which if named else {}),
        change_type=given.change_type,
        change_summary=given.change_summary,
        created_by=given.created_by,
        expected_version_number=given.expected_version_number,
    )
    return present_saved(saved, "updated")


async def _get(templates: TemplateLibrary, given: TemplateArguments) -> Answer:
    return present_template(await templates.get(**given.which))


async def _list(templates: TemplateLibrary, given: TemplateArguments) -> Answer:
    which = TemplateFilter(text=given.search, statuses=given.status, category=given.category, tags=given.tags)
    page = await templates.list(which, offset=(given.page - 1) * given.page_size, limit=given.page_size)
    return present_templates(page, page_facts(given.page, given.page_size, page.total))


async def _delete(templates: TemplateLibrary, given: TemplateArguments) -> Answer:
    return present_deleted(await templates.delete(**given.which))


async def _archive(templates: TemplateLibrary, given: TemplateArguments) -> Answer:
    return present_saved(await templates.archive(**given.which, created_by=given.created_by), "archived")


async def _clone(templates: TemplateLibrary, given: TemplateArguments) -> Answer:
    saved = await templates.clone(**given.which, new_name=given.new_name or "", created_by=given.created_by)
    return present_saved(saved, "cloned as")


async def _validate(templates: TemplateLibrary, given: TemplateArguments) -> Answer:
    document: JsonValue = given.template
    if "template" not in given.given:
        document = dict((await templates.get(**given.which)).document)
    return present_findings(await templates.validate(document), given.page, given.page_size)


async def _list_versions(templates: TemplateLibrary, given: TemplateArguments) -> Answer:
    offset = (given.page - 1) * given.page_size
    page = await templates.list_versions(**given.which, offset=offset, limit=given.page_size)
    return present_versions(page, page_facts(given.page, given.page_size, page.total))


async def _get_version(templates: TemplateLibrary, given: TemplateArguments) -> Answer:
    version = await templates.get_version(**given.which, version=version_name(given.version or ""))
    return present_version(version)


async def _diff_versions(templates: TemplateLibrary, given: TemplateArguments) -> Answer:
    difference = await templates.diff_versions(
        **given.which, old=version_name(given.from_version or ""), new=version_name(given.to_version or "")
    )
    return present_difference(difference.changes, difference.breaking_changes)


async def _restore_version(templates: TemplateLibrary, given: TemplateArguments) -> Answer:
    saved = await templates.restore_version(
        **given.which, version=version_name(given.version or ""), created_by=given.created_by
    )
    return present_saved(saved, "restored")


async def _suggest(templates: TemplateLibrary, given: TemplateArguments) -> Answer:
    limit = given.page_size if "page_size" in given.given else 5
    return present_suggestions(await templates.suggest(given.task or "", limit=limit))


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
}
