"""What frames, sequences and the interpreter ask of each other."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol
from uuid import UUID

from archon_workflows.expressions import JsonValue
from archon_workflows.interpreter.plan import SequencePlan, StepPlan, Target
from archon_workflows.interpreter.scope import Context, Scope, StepView
from archon_workflows.interpreter.turn import Command
from archon_workflows.model.outcomes import StepError
from archon_workflows.model.records import ControlRequest, LogLevel, StepRecord


class RunningSequence(Protocol):
    """A sequence as the steps in it see it."""

    scope: Scope
    output: JsonValue

    @property
    def plan(self) -> SequencePlan:
        """Its steps."""
        ...

    @property
    def is_top_level(self) -> bool:
        """Whether its steps are the template's own."""
        ...

    def is_current(self, frame: "Frame") -> bool:
        """Whether the sequence stands at this step."""
        ...

    def follow(self, target: Target, index: int) -> None:
        """Go on from the step at ``index``."""
        ...

    def fail(self, error: StepError) -> None:
        """End as failed."""
        ...

    def choose(self, chosen: int, other: int) -> None:
        """Of two exclusive branches, pass over the one that was not chosen."""
        ...

    def finished(self, frame: "Frame", view: StepView) -> None:
        """Make a finished step visible to what follows."""
        ...


class Frame(Protocol):
    """A step as its sequence and the interpreter see it."""

    path: str
    plan: StepPlan
    record: StepRecord
    sequence: RunningSequence

    def enter(self) -> None:
        """Begin, or go on from what is recorded."""
        ...

    def pass_over(self) -> None:
        """Record that the step was not chosen."""
        ...

    def cancel(self) -> None:
        """Stop for good because something around the step has ended."""
        ...

    def fail_for_good(self, error: StepError) -> None:
        """The step has failed; its ``on_failure`` says how the sequence goes on."""
        ...

    def word_came(self, request: ControlRequest) -> None:
        """Someone approved, rejected or resolved."""
        ...


class Core(Protocol):
    """What frames ask of the interpreter around them."""

    now: datetime
    secrets: Mapping[str, str]

    @property
    def holding(self) -> bool:
        """Whether nothing may be started now."""
        ...

    @property
    def asks_before_destructive(self) -> bool:
        """Whether tools must be looked up, and destructive ones approved, before a step calls them."""
        ...

    @property
    def execution_id(self) -> UUID:
        """The execution's id."""
        ...

    def later(self, move: Callable[[], None]) -> None:
        """Put a move on the agenda of this turn."""
        ...

    def gate(self, move: Callable[[], None]) -> None:
        """Make a move that starts something now, or when nothing holds the execution any more."""
        ...

    def recall(self, path: str) -> StepRecord | None:
        """Take what was recorded of that step path before this owner came; at most once."""
        ...

    def recall_last(self, path: str) -> StepRecord | None:
        """Return the last recorded visit of the step with that path (without a visit's number)."""
        ...

    def save(self, record: StepRecord) -> None:
        """Record the row with this turn."""
        ...

    def log(
        self,
        level: LogLevel,
        message: str,
        frame: "Frame | None" = None,
        details: Mapping[str, JsonValue] | None = None,
    ) -> None:
        """Write a log entry."""
        ...

    def command(self, command: Command) -> None:
        """Ask for an effect after this turn is recorded."""
        ...

    def set_timer(self, key: str, at: datetime, fired: Callable[[], None], *, patient: bool = False) -> None:
        """Call ``fired`` at that time. A patient timer does not keep the execution from being paused."""
        ...

    def cancel_timer(self, key: str) -> None:
        """Forget the timer, if there is one."""
        ...

    def watch_call(self, frame: "Frame") -> None:
        """Tell the frame the outcome of the call or child that it started."""
        ...

    def forget_call(self, frame: "Frame") -> None:
        """Do not tell the frame any more."""
        ...

    def expect_late_answer(self, frame: "Frame") -> None:
        """Record what the frame's cancelled call still answers."""
        ...

    def await_word(self, frame: "Frame") -> None:
        """Hand control requests for the frame's path to it."""
        ...

    def stop_awaiting(self, frame: "Frame") -> None:
        """The word came, or is not wanted any more."""
        ...

    def context_changed(self, context: Context) -> None:
        """These context variables are to be recorded."""
        ...

    def progressed(self, top_index: int, fraction: float) -> None:
        """A top-level step got so far (0 to 1)."""
        ...

    def frame_for(self, sequence: RunningSequence, plan: StepPlan, path: str) -> "Frame":
        """Return a new frame of the step's type."""
        ...
