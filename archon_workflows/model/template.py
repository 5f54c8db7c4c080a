"""The template document: parameters, outputs and steps under a name."""

from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, Strict, StringConstraints, model_validator

from archon_workflows.model.steps import Document, Name, Sequence

TemplateStatus = Literal["draft", "active", "deprecated", "archived"]
TEMPLATE_STATUSES: tuple[str, ...] = get_args(TemplateStatus)
ChangeType = Literal["create", "update", "major", "minor", "patch"]
CHANGE_TYPES: tuple[str, ...] = get_args(ChangeType)

SEMANTIC_VERSION_PATTERN = (
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$"
)
SemanticVersion = Annotated[str, StringConstraints(pattern=SEMANTIC_VERSION_PATTERN, max_length=100)]


class Parameter(Document):
    """One input: a JSON Schema fragment (any further keyword is kept) plus five words of ours."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    required: bool = False
    default: Any = None
    description: str | None = None
    secret: bool = False

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

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    value: Any = None
    description: str | None = None

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
    title: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    description: Annotated[str, StringConstraints(max_length=20_000)] | None = None
    version: SemanticVersion = "1.0.0"
    status: TemplateStatus = "active"
    category: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    tags: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=100)], ...],
        Strict(strict=False),
        Field(max_length=100),
    ] = ()
    parameters: dict[Name, Parameter] = Field(default_factory=dict[str, Parameter])
    outputs: dict[Name, Output] = Field(default_factory=dict[str, Output])
    steps: Sequence
    timeout_minutes: Annotated[float, Field(gt=0, le=366 * 24 * 60)] = 60
    max_retries: Annotated[int, Field(ge=0, le=1_000)] = 3
    created_by: Annotated[str, StringConstraints(max_length=200)] | None = None
    is_public: bool = True

    @model_validator(mode="before")
    @classmethod
    def _title_from_name(cls, document: Any) -> Any:
        if isinstance(document, dict) and "title" not in document and isinstance(document.get("name"), str):
            return {**document, "title": document["name"].replace("_", " ").capitalize() or "?"}
        return document
