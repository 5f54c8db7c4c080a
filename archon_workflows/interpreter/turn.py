"""What goes into the interpreter (events) and what comes out of it (turns with commands).

Every event carries ``now`` by the database's clock; the interpreter knows no other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from archon_workflows.model.outcomes import JsonValue, Outcome, StepError
from archon_workflows.model.records import ControlRequest, ExecutionChange, LogEntry, StepRecord


@dataclass(frozen=True, slots=True)
class Started:
    """The owner has the execution: begin it, or go on from what is recorded."""

    now: datetime


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """The call of the step at ``path`` has an outcome."""

    path: str
    outcome: Outcome
    now: datetime


@dataclass(frozen=True, slots=True)
class ToolProgressed:
    """The tool called by the step at ``path`` reported progress ``{progress, total?, message?}``."""

    path: str
    progress: Mapping[str, JsonValue]
    now: datetime


@dataclass(frozen=True, slots=True)
class ChildFinished:
    """The child execution of the step at ``path`` ended, or could not be started (``error``)."""

    path: str
    status: Literal["completed", "failed", "cancelled"]
    output: JsonValue
    error: StepError | None
    now: datetime


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer that ``SetTimer`` asked for has come."""

    key: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Controlled:
    """Someone's control request reached the owner."""

    request: ControlRequest
    now: datetime


@dataclass(frozen=True, slots=True)
class InterruptionDecided:
    """The engine's answer to ``LookUpInterrupted``: what ``on_interrupt`` is by the tool's annotations."""

    path: str
    decision: Literal["retry", "pause"]
    reason: str
    now: datetime


@dataclass(frozen=True, slots=True)
class ToolLookedUp:
    """The engine's answer to ``LookUpTool``: why someone must approve the call first, if so."""

    path: str
    approval_reason: str | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Remarked:
    """The engine saw something that the log of the execution must say as a warning."""

    message: str
    details: Mapping[str, JsonValue]
    now: datetime


@dataclass(frozen=True, slots=True)
class LimitPassed:
    """The execution, or its tree, has done more than it may; ``error`` says what."""

    error: StepError
    now: datetime


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The execution ran over ``timeout_minutes``."""

    now: datetime


Event = (
    Started
    | ToolFinished
    | ToolProgressed
    | ChildFinished
    | TimerFired
    | Controlled
    | InterruptionDecided
    | ToolLookedUp
    | Remarked
    | LimitPassed
    | DeadlinePassed
)


@dataclass(frozen=True, slots=True)
class CallTool:
    """Call a tool; its outcome comes back as ``ToolFinished``. No ``timeout_seconds``: the default."""

    path: str
    tool_name: str
    arguments: Mapping[str, JsonValue]
    idempotency_key: str
    timeout_seconds: float | None


@dataclass(frozen=True, slots=True)
class CancelCall:
    """Cancel the running call of the step at ``path``."""

    path: str


@dataclass(frozen=True, slots=True)
class StartChild:
    """Create the child execution (or find it) and report its end as ``ChildFinished``."""

    path: str
    child_id: UUID
    workflow_name: str
    version: str | None
    parameters: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class CancelChild:
    """Cancel the child execution, in the write that records the turn; nobody waits for it."""

    child_id: UUID


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send ``TimerFired`` with this key when the time has come; a later one with the key replaces it."""

    key: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget the timer."""

    key: str


@dataclass(frozen=True, slots=True)
class LookUpInterrupted:
    """Look at the annotations of a tool whose call was interrupted; answer ``InterruptionDecided``."""

    path: str
    tool_name: str


@dataclass(frozen=True, slots=True)
class LookUpTool:
    """Look at the annotations of a tool before a step calls it; answer ``ToolLookedUp``."""

    path: str
    tool_name: str


Command = (
    CallTool | CancelCall | StartChild | CancelChild | SetTimer | CancelTimer | LookUpInterrupted | LookUpTool
)


NO_CHANGE = ExecutionChange()


@dataclass(slots=True)
class Turn:
    """What one event led to: record it in one journal entry, then perform the commands in order.

    Attributes:
        steps: rows by step path.
        acknowledged: control requests that were acted on.
        released: nothing more will come before someone claims the execution anew (it ended or is paused).
    """

    steps: dict[str, StepRecord] = field(default_factory=dict[str, StepRecord])
    change: ExecutionChange = NO_CHANGE
    log: list[LogEntry] = field(default_factory=list[LogEntry])
    log_dropped: int = 0
    commands: list[Command] = field(default_factory=list[Command])
    acknowledged: list[UUID] = field(default_factory=list[UUID])
    released: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to record (there may be commands)."""
        return not (self.steps or self.log or self.log_dropped or self.acknowledged or self.released) and (
            self.change == NO_CHANGE
        )
