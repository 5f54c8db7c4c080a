"""Which steps may and must have finished when a step starts: every path through a template at once.

Each sequence is looked at once, from its own beginning; what is around it is added afterwards. Sets of
steps are integers with one bit for each name.
"""

from dataclasses import dataclass, replace
from heapq import heappop, heappush

from archon_workflows.model.review.layout import Layout, SequencePlace, StepPlace
from archon_workflows.model.steps import ConditionStep, LoopStep, ParallelStep

_VARIANTS_KEPT = 16
_MOVES_PER_STEP = 24
_ANYTHING = -1


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at one point.

    Attributes:
        ran: steps that have completed on every path to here.
        finished: steps that have finished (completed, failed or skipped) on every path.
        possible: steps that have finished on some path.
        previous_sure: some step of the sequence ran before, on every path; ``previous_possible``: on some.
    """

    ran: int = 0
    finished: int = 0
    possible: int = 0
    previous_sure: bool = False
    previous_possible: bool = False

    def met(self, other: "Facts") -> "Facts":
        """What is known where two paths meet."""
        return Facts(
            self.ran & other.ran,
            self.finished & other.finished,
            self.possible | other.possible,
            self.previous_sure and other.previous_sure,
            self.previous_possible or other.previous_possible,
        )

    def plus(self, inner: "Facts") -> "Facts":
        """Add what a sequence inside a step, or one around it, leaves; ``previous`` stays this one's."""
        return replace(
            self,
            ran=self.ran | inner.ran,
            finished=self.finished | inner.finished,
            possible=self.possible | inner.possible,
        )

    def completed(self, bit: int) -> "Facts":
        """After the step of that bit completed."""
        return Facts(self.ran | bit, self.finished | bit, self.possible | bit, True, True)

    def failed(self, bit: int, inside: int) -> "Facts":
        """After it failed and that was handled; ``inside``: what may have finished within it."""
        return Facts(self.ran & ~bit, self.finished | bit, self.possible | bit | inside, True, True)

    def skipped(self, bit: int) -> "Facts":
        """After it was skipped."""
        return replace(self, ran=self.ran & ~bit, finished=self.finished | bit, possible=self.possible | bit)


class Flow:
    """The facts of a whole template.

    Attributes:
        exits: what each sequence leaves when it completes; absent when it never does.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.entries: dict[StepPlace, Facts] = {}
        self.exits: dict[SequencePlace, Facts] = {}
        self._inside: dict[StepPlace, int] = {}
        self._seen: dict[StepPlace, Facts | None] = {}
        self._analyse(layout.top)

    def is_reachable(self, place: StepPlace) -> bool:
        """Say whether a path of its sequence leads to the step."""
        return place in self.entries

    def before(self, place: StepPlace) -> Facts | None:
        """Return what is known when the step starts; ``None`` when it never does."""
        if place not in self._seen:
            local = self.entries.get(place)
            owner = place.sequence.owner
            outer = self._around(place.sequence) if owner is not None else Facts()
            self._seen[place] = local.plus(outer) if local is not None and outer is not None else None
        return self._seen[place]

    def after_body(self, loop: StepPlace) -> Facts | None:
        """Return what is known after an iteration of a loop."""
        body = loop.inside("body")
        outer = self.before(loop)
        inner = self.exits.get(body) if body is not None else None
        return inner.plus(outer) if inner is not None and outer is not None else None

    def _around(self, sequence: SequencePlace) -> Facts | None:
        owner = sequence.owner
        facts = self.before(owner) if owner is not None else Facts()
        if facts is None or owner is None or sequence.role != "on_failure":
            return facts
        return facts.failed(self.bit(owner), self.names_inside(owner))

    def _analyse(self, sequence: SequencePlace) -> None:
        for place in sequence.steps:
            for inner in place.inner:
                self._analyse(inner)
            self._gather_names(place)
        _Paths(self, sequence).follow()

    def bit(self, place: StepPlace) -> int:
        """Return the bit of the step's name, 0 when it has none."""
        return self._layout.bits.get(place.name or "", 0)

    def names_inside(self, place: StepPlace) -> int:
        """Return the bits of the named steps inside, those inside of loops left out."""
        return self._inside.get(place, 0)

    def _gather_names(self, place: StepPlace) -> None:
        names = 0
        for sequence in place.inner:
            if not isinstance(place.step, LoopStep) or sequence.role == "on_failure":
                for inner in sequence.steps:
                    names |= self.bit(inner) | self.names_inside(inner)
        self._inside[place] = names


class _Paths:
    """Follows all paths of one sequence until nothing new is learnt.

    A point is a step together with the exclusive branches ahead that are to be passed over.
    """

    def __init__(self, flow: Flow, sequence: SequencePlace) -> None:
        self._flow = flow
        self._sequence = sequence
        self._points: list[dict[int, Facts]] = [{} for _ in sequence.steps]
        self._agenda: list[tuple[int, int]] = []
        self._exit: Facts | None = None

    def follow(self) -> None:
        """Fill in the flow's entries and exit of the sequence."""
        self._arrive(0, 0, Facts())
        moves = _MOVES_PER_STEP * (len(self._sequence.steps) + 4)
        while self._agenda and moves > 0:
            moves -= 1
            index, passed = heappop(self._agenda)
            self._leave(self._sequence.steps[index], passed, self._points[index][passed])
        if self._agenda:
            self._give_up()
        for place, variants in zip(self._sequence.steps, self._points, strict=True):
            for facts in variants.values():
                known = self._flow.entries.get(place)
                self._flow.entries[place] = facts if known is None else known.met(facts)
        if self._exit is not None:
            self._flow.exits[self._sequence] = self._exit

    def _give_up(self) -> None:
        """Take everything for possible and certain, so that nothing is said about a maze of jumps."""
        anything = Facts(_ANYTHING, _ANYTHING, _ANYTHING, True, True)
        self._points = [{0: anything} for _ in self._sequence.steps]
        self._exit = anything

    def _arrive(self, index: int, passed: int, facts: Facts) -> None:
        while passed >> index & 1:
            index += 1
        if index >= len(self._sequence.steps):
            self._finish(facts)
        else:
            self._visit(index, passed, facts)

    def _visit(self, index: int, passed: int, facts: Facts) -> None:
        variants = self._points[index]
        ahead = passed >> index << index
        if ahead not in variants and len(variants) >= _VARIANTS_KEPT:
            ahead = 0
        known = variants.get(ahead)
        learnt = facts if known is None else known.met(facts)
        if learnt != known:
            variants[ahead] = learnt
            heappush(self._agenda, (index, ahead))

    def _finish(self, facts: Facts) -> None:
        self._exit = facts if self._exit is None else self._exit.met(facts)

    def _leave(self, place: StepPlace, passed: int, facts: Facts) -> None:
        bit = self._flow.bit(place)
        if place.step.when not in (None, True):
            self._arrive(place.index + 1, passed, facts.skipped(bit))
        if isinstance(place.step, ConditionStep):
            self._leave_condition(place, place.step, passed, facts.completed(bit))
        else:
            self._go(place, place.step.on_success, passed, self._with_branches(place, facts.completed(bit)))
        self._leave_failed(place, passed, facts.failed(bit, self._flow.names_inside(place)))

    def _leave_condition(self, place: StepPlace, step: ConditionStep, passed: int, facts: Facts) -> None:
        for side, target in (("on_true", step.on_true), ("on_false", step.on_false)):
            other = step.on_false if side == "on_true" else step.on_true
            inner = next((one for one in place.inner if one.role == side), None)
            if inner is not None:
                left = self._flow.exits.get(inner)
                if left is not None:
                    self._go(place, step.on_success, passed, facts.plus(left))
            elif target is None or target == "next":
                self._go(place, step.on_success, passed, facts)
            elif isinstance(target, str) and target != "fail":
                self._choose(place, target, other, passed, facts)

    def _choose(self, place: StepPlace, chosen: str, other: object, passed: int, facts: Facts) -> None:
        indexes = self._sequence.indexes
        if isinstance(other, str) and chosen in indexes and other in indexes and chosen != other:
            passed = (passed | 1 << indexes[other]) & ~(1 << indexes[chosen])
            facts = facts.skipped(self._flow.bit(self._sequence.steps[indexes[other]]))
        self._go(place, chosen, passed, facts)

    def _leave_failed(self, place: StepPlace, passed: int, facts: Facts) -> None:
        target = place.step.on_failure
        if target == "continue":
            self._arrive(place.index + 1, passed, facts)
        elif not isinstance(target, str):
            handler = place.inside("on_failure")
            left = self._flow.exits.get(handler) if handler is not None else None
            if left is not None:
                self._arrive(place.index + 1, passed, facts.plus(left))
        elif target == "end" or target in self._sequence.indexes:
            self._go(place, target, passed, facts)

    def _go(self, place: StepPlace, target: str, passed: int, facts: Facts) -> None:
        if target in self._sequence.indexes:
            self._visit(self._sequence.indexes[target], passed, facts)
        elif target == "end":
            self._finish(facts)
        else:
            self._arrive(place.index + 1, passed, facts)

    def _with_branches(self, place: StepPlace, facts: Facts) -> Facts:
        if not isinstance(place.step, ParallelStep):
            return facts
        facts = replace(facts, possible=facts.possible | self._flow.names_inside(place))
        if place.step.wait_for == "all" and place.step.on_branch_failure == "fail":
            for branch in place.inner:
                if branch.role == "branch" and branch in self._flow.exits:
                    facts = facts.plus(self._flow.exits[branch])
        return facts
