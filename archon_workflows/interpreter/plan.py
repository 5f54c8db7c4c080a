"""A version compiled for the interpreter: parsed expressions, jump targets, path segments.

A plan is immutable and shared by all executions of its version.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from archon_workflows.expressions import CompiledValue, Condition, JsonValue, compile_condition, compile_value
from archon_workflows.model.steps import (
    ActionStep,
    Approval,
    ConditionStep,
    LoopStep,
    ParallelStep,
    RepeatUntil,
    Step,
    StepFields,
    WorkflowLinkStep,
)
from archon_workflows.model.template import Template
from archon_workflows.model.tools import ToolFingerprint

Source = str | bool
Word = Literal["next", "end", "fail", "continue"]


@dataclass(frozen=True, slots=True)
class Jump:
    """Go on at another step of the same sequence."""

    index: int


@dataclass(frozen=True, slots=True, eq=False)
class SequencePlan:
    """Steps that run one after the other."""

    steps: tuple["StepPlan", ...]


Target = Word | Jump | SequencePlan


@dataclass(frozen=True, slots=True, eq=False)
class Polling:
    """``repeat_until`` with its condition parsed."""

    condition: Condition
    interval_seconds: float
    max_attempts: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StepPlan:
    """One step, ready to run. What a step type does not have is ``None`` or empty.

    Attributes:
        name: its name, or the synthetic one from its position; the last segment of its step path.
        index: its place in its sequence; ``top_index``: that of its top-level step.
        inputs: the template value that is evaluated when it starts (parameters or collection).
    """

    step: Step
    name: str
    index: int
    top_index: int
    config: Mapping[str, JsonValue]
    max_attempts: int
    when: Condition | None
    approval: Approval | None
    approval_message: CompiledValue | None
    polling: Polling | None
    set_context: Mapping[str, CompiledValue]
    on_success: Target
    on_failure: Target
    inputs: CompiledValue | None = None
    fail_when: Condition | None = None
    condition: Condition | None = None
    on_true: Target = "next"
    on_false: Target = "next"
    until: Condition | None = None
    body: tuple[SequencePlan, ...] = ()

    @property
    def is_named(self) -> bool:
        """Whether the document named it, so that references can reach it."""
        return self.step.name is not None

    @property
    def handler(self) -> SequencePlan | None:
        """The inline failure handler, if any."""
        return self.on_failure if isinstance(self.on_failure, SequencePlan) else None

    def inner_sequences(self) -> Iterator[SequencePlan]:
        """Yield every sequence written inside this step."""
        yield from self.body
        for target in (self.on_true, self.on_false, self.on_failure):
            if isinstance(target, SequencePlan):
                yield target

    def inner_step(self, name: str) -> "StepPlan | None":
        """Return the step of that name directly inside this one."""
        for sequence in self.inner_sequences():
            for step in sequence.steps:
                if step.name == name:
                    return step
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A whole version; ``tool_fingerprints`` are for the engine, the interpreter knows no tools."""

    template: Template
    sequence: SequencePlan
    outputs: Mapping[str, CompiledValue] = field(default_factory=dict[str, CompiledValue])
    tool_fingerprints: Mapping[str, ToolFingerprint] = field(default_factory=dict[str, ToolFingerprint])

    @property
    def total_steps(self) -> int:
        """The number of top-level steps."""
        return len(self.sequence.steps)

    def required_tools(self) -> tuple[str, ...]:
        """Return the tools that its steps call, nested ones included, as the document names them."""
        agenda, names = [self.sequence], set[str]()
        while agenda:
            for step in agenda.pop().steps:
                agenda += step.inner_sequences()
                if isinstance(step.step, ActionStep):
                    names.add(step.step.tool_name)
        return tuple(sorted(names))

    def top_level_step(self, name: str) -> StepPlan | None:
        """Return the top-level step of that name."""
        return next((step for step in self.sequence.steps if step.name == name), None)


def compile_plan(template: Template) -> Plan:
    """Compile a reviewed template.

    Raises:
        ExpressionError: an expression does not parse; a review would have said so.
    """
    outputs = {
        name: compile_value(output.value) for name, output in template.outputs.items() if output.has_value
    }
    return Plan(template, _Compiler(template).sequence(template.steps, slot="step"), outputs)


class _Compiler:
    """Walks the document once; knows the defaults that the template sets for its steps."""

    def __init__(self, template: Template) -> None:
        self._max_retries = template.max_retries

    def sequence(self, steps: tuple[Step, ...], *, slot: str, top_index: int | None = None) -> SequencePlan:
        indexes = {step.name: index for index, step in enumerate(steps) if step.name is not None}
        return SequencePlan(
            tuple(
                self._step(step, f"{slot}-{index}", index, index if top_index is None else top_index, indexes)
                for index, step in enumerate(steps)
            )
        )

    def _step(
        self, step: Step, position: str, index: int, top_index: int, indexes: dict[str, int]
    ) -> StepPlan:
        common = StepPlan(
            step=step,
            name=step.name or position,
            index=index,
            top_index=top_index,
            config=step.model_dump(mode="json", exclude_unset=True),
            max_attempts=1 + self._retry_count(step),
            when=_condition(step.when),
            approval=_approval(step),
            approval_message=_approval_message(step),
            polling=_polling(step.repeat_until),
            set_context={name: compile_value(value) for name, value in step.set_context.items()},
            on_success=self._target(step.on_success, "on-success", top_index, indexes),
            on_failure=self._target(step.on_failure, "on-failure", top_index, indexes),
        )
        return self._with_type(common, step, top_index, indexes)

    def _with_type(self, plan: StepPlan, step: Step, top_index: int, indexes: dict[str, int]) -> StepPlan:
        match step:
            case ActionStep():
                return replace(
                    plan, inputs=compile_value(step.parameters), fail_when=_condition(step.fail_when)
                )
            case ConditionStep():
                return replace(
                    plan,
                    condition=compile_condition(step.condition),
                    on_true=self._target(step.on_true or "next", "on-true", top_index, indexes),
                    on_false=self._target(step.on_false or "next", "on-false", top_index, indexes),
                )
            case WorkflowLinkStep():
                return replace(plan, inputs=compile_value(step.parameters))
            case ParallelStep():
                return replace(plan, body=self._branches(step, top_index))
            case LoopStep():
                body = self.sequence(step.steps, slot="step", top_index=top_index)
                return replace(
                    plan, inputs=compile_value(step.collection), until=_condition(step.until), body=(body,)
                )

    def _branches(self, step: ParallelStep, top_index: int) -> tuple[SequencePlan, ...]:
        return tuple(
            self.sequence(branch, slot=f"branch-{number}-step", top_index=top_index)
            if isinstance(branch, tuple)
            else self._single(branch, f"branch-{number}", top_index)
            for number, branch in enumerate(step.steps)
        )

    def _single(self, step: Step, position: str, top_index: int) -> SequencePlan:
        own = {step.name: 0} if step.name is not None else {}
        return SequencePlan((self._step(step, position, 0, top_index, own),))

    def _target(
        self, target: str | Step | tuple[Step, ...], slot: str, top_index: int, indexes: dict[str, int]
    ) -> Target:
        if isinstance(target, tuple):
            return self.sequence(target, slot=slot, top_index=top_index)
        if isinstance(target, StepFields):
            return self._single(target, slot, top_index)
        if target in indexes:
            return Jump(indexes[target])
        return _WORDS[target]

    def _retry_count(self, step: Step) -> int:
        if step.retry_count is not None:
            return step.retry_count
        return self._max_retries if step.on_failure == "retry" else 0


_WORDS: dict[str, Word] = {
    "next": "next",
    "end": "end",
    "fail": "fail",
    "continue": "continue",
    # Retries come before ``on_failure`` is looked at; once they are used up, ``retry`` means ``fail``.
    "retry": "fail",
}


def _condition(source: Source | None) -> Condition | None:
    return None if source is None else compile_condition(source)


def _polling(repeat_until: RepeatUntil | None) -> Polling | None:
    if repeat_until is None:
        return None
    condition = compile_condition(repeat_until.condition)
    return Polling(condition, repeat_until.interval_seconds, repeat_until.max_attempts)


def _approval(step: Step) -> Approval | None:
    if isinstance(step.approval, Approval):
        return step.approval
    return Approval() if step.approval else None


def _approval_message(step: Step) -> CompiledValue | None:
    approval = _approval(step)
    return compile_value(approval.message) if approval is not None and approval.message else None
