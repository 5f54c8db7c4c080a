"""Where steps lead: words and names in ``on_success``, ``on_failure``, ``on_true`` and ``on_false``."""

from collections.abc import Iterator

from archon_workflows.model.findings import Finding, closest, replacement
from archon_workflows.model.review.flow import Flow
from archon_workflows.model.review.layout import Layout, StepPlace
from archon_workflows.model.rules import finding
from archon_workflows.model.steps import RESERVED_STEP_NAMES, ConditionStep

_ALLOWED = {
    "on_success": ("next", "end"),
    "on_failure": ("fail", "retry", "continue", "end"),
    "on_true": ("next", "end", "fail"),
    "on_false": ("next", "end", "fail"),
}
_SAME_MEANING = {
    ("on_success", "continue"): "next",
    ("on_failure", "next"): "continue",
    ("on_true", "continue"): "next",
    ("on_false", "continue"): "next",
}


def review_jumps(layout: Layout) -> Iterator[Finding]:
    """Yield targets that do not exist or have no meaning where they stand."""
    for place in layout.steps:
        for field, target in _targets(place):
            if target not in _ALLOWED[field] and target not in place.sequence.indexes:
                yield _wrong_target(layout, place, field, target)


def review_reachability(layout: Layout, flow: Flow) -> Iterator[Finding]:
    """Yield the steps that no path leads to; what is inside of one is not repeated."""
    for place in layout.steps:
        owner = place.sequence.owner
        is_owner_reached = owner is None or flow.before(owner) is not None
        if is_owner_reached and not flow.is_reachable(place):
            yield finding(
                "unreachable_step",
                place.path,
                f"The step {place.shown} is never reached: every path before it ends or jumps elsewhere.",
                suggestion="Let a step lead here, or remove it.",
            )


def _targets(place: StepPlace) -> Iterator[tuple[str, str]]:
    step = place.step
    yield "on_success", step.on_success
    if isinstance(step.on_failure, str):
        yield "on_failure", step.on_failure
    if isinstance(step, ConditionStep):
        if isinstance(step.on_true, str):
            yield "on_true", step.on_true
        if isinstance(step.on_false, str):
            yield "on_false", step.on_false


def _wrong_target(layout: Layout, place: StepPlace, field: str, target: str) -> Finding:
    path = f"{place.path}/{field}"
    words = _ALLOWED[field]
    if target in RESERVED_STEP_NAMES:
        match = _SAME_MEANING.get((field, target))
        return finding(
            "word_not_allowed",
            path,
            f"{target!r} has no meaning in {field}.",
            suggestion=f"Did you mean {match!r}?" if match else f"Write {_listed(words)} or a step's name.",
            nearest=match,
            patch=replacement(path, match),
        )
    if target in layout.by_name:
        there = layout.by_name[target].path
        return finding(
            "target_elsewhere",
            path,
            f"The step {target!r} is at {there}, in another sequence; a jump stays in its own.",
            suggestion=f"Name a step of the same sequence, or write {_listed(words)}.",
        )
    match = closest(target, [*place.sequence.indexes, *words])
    known = [name for name in place.sequence.indexes if name != place.name]
    return finding(
        "unknown_target",
        path,
        f"There is no step {target!r} to go to.",
        suggestion=f"Did you mean {match!r}?" if match else f"Write {_listed([*words, *known[:12]])}.",
        nearest=match,
        patch=replacement(path, match),
    )


def _listed(words: list[str] | tuple[str, ...]) -> str:
    return ", ".join(repr(word) for word in words)
