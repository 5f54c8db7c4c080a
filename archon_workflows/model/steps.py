"""The nodes of a template: what each step type may say.

These classes are the shape only; what a whole template must satisfy beyond its shape is reviewed in
``archon_workflows.model.review``. Fields that hold expressions stay text here: the interpreter's plan
parses them once per version. The text under each field is its description in the published JSON Schema.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Discriminator, Field, Strict, StringConstraints, Tag

from archon_workflows.model.descriptions import DescribedModel

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
RESERVED_STEP_NAMES = frozenset({"next", "end", "fail", "retry", "continue"})

StepType = Literal["action", "condition", "workflow_link", "parallel", "loop"]
STEP_TYPES: tuple[str, ...] = get_args(StepType)

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Seconds = Annotated[float, Field(ge=0, le=366 * 24 * 3600)]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=65_536)]


class Document(DescribedModel):
    """Base of everything that is parsed out of a template document."""

    # Built when the first template is parsed: a server that starts has none yet.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class RepeatUntil(Document):
    """Polls a step: it is run again until ``condition`` over its ``output`` holds."""

    condition: Expression | bool
    """Expression over `output`; the step is run again until it is true."""
    interval_seconds: Seconds = 5.0
    """Wait between two runs."""
    max_attempts: Annotated[int, Field(ge=1, le=100_000)] = 60
    """Runs in all; when none of them satisfies the condition the step fails."""


class Approval(Document):
    """Pauses the execution before a step until someone decides."""

    message: Annotated[str, StringConstraints(max_length=4_000)] | None = None
    """What the one who decides reads; may hold expressions."""
    timeout_seconds: Seconds | None = None
    """How long to wait; without it, for ever."""
    on_timeout: Literal["fail", "approve", "reject"] = "fail"
    """What follows when nobody decided in time."""


class StepFields(Document):
    """What every step may say, whatever its type."""

    name: Name | None = None
    """Unique in the whole template; other steps refer to it as `steps.NAME`. Optional for nested steps."""
    title: Annotated[str, StringConstraints(max_length=200)] | None = None
    """A title for people."""
    description: Annotated[str, StringConstraints(max_length=10_000)] | None = None
    """What the step is for."""
    when: Expression | bool | None = None
    """Condition; when it is false the step is skipped."""
    on_success: str = "next"
    """`next`, `end` (finish the enclosing sequence as completed) or a step of the same sequence."""
    on_failure: "OnFailure" = "fail"
    """`fail`, `retry`, `continue`, `end`, a step of the same sequence, or inline steps that see `error`."""
    retry_count: Annotated[int, Field(ge=0, le=1_000)] | None = None
    """Attempts after the first. Default 0, or the template's `max_retries` with `on_failure: retry`."""
    retry_delay_seconds: Seconds = 1.0
    """Wait before the second attempt."""
    retry_backoff: Annotated[float, Field(ge=1, le=100)] = 2.0
    """Factor by which the wait grows with each attempt."""
    retry_max_delay_seconds: Seconds = 300.0
    """The longest wait between attempts."""
    retry_jitter: bool = False
    """Wait a part of the time only, so that many executions do not retry at the same moment."""
    retry_on: Annotated[tuple[str, ...], Strict(strict=False)] | None = None
    """Error codes to retry (`tool_error`, `timeout`, `connection`, ...); default: all that may pass."""
    timeout_seconds: Annotated[float, Field(gt=0, le=366 * 24 * 3600)] | None = None
    """Time limit of one attempt."""
    delay_seconds: Seconds = 0.0
    """Wait before the step starts."""
    repeat_until: RepeatUntil | None = None
    """Run the step again until a condition over its `output` holds."""
    approval: Approval | bool = False
    """`true` or an object: wait for someone's approval before the step starts."""
    set_context: dict[Name, Any] = Field(default_factory=dict[str, Any])
    """Context variables to write when the step completes; expressions see its `output`."""
    on_interrupt: Literal["retry", "pause", "fail"] | None = None
    """What to do when the process died while the step ran. Default: `pause` for destructive tools, else
    `retry`."""
    max_visits: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """How often jumps may lead here in one run of the sequence."""


class ActionStep(StepFields):
    """Calls one tool of a tool server."""

    type: Literal["action"]
    """`action`: call a tool."""
    tool_name: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    """The tool: its exact name, `server/tool` or `tool_server`."""
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Arguments of the tool; texts may hold expressions."""
    fail_when: Expression | bool | None = None
    """Condition over `output` that makes the step fail. Default: a result with `success: false`."""


class ConditionStep(StepFields):
    """Chooses between two ways on."""

    type: Literal["condition"]
    """`condition`: choose between two ways on."""
    condition: Expression | bool
    """One expression that yields true or false."""
    on_true: "Branch | None" = None
    """`next` (default), `end`, `fail`, a step of the same sequence, an inline step or a list of steps."""
    on_false: "Branch | None" = None
    """Likewise. When both sides name a step, the one that is not chosen is skipped."""


class WorkflowLinkStep(StepFields):
    """Runs another template as a child execution and waits for it."""

    type: Literal["workflow_link"]
    """`workflow_link`: run another template."""
    workflow_name: Name
    """The exact name of the template."""
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Its input parameters; texts may hold expressions."""
    version: str | None = None
    """A version tag of it; default is the current version."""


class ParallelStep(StepFields):
    """Runs branches at the same time; a branch is a step or a list of steps."""

    type: Literal["parallel"]
    """`parallel`: run branches at the same time."""
    steps: Annotated[
        tuple["StepOrSequence", ...], Strict(strict=False), Field(min_length=1, max_length=1_000)
    ]
    """The branches: each a step or a list of steps. The output is a list in the same order."""
    max_concurrency: Annotated[int, Field(ge=1, le=1_000)] | None = None
    """How many branches run at a time; default all."""
    wait_for: Literal["all", "any"] = "all"
    """Go on when all branches have finished, or as soon as one has."""
    on_branch_failure: Literal["fail", "continue"] = "fail"
    """`fail`: cancel the other branches and fail; `continue`: its output is `{"error": {...}}`."""


class LoopStep(StepFields):
    """Runs its steps once for each item of a list or an object."""

    type: Literal["loop"]
    """`loop`: run steps for each item."""
    collection: Any
    """A list or object, or an expression that yields one."""
    item_variable: Name = "item"
    """The name of the item in expressions of the body; `loop.index` and the like are there too."""
    steps: "Sequence"
    """The body."""
    max_concurrency: Annotated[int, Field(ge=1, le=1_000)] = 1
    """How many iterations run at a time."""
    max_iterations: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """A longer collection fails before the first iteration."""
    on_item_failure: Literal["fail", "continue"] = "fail"
    """`fail`: stop at the first failed iteration; `continue`: its output is `{"error": {...}}`."""
    until: Expression | bool | None = None
    """Condition that ends the loop after an iteration."""


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

Branches = Annotated[tuple[StepOrSequence, ...], Strict(strict=False), Field(min_length=1, max_length=1_000)]
