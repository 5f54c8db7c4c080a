"""What a review or a rehearsal must know of the world outside a template: other templates, and the tools.

Reads only, and within bounds: a tool server that does not answer soon is no reason to keep a caller waiting.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import anyio

from archon_workflows.engine.tool_policy import ToolPolicy, change_since, fingerprint_of
from archon_workflows.errors import NotFound, ToolServerError
from archon_workflows.gateway.port import Gateway, ToolEntry
from archon_workflows.model.parsing import parse_template
from archon_workflows.model.records import TemplateFilter, TemplateRecord
from archon_workflows.model.review import LookupProblem, ToolFacts, WorkflowFacts
from archon_workflows.model.template import Template
from archon_workflows.model.tools import ToolFingerprint
from archon_workflows.storage.repository import Repository

TOOL_PATIENCE_SECONDS = 8.0
"""How long the lookup of all tools of a template may take together.

Longer than the gateway itself waits for further servers once it has found a name.
"""

PAGE = 200
KEPT = 1024


class TemplateShelf:
    """Reads templates whole; what is parsed is kept by version, which never changes."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._parsed: OrderedDict[UUID, Template | None] = OrderedDict()

    def parsed(self, record: TemplateRecord) -> Template | None:
        """Return the template's newest version; ``None`` when its document was damaged by other means."""
        if record.version_id not in self._parsed:
            self._parsed[record.version_id] = parse_template(record.document).template
            if len(self._parsed) > KEPT:
                self._parsed.popitem(last=False)
        self._parsed.move_to_end(record.version_id)
        return self._parsed[record.version_id]

    async def every(
        self, which: TemplateFilter | None = None
    ) -> AsyncGenerator[tuple[TemplateRecord, Template]]:
        """Yield every template that the filter takes and that can be read, by name."""
        offset, total = 0, 1
        while offset < total:
            page = await self._repository.list_templates(which or TemplateFilter(), offset=offset, limit=PAGE)
            for record in page.records:
                template = self.parsed(record)
                if template is not None:
                    yield record, template
            offset, total = offset + PAGE, page.total

    async def fingerprints(self, name: str) -> Mapping[str, ToolFingerprint]:
        """Return what a template's newest version remembers of its tools; nothing where there is none."""
        try:
            record = await self._repository.read_template(name=name)
        except NotFound:
            return {}
        return (await self._repository.read_version(version_id=record.version_id)).tool_fingerprints

    async def linking_to(self, name: str) -> list[str]:
        """Return the names of the templates that link to ``name`` and may run; archived ones never do."""
        runnable = TemplateFilter(statuses=("draft", "active", "deprecated"))
        return [
            record.name
            async for record, template in self.every(runnable)
            if name in WorkflowFacts.of(template).links
        ]

    async def known_workflows(
        self, links: Iterable[str], *, with_tags_of: frozenset[str]
    ) -> dict[str, WorkflowFacts]:
        """Return what a review needs to know to follow ``links`` to their ends.

        When one of them leads nowhere it is all templates, since one of them may have been meant.

        Args:
            links: names of templates.
            with_tags_of: those whose version tags are needed too.
        """
        known: dict[str, WorkflowFacts] = {}
        agenda = list(links)
        while agenda:
            name = agenda.pop()
            if name in known:
                continue
            facts = await self._facts(name, with_tags=name in with_tags_of)
            if facts is None:
                return await self._all_workflows() | known
            known[name] = facts
            agenda += facts.links
        return known

    async def _facts(self, name: str, *, with_tags: bool) -> WorkflowFacts | None:
        try:
            record = await self._repository.read_template(name=name)
        except NotFound:
            return None
        template = self.parsed(record)
        if template is None:
            return WorkflowFacts(status=record.status, version=record.version)
        return WorkflowFacts.of(template, await self._tags(record.id) if with_tags else frozenset())

    async def _tags(self, template_id: UUID) -> frozenset[str]:
        tags: set[str] = set()
        offset, total = 0, 1
        while offset < total:
            page = await self._repository.list_versions(template_id, offset=offset, limit=PAGE)
            tags |= {version.version_tag for version in page.records}
            offset, total = offset + PAGE, page.total
        return frozenset(tags)

    async def _all_workflows(self) -> dict[str, WorkflowFacts]:
        return {record.name: WorkflowFacts.of(template) async for record, template in self.every()}


@dataclass(frozen=True, slots=True)
class FoundTools:
    """The tools that a template names, or why there is none; a ``ToolLookup`` of a review.

    Attributes:
        remembered: what the template's newest version called under the names.
    """

    by_name: Mapping[str, ToolEntry | ToolServerError]
    policy: ToolPolicy
    remembered: Mapping[str, ToolFingerprint] = field(default_factory=dict[str, ToolFingerprint])

    def find(self, tool_name: str) -> ToolFacts | LookupProblem:
        """Return the tool that was found under the name, or why there is none."""
        match self.by_name[tool_name]:
            case ToolEntry() as tool:
                return ToolFacts(
                    address=tool.address,
                    input_schema=tool.input_schema,
                    destructive=tool.destructive,
                    idempotent=tool.idempotent,
                    refusal=self.policy.refusal(tool),
                    change=change_since(self.remembered.get(tool_name), tool_name, tool),
                )
            case ToolServerError() as error:
                return _problem(error)

    def fingerprints(self) -> dict[str, ToolFingerprint]:
        """Return what a version that is saved now is to remember of its tools.

        Of a tool that cannot be looked up now it is what the version before remembered.
        """
        found = {
            name: fingerprint_of(tool) for name, tool in self.by_name.items() if isinstance(tool, ToolEntry)
        }
        return {name: one for name, one in self.remembered.items() if name in self.by_name} | found


async def look_up_tools(
    gateway: Gateway,
    policy: ToolPolicy,
    names: Iterable[str],
    remembered: Mapping[str, ToolFingerprint] | None = None,
) -> FoundTools | None:
    """Look up the tools of these names at once; ``None`` when no tool server is configured.

    A tool that is not found within ``TOOL_PATIENCE_SECONDS`` counts as one whose server is away.
    """
    if not await gateway.servers():
        return None
    found: dict[str, ToolEntry | ToolServerError] = {name: _too_slow(name) for name in names}

    async def look_up(name: str) -> None:
        try:
            found[name] = await gateway.resolve(name)
        except ToolServerError as error:
            found[name] = error

    with anyio.move_on_after(TOOL_PATIENCE_SECONDS):
        async with anyio.create_task_group() as tasks:
            for name in list(found):
                tasks.start_soon(look_up, name)
    return FoundTools(found, policy, remembered or {})


def is_unavailable(error: ToolServerError) -> bool:
    """Say whether nobody knows if there is such a tool, because a server is away."""
    return error.code not in ("unknown_tool", "ambiguous_tool")


def _too_slow(name: str) -> ToolServerError:
    return ToolServerError(
        f"The tool {name!r} was not found within {TOOL_PATIENCE_SECONDS:g} seconds.",
        code="tool_server_unavailable",
        suggestion="Look at the states of the tool servers, then try again.",
    )


def _problem(error: ToolServerError) -> LookupProblem:
    candidates = tuple(error.details.get("candidates", ()))
    match error.code:
        case "unknown_tool" | "ambiguous_tool" as code:
            return LookupProblem(code=code, message=error.message, candidates=candidates)
        case _:
            return LookupProblem(code="unavailable", message=error.message)
