"""The nodes of a template: what each step type may say.

These classes are the shape only; what a whole template must satisfy beyond its shape is reviewed in
``archon_workflows.model.review``. Fields that hold expressions stay text here: the interpreter's plan
parses them once per version.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Strict, StringConstraints, Tag

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
RESERVED_STEP_NAMES = frozenset({"next", "end", "fail", "retry", "continue"})

StepType = Literal["action", "condition", "workflow_link", "parallel", "loop"]
STEP_TYPES: tuple[str, ...] = get_args(StepType)

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Seconds = Annotated[float, Field(ge=0, le=366 * 24 * 3600)]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=65_536)]


class Document(BaseModel):
    """Base of everything that is parsed out of a template document."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RepeatUntil(Document):
    """Polls a step: it is run again until ``condition`` over its ``output`` holds."""

    condition: Expression | bool
    interval_seconds: Seconds = 5.0
    max_attempts: Annotated[int, Field(ge=1, le=100_000)] = 60


class Approval(Document):
    """Pauses the execution before a step until someone decides."""

    message: Annotated[str, StringConstraints(max_length=4_000)] | None = None
    timeout_seconds: Seconds | None = None
    on_timeout: Literal["fail", "approve", "reject"] = "fail"


class StepFields(Document):
    """What every step may say, whatever its type."""

    name: Name | None = None
    title: Annotated[str, StringConstraints(max_length=200)] | None = None
    description: Annotated[str, StringConstraints(max_length=10_000)] | None = None
    when: Expression | bool | None = None
    on_success: str = "next"
    on_failure: "OnFailure" = "fail"
    retry_count: Annotated[int, Field(ge=0, le=1_000)] | None = None
    retry_delay_seconds: Seconds = 1.0
    retry_backoff: Annotated[float, Field(ge=1, le=100)] = 2.0
    retry_max_delay_seconds: Seconds = 300.0
    retry_jitter: bool = False
    retry_on: Annotated[tuple[str, ...], Strict(strict=False)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=366 * 24 * 3600)] | None = None
    delay_seconds: Seconds = 0.0
    repeat_until: RepeatUntil | None = None
    approval: Approval | bool = False
    set_context: dict[Name, Any] = Field(default_factory=dict[str, Any])
    on_interrupt: Literal["retry", "pause", "fail"] | None = None
    max_visits: Annotated[int, Field(ge=1, le=1_000_000)] = 1000


class ActionStep(StepFields):
    """Calls one tool of a tool server."""

    type: Literal["action"]
    tool_name: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])
    fail_when: Expression | bool | None = None


class ConditionStep(StepFields):
    """Chooses between two ways on."""

    type: Literal["condition"]
    condition: Expression | bool
    on_true: "Branch | None" = None
    on_false: "Branch | None" = None


class WorkflowLinkStep(StepFields):
    """Runs another template as a child execution and waits for it."""

    type: Literal["workflow_link"]
    workflow_name: Name
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])
    version: str | None = None


class ParallelStep(StepFields):
    """Runs branches at the same time; a branch is a step or a list of steps."""

    type: Literal["parallel"]
    steps: Annotated[tuple["StepOrSequence", ...], Strict(strict=False), Field(min_length=1, max_length=1_000)]
    max_concurrency: Annotated[int, Field(ge=1, le=1_000)] | None = None
    wait_for: Literal["all", "any"] = "all"
    on_branch_failure: Literal["fail", "continue"] = "fail"


class LoopStep(StepFields):
    """Runs its steps once for each item of a list or an object."""

    type: Literal["loop"]
    collection: Any
    item_variable: Name = "item"
    steps: "Sequence"
    max_concurrency: Annotated[int, Field(ge=1, le=1_000)] = 1
    max_iterations: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    on_item_failure: Literal["fail", "continue"] = "fail"
    until: Expression | bool | None = None


Step = Annotated[
    ActionStep | ConditionStep | WorkflowLinkStep | ParallelStep | LoopStep, Field(discriminator="type")
]
Sequence = Annotated[tuple[Step, ...], Strict(strict=False), Field(min_length=1, max_length=10_000)]


def _kind(value: object) -> str:
    """Tell the three ways to write a branch apart, so that a mistake inside one is reported once."""
    if isinstance(value, str):
        return "name"
    return "sequence" if isinstance(value, (list, tuple)) else "step"


Branch = Annotated[
    Annotated[str, Tag("name")] | Annotated[Step, Tag("step")] | Annotated[Sequence, Tag("sequence")],
    Discriminator(_kind),
]
OnFailure = Branch
StepOrSequence = Annotated[
    Annotated[Step, Tag("step")] | Annotated[Sequence, Tag("sequence")], Discriminator(_kind)
]

for _model in (StepFields, ActionStep, ConditionStep, WorkflowLinkStep, ParallelStep, LoopStep):
    _model.model_rebuild()
