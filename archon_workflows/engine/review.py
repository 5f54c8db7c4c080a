"""The review of a document with what is known of the world around it at that moment."""

from archon_workflows.engine.lookups import TemplateShelf, look_up_tools
from archon_workflows.errors import InvalidTemplate
from archon_workflows.gateway.port import Gateway
from archon_workflows.model.findings import Finding
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.parsing import parse_template
from archon_workflows.model.review import ValidatedTemplate, WorkflowFacts, validate_document
from archon_workflows.model.review.layout import Layout
from archon_workflows.model.steps import ActionStep, WorkflowLinkStep
from archon_workflows.model.template import Template


class TemplateReview:
    """Reviews documents; tools are looked at as far as their servers answer soon."""

    def __init__(self, shelf: TemplateShelf, gateway: Gateway) -> None:
        self._shelf = shelf
        self._gateway = gateway

    async def of(self, document: JsonValue, *, former_name: str | None = None) -> ValidatedTemplate:
        """Return the template and all findings.

        Args:
            document: anything.
            former_name: the name that the template has until the document is saved.
        """
        readable = parse_template(document).mended
        if readable is None:
            return validate_document(document)
        layout = Layout(readable)
        tools = {place.step.tool_name for place in layout.steps if isinstance(place.step, ActionStep)}
        known = await self._known_workflows(layout)
        if former_name not in (None, readable.name):
            known.pop(former_name, None)
        found = await look_up_tools(self._gateway, sorted(tools))
        return validate_document(document, known_workflows=known, tools=found)

    async def passed(
        self, document: JsonValue, *, former_name: str | None = None
    ) -> tuple[Template, tuple[Finding, ...]]:
        """Return the template, and the findings that are no errors.

        Raises:
            InvalidTemplate: with every finding in ``details["findings"]``.
        """
        validated = await self.of(document, former_name=former_name)
        return accepted(validated.template, validated.findings)

    async def _known_workflows(self, layout: Layout) -> dict[str, WorkflowFacts]:
        links = [place.step for place in layout.steps if isinstance(place.step, WorkflowLinkStep)]
        names = {step.workflow_name for step in links} - {layout.template.name}
        pinned = frozenset(step.workflow_name for step in links if step.version is not None)
        return await self._shelf.known_workflows(sorted(names), with_tags_of=pinned)


def accepted(
    template: Template | None, findings: tuple[Finding, ...]
) -> tuple[Template, tuple[Finding, ...]]:
    """Return the template and its findings.

    Raises:
        InvalidTemplate: there is no template, because a finding is an error.
    """
    if template is not None:
        return template, findings
    errors = [finding for finding in findings if finding.severity == "error"]
    count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    first = errors[0]
    raise InvalidTemplate(
        f"The template has {count}; the first one, at {first.path or 'the whole document'}: {first.message}",
        path=first.path,
        suggestion=first.suggestion,
        details={"findings": [finding.as_json() for finding in findings]},
    )
