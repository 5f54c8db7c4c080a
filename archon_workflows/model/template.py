"""The template document: parameters, outputs and steps under a name."""

from typing import Annotated, Any, Literal, cast, get_args

from pydantic import ConfigDict, Field, Strict, StringConstraints, model_validator

from archon_workflows.model.steps import Document, Name, Sequence
from archon_workflows.model.tools import ToolPattern

TemplateStatus = Literal["draft", "active", "deprecated", "archived"]
TEMPLATE_STATUSES: tuple[str, ...] = get_args(TemplateStatus)
ChangeType = Literal["create", "update", "major", "minor", "patch"]
CHANGE_TYPES: tuple[str, ...] = get_args(ChangeType)
OnLimit = Literal["queue", "reject", "cancel_oldest"]
Priority = Annotated[int, Field(ge=-100, le=100)]

_PART = r"(0|[1-9]\d*)"
_LABEL = r"(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"
SEMANTIC_VERSION_PATTERN = (
    rf"^{_PART}\.{_PART}\.{_PART}(-{_LABEL}(\.{_LABEL})*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$"
)
"""See https://semver.org, section "Is there a suggested regular expression"."""

SemanticVersion = Annotated[str, StringConstraints(pattern=SEMANTIC_VERSION_PATTERN, max_length=100)]


class Parameter(Document):
    """One input: a JSON Schema fragment (any further keyword is kept) plus five words of ours."""

    model_config = ConfigDict(extra="allow")

    required: bool = False
    """Whether a run must give it."""
    default: Any = None
    """The value when a run does not give it."""
    description: str | None = None
    """What it means, for whoever starts a run."""
    secret: bool = False
    """Never stored or logged in clear; needs `type: string`; only for `parameters` of actions and links."""

    @property
    def has_default(self) -> bool:
        """Whether the document gave a default; ``null`` is a default like any other."""
        return "default" in self.model_fields_set

    @property
    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema fragment alone, without our own words."""
        return dict(self.model_extra or {})


class Output(Document):
    """One output: a JSON Schema fragment plus ``value``, a template value over the finished steps."""

    model_config = ConfigDict(extra="allow")

    value: Any = None
    """Expression for the value. Without it: the field of the same name from the last completed step."""
    description: str | None = None
    """What it means, for whoever reads the result."""

    @property
    def has_value(self) -> bool:
        """Whether the document said where the output comes from."""
        return "value" in self.model_fields_set

    @property
    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema fragment alone."""
        return dict(self.model_extra or {})


class Template(Document):
    """A named, versioned document; see SPEC section 2."""

    name: Name
    """Unique name, by which runs and links find the template."""
    title: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """A title for people; default from the name."""
    description: Annotated[str, StringConstraints(max_length=20_000)] | None = None
    """What the workflow does and when to use it."""
    version: SemanticVersion = "1.0.0"
    """Semantic version of this document."""
    status: TemplateStatus = "active"
    """`draft` runs only when asked for; `deprecated` runs with a warning; `archived` never runs."""
    category: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    """A group to list it under."""
    tags: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=100)], ...],
        Strict(strict=False),
        Field(max_length=100),
    ] = ()
    """Words to find it by."""
    parameters: dict[Name, Parameter] = Field(default_factory=dict[str, Parameter])
    """Inputs by name: `workflow.parameters.NAME` in expressions."""
    outputs: dict[Name, Output] = Field(default_factory=dict[str, Output])
    """Results by name. Without any, the result is the output of the last completed step."""
    steps: Sequence
    """What is done, in this order unless a step jumps."""
    timeout_minutes: Annotated[float, Field(gt=0, le=366 * 24 * 60)] = 60
    """Time limit of a run, pauses not counted."""
    max_retries: Annotated[int, Field(ge=0, le=1_000)] = 3
    """Default `retry_count` of steps with `on_failure: retry`."""
    max_concurrent_executions: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """How many of its executions may run (or be paused) at a time; without it any number."""
    on_limit: OnLimit = "queue"
    """One execution more: `queue` it until its turn, `reject` it, or `cancel_oldest` in its favour."""
    priority: Priority = 0
    """Which executions start first when many wait: higher ones, then older ones."""
    allowed_tools: Annotated[tuple[ToolPattern, ...], Strict(strict=False), Field(max_length=200)] | None = (
        None
    )
    """Tools that its own steps may call: names or `server/tool`, with `*`. Without it, all that the server \
allows."""
    created_by: Annotated[str, StringConstraints(max_length=200)] | None = None
    """Who made it."""
    is_public: bool = True
    """Whether everyone may read it."""

    @model_validator(mode="before")
    @classmethod
    def _title_from_name(cls, document: Any) -> Any:
        if not isinstance(document, dict) or "title" in document:
            return cast("Any", document)
        fields = cast("dict[str, Any]", document)
        name = fields.get("name")
        words = name.replace("_", " ").capitalize() if isinstance(name, str) else ""
        return {**fields, "title": words[:200] or "?"}
