"""The review of a whole template: everything beyond the shape of its parts, in one pass.

It looks nothing up by itself: what there is outside of the template is handed in as facts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from archon_workflows.model.findings import Finding, has_errors
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.parsing import bounded, is_under, parse_template
from archon_workflows.model.review.calls import review_links, review_tools
from archon_workflows.model.review.declarations import review_declarations
from archon_workflows.model.review.facts import (
    LookupProblem,
    ToolFacts,
    ToolLookup,
    WorkflowFacts,
    linked_names,
)
from archon_workflows.model.review.flow import Flow
from archon_workflows.model.review.hidden_text import review_hidden_text
from archon_workflows.model.review.jumps import review_jumps, review_reachability
from archon_workflows.model.review.layout import Layout
from archon_workflows.model.review.limits import review_limits
from archon_workflows.model.review.names import review_names
from archon_workflows.model.review.references import review_expressions
from archon_workflows.model.rules import RULES, Rule, rules_table
from archon_workflows.model.template import Template

__all__ = [
    "RULES",
    "LookupProblem",
    "Rule",
    "ToolFacts",
    "ToolLookup",
    "ValidatedTemplate",
    "WorkflowFacts",
    "linked_names",
    "review_template",
    "rules_table",
    "validate_document",
]


@dataclass(frozen=True, slots=True)
class ValidatedTemplate:
    """A document after validation: the template when no finding is an error, and all findings."""

    template: Template | None
    findings: tuple[Finding, ...]


def validate_document(
    document: JsonValue,
    *,
    known_workflows: Mapping[str, WorkflowFacts] | None = None,
    tools: ToolLookup | None = None,
) -> ValidatedTemplate:
    """Parse and review a document: every finding of both; never raises for what the document holds."""
    parsed = parse_template(document)
    if parsed.mended is None:
        return ValidatedTemplate(None, parsed.findings)
    reviewed = review_template(parsed.mended, known_workflows=known_workflows, tools=tools)
    told = (one for one in reviewed if not is_under(one.path, parsed.mended_paths))
    hidden = bounded(review_hidden_text(document))
    findings = bounded((*parsed.findings, *told, *hidden))
    return ValidatedTemplate(None if has_errors(findings) else parsed.template, findings)


def review_template(
    template: Template,
    *,
    known_workflows: Mapping[str, WorkflowFacts] | None = None,
    tools: ToolLookup | None = None,
) -> tuple[Finding, ...]:
    """Return everything that is wrong or doubtful in a template of the right shape.

    Args:
        template: what was parsed, or what could be read of it.
        known_workflows: the saved templates by name; ``None`` when they are not known, then links are
            not looked at.
        tools: the tools by name; ``None`` when no tool server is configured.
    """
    layout = Layout(template)
    flow = Flow(layout)
    found = chain(
        review_declarations(template),
        review_names(layout),
        review_jumps(layout),
        review_expressions(layout, flow),
        review_links(layout, known_workflows) if known_workflows is not None else (),
        review_tools(layout, tools) if tools is not None else (),
        review_limits(layout),
        review_reachability(layout, flow),
    )
    return bounded(found)
