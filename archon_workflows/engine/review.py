"""The review of a document with what is known of the world around it at that moment."""

from collections.abc import Mapping
from dataclasses import dataclass

from archon_workflows.engine.lookups import TemplateShelf, look_up_tools
from archon_workflows.engine.tool_policy import ToolPolicy
from archon_workflows.errors import InvalidTemplate
from archon_workflows.gateway.port import Gateway
from archon_workflows.model.findings import Finding
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.parsing import parse_template
from archon_workflows.model.review import ValidatedTemplate, WorkflowFacts, validate_document
from archon_workflows.model.review.layout import Layout
from archon_workflows.model.steps import ActionStep, WorkflowLinkStep
from archon_workflows.model.template import Template
from archon_workflows.model.tools import ToolFingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """A document and what the review of it saw.

    Attributes:
        tool_fingerprints: what a version that is saved now is to remember of its tools.
    """

    template: Template | None
    findings: tuple[Finding, ...]
    tool_fingerprints: Mapping[str, ToolFingerprint]


class TemplateReview:
    """Reviews documents; tools are looked at as far as their servers answer soon."""

    def __init__(self, shelf: TemplateShelf, gateway: Gateway, policy: ToolPolicy) -> None:
        self._shelf = shelf
        self._gateway = gateway
        self._policy = policy

    async def of(self, document: JsonValue, *, former_name: str | None = None) -> Reviewed:
        """Return the template and all findings.

        Args:
            document: anything.
            former_name: the name that the template has until the document is saved.
        """
        readable = parse_template(document).mended
        if readable is None:
            return _reviewed(validate_document(document), {})
        layout = Layout(readable)
        tools = {place.step.tool_name for place in layout.steps if isinstance(place.step, ActionStep)}
        known = await self._known_workflows(layout)
        if former_name not in (None, readable.name):
            known.pop(former_name, None)
        remembered = await self._shelf.fingerprints(former_name or readable.name)
        found = await look_up_tools(self._gateway, self._policy, sorted(tools), remembered)
        validated = validate_document(document, known_workflows=known, tools=found)
        return _reviewed(validated, found.fingerprints() if found is not None else remembered)

    async def passed(
        self, document: JsonValue, *, former_name: str | None = None
    ) -> tuple[Template, Reviewed]:
        """Return the template, and the review with the findings that are no errors.

        Raises:
            InvalidTemplate: with every finding in ``details["findings"]``.
        """
        reviewed = await self.of(document, former_name=former_name)
        return accepted(reviewed.template, reviewed.findings), reviewed

    async def _known_workflows(self, layout: Layout) -> dict[str, WorkflowFacts]:
        links = [place.step for place in layout.steps if isinstance(place.step, WorkflowLinkStep)]
        names = {step.workflow_name for step in links} - {layout.template.name}
        pinned = frozenset(step.workflow_name for step in links if step.version is not None)
        return await self._shelf.known_workflows(sorted(names), with_tags_of=pinned)


def _reviewed(validated: ValidatedTemplate, tool_fingerprints: Mapping[str, ToolFingerprint]) -> Reviewed:
    return Reviewed(
        template=validated.template, findings=validated.findings, tool_fingerprints=tool_fingerprints
    )


def accepted(template: Template | None, findings: tuple[Finding, ...]) -> Template:
    """Return the template of a document whose findings allow it.

    Raises:
        InvalidTemplate: there is no template, because a finding is an error.
    """
    if template is not None:
        return template
    errors = [finding for finding in findings if finding.severity == "error"]
    count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    first = errors[0]
    raise InvalidTemplate(
        f"The template has {count}; the first one, at {first.path or 'the whole document'}: {first.message}",
        path=first.path,
        suggestion=first.suggestion,
        details={"findings": [finding.as_json() for finding in findings]},
    )
