"""What a review may know of the world outside the template: other templates and the tools."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from archon_workflows.model.review.layout import Layout
from archon_workflows.model.steps import WorkflowLinkStep
from archon_workflows.model.template import Parameter, Template, TemplateStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFacts:
    """What must be known of a saved template to review links to it.

    Attributes:
        version: tag of the current version, to which ``links`` and ``parameters`` belong.
        links: names of the templates that its steps link to.
        version_tags: tags of all its versions.
    """

    status: TemplateStatus
    version: str
    links: frozenset[str] = frozenset()
    parameters: Mapping[str, Parameter] = field(default_factory=dict[str, Parameter])
    version_tags: frozenset[str] = frozenset()

    @classmethod
    def of(cls, template: Template, version_tags: frozenset[str] = frozenset()) -> "WorkflowFacts":
        """Gather the facts of a template; its own version is always among the tags."""
        return cls(
            status=template.status,
            version=template.version,
            links=frozenset(linked_names(template)),
            parameters=template.parameters,
            version_tags=version_tags | {template.version},
        )


def linked_names(template: Template) -> Iterator[str]:
    """Yield the names of the templates that the steps link to, nested steps included."""
    for place in Layout(template).steps:
        if isinstance(place.step, WorkflowLinkStep):
            yield place.step.workflow_name


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFacts:
    """What must be known of a tool to review a call: its ``server/tool`` address and what it takes.

    Attributes:
        refusal: why no step may call it on this server.
        change: how it differs from what the newest saved version called under the name.
    """

    address: str
    input_schema: Mapping[str, Any]
    refusal: str | None = None
    change: str | None = None
    destructive: bool | None = None
    idempotent: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupProblem:
    """Why a tool could not be looked up; ``candidates`` are addresses that may have been meant."""

    code: Literal["unknown_tool", "ambiguous_tool", "unavailable"]
    message: str
    candidates: tuple[str, ...] = ()


class ToolLookup(Protocol):
    """The tools as they are known at this moment."""

    def find(self, tool_name: str) -> ToolFacts | LookupProblem:
        """Return the tool that a step means by ``tool_name``, or why there is none."""
        ...
