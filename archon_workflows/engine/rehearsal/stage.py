"""What all executions of one dry run share: the templates, the tools, the results, and the bounds."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import monotonic

import anyio.lowlevel

from archon_workflows.engine.rehearsal.invention import Invention
from archon_workflows.engine.rehearsal.pieces import Piece, Pieces
from archon_workflows.engine.rehearsal.readings import Reading, Readings
from archon_workflows.engine.rehearsal.stubs import Stubs, index_by_path
from archon_workflows.engine.rehearsal.tools import RehearsedTools
from archon_workflows.errors import InvalidRequest
from archon_workflows.interpreter import Plan
from archon_workflows.interpreter.plan import SequencePlan, StepPlan, Target
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.steps import ActionStep


@dataclass(frozen=True, slots=True)
class DryRunLimits:
    """How long a dry run may be, children included."""

    turns: int = 100_000
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Script:
    """The plan that is performed, and its steps by static path."""

    plan: Plan
    steps: Mapping[str, StepPlan]


@dataclass(slots=True, kw_only=True)
class Stage:
    """One dry run.

    Attributes:
        secrets: what ``secrets.X`` reads: a text that stands for the secret.
        generated: names of the steps whose output was made up, in order.
        approvals: step paths that were approved.
    """

    pieces: Pieces
    tools: RehearsedTools
    stubs: Stubs
    invention: Invention
    secrets: Mapping[str, str]
    trigger_context: Mapping[str, JsonValue]
    triggered_by: str | None
    max_link_depth: int
    limits: DryRunLimits
    generated: dict[str, None] = field(default_factory=dict[str, None])
    approvals: list[str] = field(default_factory=list[str])
    _turns: int = 0
    _began: float = field(default_factory=monotonic)
    _scripts: dict[int, Script] = field(default_factory=dict[int, Script])
    _readings: dict[tuple[int, int], Readings] = field(default_factory=dict[tuple[int, int], Readings])

    def script_of(self, piece: Piece) -> Script:
        """Return what is performed of a piece: what is made up is neither judged nor polled for."""
        key = id(piece.plan)
        if key not in self._scripts:
            sequence = self._sequence(piece.plan.sequence)
            self._scripts[key] = Script(replace(piece.plan, sequence=sequence), index_by_path(sequence))
        return self._scripts[key]

    def readings_of(self, piece: Piece, result: Reading | None) -> Readings:
        """Return what the piece reads; ``result`` is what is read of its own result."""
        key = id(piece.plan), id(result)
        if key not in self._readings:
            self._readings[key] = Readings(piece.plan.template, result)
        return self._readings[key]

    async def take_turn(self) -> None:
        """Count a turn of some interpreter, and let other tasks of the process have theirs.

        Raises:
            InvalidRequest: ``dry_run_too_long``.
        """
        await anyio.lowlevel.checkpoint()
        self._turns += 1
        seconds = monotonic() - self._began
        if self._turns > self.limits.turns or seconds > self.limits.seconds:
            raise InvalidRequest(
                f"The dry run was given up after {self._turns - 1} turns and {seconds:.1f} seconds; "
                f"the limits are {self.limits.turns} turns and {self.limits.seconds:g} seconds.",
                code="dry_run_too_long",
                suggestion="Give stubs that end its loops and polls sooner, or smaller collections.",
            )

    def _sequence(self, sequence: SequencePlan) -> SequencePlan:
        return SequencePlan(tuple(self._step(step) for step in sequence.steps))

    def _step(self, step: StepPlan) -> StepPlan:
        is_made_up = isinstance(step.step, ActionStep) and not self.stubs.may_answer(step)
        return replace(
            step,
            polling=None if is_made_up else step.polling,
            fail_when=None if is_made_up else step.fail_when,
            body=tuple(self._sequence(one) for one in step.body),
            on_true=self._target(step.on_true),
            on_false=self._target(step.on_false),
            on_failure=self._target(step.on_failure),
        )

    def _target(self, target: Target) -> Target:
        return self._sequence(target) if isinstance(target, SequencePlan) else target
