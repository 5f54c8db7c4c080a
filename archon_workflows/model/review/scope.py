"""What each expression of a template may refer to: where it stands and which names it sees there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from archon_workflows.model.json_values import pointer_token
from archon_workflows.model.review.layout import Layout, StepPlace
from archon_workflows.model.steps import ActionStep, Approval, ConditionStep, LoopStep, WorkflowLinkStep

SCOPE_ROOTS: Final = frozenset(
    {
        "workflow",
        "steps",
        "previous_step",
        "context",
        "execution",
        "loop",
        "output",
        "error",
        "secrets",
        "true",
        "false",
        "null",
        "none",
    }
)
"""Names that an item variable must not take."""


@dataclass(frozen=True, slots=True)
class Site:
    """One text of the document that is evaluated.

    Attributes:
        path: JSON pointer of the text.
        is_condition: one expression that yields true or false, rather than a template value.
        place: the step that it belongs to; ``None`` for the template's outputs.
        sees_output: ``output`` is the step's own.
        takes_secrets: ``secrets.X`` may stand here; ``takes_secret_parameters``: secret parameters may.
        after_iteration: read after an iteration of the loop ``place``, inside of its scope.
    """

    path: str
    text: str
    place: StepPlace | None
    is_condition: bool = False
    sees_output: bool = False
    takes_secrets: bool = False
    takes_secret_parameters: bool = False
    after_iteration: bool = False

    def loops(self) -> Iterator[LoopStep]:
        """Yield the loops whose item is in scope, innermost first."""
        if self.place is None:
            return
        if self.after_iteration and isinstance(self.place.step, LoopStep):
            yield self.place.step
        for sequence in self.place.around():
            owner = sequence.owner
            if owner is not None and sequence.role == "body" and isinstance(owner.step, LoopStep):
                yield owner.step

    def is_in_handler(self) -> bool:
        """Say whether ``error`` is in scope."""
        return self.place is not None and any(one.role == "on_failure" for one in self.place.around())

    def roots(self) -> set[str]:
        """Return the names that an expression may begin with here."""
        names = {"workflow", "steps", "previous_step", "context", "execution"}
        for loop in self.loops():
            names |= {"loop", loop.item_variable}
        if self.sees_output:
            names.add("output")
        if self.is_in_handler():
            names.add("error")
        if self.takes_secrets:
            names.add("secrets")
        return names


def sites(layout: Layout) -> Iterator[Site]:
    """Yield every text of the template that is evaluated."""
    for place in layout.steps:
        yield from _common_sites(place)
        yield from _own_sites(place)
    for name, output in layout.template.outputs.items():
        for below, text in texts_in(output.value):
            yield Site(f"/outputs/{name}/value{below}", text, None)


def texts_in(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text inside a JSON value with its pointer."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, child in value.items():  # pyright: ignore[reportUnknownVariableType] - any JSON value
            yield from texts_in(child, path + pointer_token(str(key)))  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, list):
        for index, child in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            yield from texts_in(child, f"{path}/{index}")


def _common_sites(place: StepPlace) -> Iterator[Site]:
    step, path = place.step, place.path
    if isinstance(step.when, str):
        yield Site(f"{path}/when", step.when, place, is_condition=True)
    if isinstance(step.approval, Approval) and step.approval.message:
        yield Site(f"{path}/approval/message", step.approval.message, place)
    if step.repeat_until is not None and isinstance(step.repeat_until.condition, str):
        where = f"{path}/repeat_until/condition"
        yield Site(where, step.repeat_until.condition, place, is_condition=True, sees_output=True)
    for name, value in step.set_context.items():
        for below, text in texts_in(value):
            yield Site(f"{path}/set_context/{name}{below}", text, place, sees_output=True)


def _own_sites(place: StepPlace) -> Iterator[Site]:
    step, path = place.step, place.path
    match step:
        case ActionStep() | WorkflowLinkStep():
            for below, text in texts_in(step.parameters):
                yield Site(
                    f"{path}/parameters{below}",
                    text,
                    place,
                    takes_secrets=isinstance(step, ActionStep),
                    takes_secret_parameters=True,
                )
            if isinstance(step, ActionStep) and isinstance(step.fail_when, str):
                yield Site(f"{path}/fail_when", step.fail_when, place, is_condition=True, sees_output=True)
        case ConditionStep():
            if isinstance(step.condition, str):
                yield Site(f"{path}/condition", step.condition, place, is_condition=True)
        case LoopStep():
            for below, text in texts_in(step.collection):
                yield Site(f"{path}/collection{below}", text, place)
            if isinstance(step.until, str):
                yield Site(
                    f"{path}/until",
                    step.until,
                    place,
                    is_condition=True,
                    sees_output=True,
                    after_iteration=True,
                )
        case _:
            pass
