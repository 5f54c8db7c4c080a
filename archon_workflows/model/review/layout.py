"""A template laid out: every step with its pointer, its sequence and what is around it."""

from collections.abc import Iterator
from typing import Literal

from archon_workflows.model.steps import ConditionStep, LoopStep, ParallelStep, Step, StepFields
from archon_workflows.model.template import Template

Role = Literal["top", "on_true", "on_false", "on_failure", "branch", "body"]


class StepPlace:
    """One step where it stands.

    Attributes:
        path: JSON pointer of the step.
        index: its position in ``sequence``.
        inner: the sequences written inside it.
    """

    __slots__ = ("index", "inner", "path", "sequence", "step")

    def __init__(self, step: Step, path: str, index: int, sequence: "SequencePlace") -> None:
        self.step = step
        self.path = path
        self.index = index
        self.sequence = sequence
        self.inner: tuple[SequencePlace, ...] = ()

    @property
    def name(self) -> str | None:
        """The name that the document gave it."""
        return self.step.name

    @property
    def shown(self) -> str:
        """The step for a message: its name, or its pointer where it has none."""
        return repr(self.step.name) if self.step.name is not None else f"at {self.path}"

    def inside(self, role: Role) -> "SequencePlace | None":
        """Return the first inner sequence of that role."""
        return next((one for one in self.inner if one.role == role), None)

    def around(self) -> "Iterator[SequencePlace]":
        """Yield the sequence that the step is in and those around it, innermost first."""
        sequence: SequencePlace | None = self.sequence
        while sequence is not None:
            yield sequence
            sequence = sequence.owner.sequence if sequence.owner is not None else None


class SequencePlace:
    """Steps that run one after the other, the step that they are written inside of, and as what."""

    __slots__ = ("indexes", "owner", "role", "steps")

    def __init__(self, owner: StepPlace | None, role: Role) -> None:
        self.owner = owner
        self.role = role
        self.steps: tuple[StepPlace, ...] = ()
        self.indexes: dict[str, int] = {}


class Layout:
    """All steps of a template in document order, and the first step of each name."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self.steps: list[StepPlace] = []
        self.by_name: dict[str, StepPlace] = {}
        self.top = self._sequence(template.steps, "/steps", None, "top")
        self.bits = {name: 1 << number for number, name in enumerate(self.by_name)}

    def _sequence(
        self, steps: tuple[Step, ...] | Step, path: str, owner: StepPlace | None, role: Role
    ) -> SequencePlace:
        sequence = SequencePlace(owner, role)
        if isinstance(steps, tuple):
            pairs = [(step, f"{path}/{index}") for index, step in enumerate(steps)]
        else:
            pairs = [(steps, path)]
        sequence.steps = tuple(
            self._place(step, where, index, sequence) for index, (step, where) in enumerate(pairs)
        )
        for place in reversed(sequence.steps):
            if place.name is not None:
                sequence.indexes[place.name] = place.index
        return sequence

    def _place(self, step: Step, path: str, index: int, sequence: SequencePlace) -> StepPlace:
        place = StepPlace(step, path, index, sequence)
        self.steps.append(place)
        if step.name is not None:
            self.by_name.setdefault(step.name, place)
        place.inner = tuple(
            self._sequence(steps, path + below, place, role) for steps, below, role in _inner(step)
        )
        return place


def _inner(step: Step) -> Iterator[tuple[tuple[Step, ...] | Step, str, Role]]:
    match step:
        case ConditionStep():
            if isinstance(step.on_true, (StepFields, tuple)):
                yield step.on_true, "/on_true", "on_true"
            if isinstance(step.on_false, (StepFields, tuple)):
                yield step.on_false, "/on_false", "on_false"
        case ParallelStep():
            for number, branch in enumerate(step.steps):
                yield branch, f"/steps/{number}", "branch"
        case LoopStep():
            yield step.steps, "/steps", "body"
        case _:
            pass
    if isinstance(step.on_failure, (StepFields, tuple)):
        yield step.on_failure, "/on_failure", "on_failure"
