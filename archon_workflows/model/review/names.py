"""Names of steps: unique in the whole template, no words of the flow, no scope hidden by a loop."""

from collections.abc import Iterator

from archon_workflows.model.findings import Finding
from archon_workflows.model.review.layout import Layout, StepPlace
from archon_workflows.model.review.scope import SCOPE_ROOTS
from archon_workflows.model.rules import finding
from archon_workflows.model.steps import RESERVED_STEP_NAMES, LoopStep


def review_names(layout: Layout) -> Iterator[Finding]:
    """Yield what is wrong with the names of steps and item variables."""
    for place in layout.steps:
        yield from _step_name(layout, place)
        if isinstance(place.step, LoopStep) and place.step.item_variable in SCOPE_ROOTS:
            yield _shadowing(place, place.step.item_variable)


def _step_name(layout: Layout, place: StepPlace) -> Iterator[Finding]:
    name = place.name
    if name is None:
        return
    path = f"{place.path}/name"
    if name in RESERVED_STEP_NAMES:
        free = _free_name(layout, f"{name}_step")
        yield finding(
            "reserved_name",
            path,
            f"{name!r} cannot be the name of a step: it is a word that says how the flow goes on.",
            suggestion=f"Call it {free!r}, for example.",
            nearest=free,
            patch=({"op": "replace", "path": path, "value": free},),
        )
    first = layout.by_name[name]
    if first is not place:
        free = _free_name(layout, name)
        yield finding(
            "duplicate_name",
            path,
            f"The name {name!r} is already that of the step at {first.path}.",
            suggestion=f"Call it {free!r}, for example; names are unique in the whole template.",
            nearest=free,
            patch=({"op": "replace", "path": path, "value": free},),
        )


def _free_name(layout: Layout, name: str) -> str:
    if name not in layout.by_name:
        return name
    number = 2
    while f"{name[:58]}_{number}" in layout.by_name:
        number += 1
    return f"{name[:58]}_{number}"


def _shadowing(place: StepPlace, name: str) -> Finding:
    path = f"{place.path}/item_variable"
    return finding(
        "shadowed_name",
        path,
        f"The item variable {name!r} would hide what expressions mean by {name!r}.",
        suggestion=f"Call it '{name}_item', for example.",
        nearest=f"{name}_item",
        patch=({"op": "replace", "path": path, "value": f"{name}_item"},),
    )
