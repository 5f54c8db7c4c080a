"""Sequences: steps that run one after the other, with jumps, visits and exclusive branches.

A sequence never calls deep into a step to go on: it leaves the next move with the core's agenda
(``later``), so that a hundred thousand visits need no deep stack.
"""

from typing import Protocol

from archon_workflows.expressions import JsonValue
from archon_workflows.interpreter.core import Core, Frame
from archon_workflows.interpreter.plan import Jump, SequencePlan, Target
from archon_workflows.interpreter.scope import Scope, StepView
from archon_workflows.model.outcomes import StepError


class SequenceOwner(Protocol):
    """Who started a sequence and hears of its end."""

    def sequence_completed(self, sequence: "SequenceFrame") -> None:
        """Its last step is done; ``sequence.output`` is the output of the last completed one."""
        ...

    def sequence_failed(self, sequence: "SequenceFrame", error: StepError) -> None:
        """A step failed and nothing in the sequence handled it."""
        ...


class SequenceFrame:
    """One sequence while it runs."""

    __slots__ = ("_passed_over", "_visits", "core", "current", "output", "owner", "plan", "prefix", "scope")

    def __init__(
        self, core: Core, plan: SequencePlan, scope: Scope, *, prefix: str, owner: SequenceOwner
    ) -> None:
        self.core = core
        self.plan = plan
        self.scope = scope
        self.prefix = prefix
        self.owner = owner
        self.current: Frame | None = None
        self.output: JsonValue = None
        self._visits: dict[int, int] = {}
        self._passed_over: set[int] = set()

    @property
    def is_top_level(self) -> bool:
        """Whether its steps are the template's own."""
        return not self.prefix

    def is_current(self, frame: Frame) -> bool:
        """Whether the sequence stands at this step."""
        return self.current is frame

    def start(self) -> None:
        """Begin with the first step."""
        self.core.later(lambda: self._arrive(0))

    def cancel(self) -> None:
        """Stop whatever runs in it; nobody is told."""
        if self.current is not None:
            self.current.cancel()

    def follow(self, target: Target, index: int) -> None:
        """Go on from the step at ``index``."""
        if isinstance(target, Jump):
            self.core.later(lambda: self._visit(target.index))
        elif target == "end":
            self._finish()
        else:
            self.core.later(lambda: self._arrive(index + 1))

    def fail(self, error: StepError) -> None:
        """End as failed."""
        self.current = None
        self.owner.sequence_failed(self, error)

    def choose(self, chosen: int, other: int) -> None:
        """Of two exclusive branches, pass over the one that was not chosen and record it as skipped."""
        self._passed_over.discard(chosen)
        if other == chosen or other in self._passed_over:
            return
        self._passed_over.add(other)
        self._new_frame(other).pass_over()

    def finished(self, frame: Frame, view: StepView) -> None:
        """Make a finished step visible to what follows."""
        if frame.plan.is_named:
            self.scope.finished[frame.plan.name] = view
        if view["status"] == "skipped":
            return
        self.scope.previous = view
        if view["status"] == "completed":
            self.output = view.output

    def _arrive(self, index: int) -> None:
        while index in self._passed_over:
            index += 1
        if index >= len(self.plan.steps):
            self._finish()
        else:
            self._visit(index)

    def _visit(self, index: int) -> None:
        if self.is_top_level:
            self.core.progressed(index, 0.0)
        frame = self._new_frame(index)
        self.current = frame
        if self._visits[index] > frame.plan.step.max_visits:
            frame.fail_for_good(_too_many_visits(frame))
        else:
            frame.enter()

    def _new_frame(self, index: int) -> Frame:
        visit = self._visits[index] = self._visits.get(index, 0) + 1
        plan = self.plan.steps[index]
        path = f"{self.prefix}{plan.name}" + (f"#{visit}" if visit > 1 else "")
        return self.core.frame_for(self, plan, path)

    def _finish(self) -> None:
        self.current = None
        self.owner.sequence_completed(self)


def _too_many_visits(frame: Frame) -> StepError:
    limit = frame.plan.step.max_visits
    return StepError(
        "too_many_visits",
        f"Step {frame.plan.name!r} was visited more than max_visits ({limit}) times; "
        f"let the jump back to it end, or raise max_visits.",
    )
