"""What a template reads of the results of its steps, so that made-up results have it.

A reading is the shape that the template's references give a value: the items that it is asked for, whether it
is looped over, whether it stands alone as a condition. Where steps pass values on (a loop's item, a context
variable, a condition's output) the reading is passed back to the step that the value comes from.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from archon_workflows.expressions import Reference
from archon_workflows.model.review.layout import Layout, SequencePlace, StepPlace
from archon_workflows.model.review.references import references_of
from archon_workflows.model.review.scope import Site, sites
from archon_workflows.model.steps import ConditionStep, LoopStep, ParallelStep, Step
from archon_workflows.model.template import Template

EACH = -1
"""The key that stands for every element of a list."""

Key = str | int

HOPS = 16
"""Over how many context variables and items one reference is followed back."""

FOLLOWED = 20_000
"""How often values of one template are followed back through a variable or an item."""

STEPS_BACK = 100
"""How many steps before a step may be its previous one."""


@dataclass(slots=True)
class Reading:
    """What is read of one value.

    Attributes:
        items: the readings of its items; ``EACH`` is that of a list's elements.
        decides: it is a condition as it stands.
    """

    items: dict[Key, "Reading"] = field(default_factory=dict["Key", "Reading"])
    decides: bool = False

    def at(self, keys: tuple[Key, ...]) -> "Reading":
        """Return the reading of what the keys lead to; from now on it is read."""
        reading = self
        for key in keys:
            reading = reading.items.setdefault(key, Reading())
        return reading

    def item(self, key: Key) -> "Reading":
        """Return the reading of an item, with what is read of each element if it is one."""
        found = self.items.get(key, Reading())
        if isinstance(key, int) and EACH in self.items:
            each = self.items[EACH]
            return Reading({**each.items, **found.items}, found.decides or each.decides)
        return found


class Readings:
    """The readings of the results of a template's actions.

    Args:
        template: a reviewed template.
        result: what is read of the template's own result by whoever links to it.
    """

    def __init__(self, template: Template, result: Reading | None = None) -> None:
        self._layout = Layout(template)
        self._of: dict[int, Reading] = {}
        self._orders: dict[int, _Order] = {}
        self._to_follow = FOLLOWED
        self._references: dict[tuple[str, bool], tuple[Reference, ...]] = {}
        for site in sites(self._layout):
            for reference in self._referred(site):
                self._take(site, reference)
        if result is not None:
            self._take_result(result)

    def of(self, step: Step) -> Reading:
        """Return what is read of the output of a step of the template."""
        return self._of.setdefault(id(step), Reading())

    def _referred(self, site: Site) -> tuple[Reference, ...]:
        key = site.text, site.is_condition
        if key not in self._references:
            self._references[key] = references_of(site)
        return self._references[key]

    def _take(self, site: Site, reference: Reference) -> None:
        keys: tuple[Key, ...] = reference.path
        is_alone = _stands_alone(site.text, reference)
        if is_alone and _is_collection(site):
            keys = (*keys, EACH)
        for step, path in self._sources(site, reference.root, keys, HOPS):
            reading = self.of(step).at(path)
            reading.decides = reading.decides or (site.is_condition and is_alone)

    def _take_result(self, result: Reading) -> None:
        """Pass on what is read of the template's result, where it is the last step's output."""
        last = self._layout.top.steps[-1]
        outputs = self._layout.template.outputs
        for keys in _paths(result):
            if not outputs or (keys and keys[0] in outputs and not outputs[str(keys[0])].has_value):
                for step, path in _inside(last, keys):
                    self.of(step).at(path)

    def _sources(
        self, site: Site, root: str, keys: tuple[Key, ...], hops: int
    ) -> Iterator[tuple[Step, tuple[Key, ...]]]:
        """Yield the steps whose outputs the reference reads, with the keys into each."""
        if hops == 0:
            return
        match root, keys:
            case "steps", (str() as name, "output", *rest) if name in self._layout.by_name:
                yield from _inside(self._layout.by_name[name], tuple(rest))
            case "previous_step", ("output", *rest):
                for place in self._before(site):
                    yield from _inside(place, tuple(rest))
            case "output", rest if site.place is not None:
                yield from self._own(site, site.place, rest)
            case "context", (str() as name, *rest):
                yield from self._written(name, tuple(rest), hops)
            case _:
                yield from self._item(site, root, keys, hops)

    def _before(self, site: Site) -> Iterator[StepPlace]:
        if site.place is None:
            sequence, index = self._layout.top, len(self._layout.top.steps)
        elif site.after_iteration:
            sequence = site.place.inner[0]
            index = len(sequence.steps)
        else:
            sequence, index = site.place.sequence, site.place.index
        if id(sequence) not in self._orders:
            self._orders[id(sequence)] = _Order(sequence)
        return self._orders[id(sequence)].before(index)

    def _own(
        self, site: Site, place: StepPlace, keys: tuple[Key, ...]
    ) -> Iterator[tuple[Step, tuple[Key, ...]]]:
        body = place.inside("body") if site.after_iteration else None
        yield from _inside(body.steps[-1] if body is not None else place, keys)

    def _written(self, name: str, keys: tuple[Key, ...], hops: int) -> Iterator[tuple[Step, tuple[Key, ...]]]:
        """Follow a context variable to what ``set_context`` wrote into it."""
        for place in self._layout.steps:
            text = place.step.set_context.get(name)
            if isinstance(text, str):
                yield from self._passed_on(Site("", text, place, sees_output=True), keys, hops)

    def _item(
        self, site: Site, root: str, keys: tuple[Key, ...], hops: int
    ) -> Iterator[tuple[Step, tuple[Key, ...]]]:
        """Follow a loop's item to the collection."""
        for sequence in site.place.around() if site.place is not None else ():
            owner = sequence.owner
            if owner is None or not isinstance(owner.step, LoopStep) or owner.step.item_variable != root:
                continue
            if isinstance(owner.step.collection, str):
                yield from self._passed_on(Site("", owner.step.collection, owner), (EACH, *keys), hops)
            return

    def _passed_on(
        self, site: Site, keys: tuple[Key, ...], hops: int
    ) -> Iterator[tuple[Step, tuple[Key, ...]]]:
        if self._to_follow == 0:
            return
        self._to_follow -= 1
        for reference in self._referred(site):
            if _stands_alone(site.text, reference):
                yield from self._sources(site, reference.root, (*reference.path, *keys), hops - 1)


def _inside(place: StepPlace, keys: tuple[Key, ...]) -> Iterator[tuple[Step, tuple[Key, ...]]]:
    """Yield the actions and links from whose outputs the step's output is made, with the keys into each."""
    match place.step, keys:
        case ConditionStep(), ("output", *rest):
            for role in ("on_true", "on_false"):
                side = place.inside(role)
                if side is not None:
                    yield from _inside(side.steps[-1], tuple(rest))
        case LoopStep(), (int(), *rest):
            yield from _inside(place.inner[0].steps[-1], tuple(rest))
        case ParallelStep(), (int() as index, *rest):
            branches = [one for one in place.inner if one.role == "branch"]
            for branch in branches if index == EACH else branches[index : index + 1]:
                yield from _inside(branch.steps[-1], tuple(rest))
        case ((ConditionStep() | LoopStep() | ParallelStep()), _):
            return
        case _:
            yield place.step, keys


class _Order:
    """Which steps of a sequence may be the previous one of another."""

    def __init__(self, sequence: SequencePlace) -> None:
        self._sequence = sequence
        self._chosen: set[str] = set()
        self._jumping_to: dict[str, list[StepPlace]] = {}
        for place in sequence.steps:
            for target in _jumps(place):
                self._jumping_to.setdefault(target, []).append(place)
            if isinstance(place.step, ConditionStep):
                self._chosen |= _names(place.step.on_true, place.step.on_false)

    def before(self, index: int) -> Iterator[StepPlace]:
        """Yield the steps before, as far as they may be passed over, and those that jump there."""
        steps = self._sequence.steps
        for place in reversed(steps[max(0, index - STEPS_BACK) : index]):
            yield place
            if place.step.when is None and place.name not in self._chosen:
                break
        if index < len(steps):
            yield from self._jumping_to.get(steps[index].name or "", ())[:STEPS_BACK]


def _jumps(place: StepPlace) -> set[str]:
    step = place.step
    sides = (step.on_true, step.on_false) if isinstance(step, ConditionStep) else ()
    return _names(step.on_success, step.on_failure, *sides)


def _names(*targets: object) -> set[str]:
    return {target for target in targets if isinstance(target, str)}


def _is_collection(site: Site) -> bool:
    return site.place is not None and site.path == f"{site.place.path}/collection"


def _stands_alone(text: str, reference: Reference) -> bool:
    """Say whether the text is the reference and nothing else, but for a default."""
    inner = text.strip().removeprefix("{{").removesuffix("}}").strip()
    return re.fullmatch(rf"{re.escape(reference.source)}(\s*\|\s*default\([^()]*\))?", inner) is not None


def _paths(reading: Reading, keys: tuple[Key, ...] = ()) -> Iterator[tuple[Key, ...]]:
    yield keys
    for key, inner in reading.items.items():
        yield from _paths(inner, (*keys, key))
