"""Where in a document pydantic's errors are: one mistake for each wrong place, with its JSON pointer.

It knows where the document's unions put tags into pydantic's locations. What a mistake means, and how it is
told, is said in ``archon_workflows.model.shape``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, cast

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from archon_workflows.model.findings import closest
from archon_workflows.model.json_values import pointer_token
from archon_workflows.model.steps import (
    ActionStep,
    Approval,
    ConditionStep,
    LoopStep,
    ParallelStep,
    RepeatUntil,
    WorkflowLinkStep,
)
from archon_workflows.model.template import Template

EXPECTED: Final = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "tuple_type": "a list",
    "list_type": "a list",
}
"""What stands in a message for pydantic's type errors."""

Place = Literal["template", "step", "fields", "branch", "sequence", "branches", "value"]

_STEP_MODELS: dict[str, type[BaseModel]] = {
    "action": ActionStep,
    "condition": ConditionStep,
    "workflow_link": WorkflowLinkStep,
    "parallel": ParallelStep,
    "loop": LoopStep,
}
_VALUE_MODELS: dict[str, type[BaseModel]] = {"repeat_until": RepeatUntil, "approval": Approval}
_KINDS: dict[str, Place] = {"name": "value", "step": "step", "sequence": "sequence"}

_FIELD_ALIASES = {
    "args": "parameters",
    "arguments": "parameters",
    "input": "parameters",
    "inputs": "parameters",
    "params": "parameters",
    "tool": "tool_name",
    "action": "tool_name",
    "workflow": "workflow_name",
    "items": "collection",
    "as": "item_variable",
    "item": "item_variable",
    "branches": "steps",
    "body": "steps",
    "do": "steps",
    "if": "when",
    "then": "on_true",
    "else": "on_false",
    "retries": "retry_count",
    "timeout": "timeout_seconds",
    "delay": "delay_seconds",
    "concurrency": "max_concurrency",
    "interval": "interval_seconds",
    "id": "name",
    "label": "title",
    "result": "outputs",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """One of pydantic's errors, with its place in the document.

    Attributes:
        path: JSON pointer of the place; ``parent``: of the object or list around it.
        model: the class whose field it is, where known.
        is_key: the key itself is wrong, not its value.
    """

    kind: str
    path: str
    parent: str
    field: str | int | None
    value: Any
    around: Any
    model: type[BaseModel] | None
    is_key: bool
    context: Mapping[str, Any]

    def names_around(self) -> list[str]:
        """Return the keys of the object around the place."""
        around = self.around
        return list(cast("dict[str, Any]", around)) if isinstance(around, dict) else []


def mistakes_in(document: Any, errors: Iterable[ErrorDetails]) -> list[Mistake]:
    """Return one mistake for each wrong place, in document order as pydantic found them."""
    located = (_located(document, error) for error in errors)
    return _without_followers(_without_echoes([one for one in located if not _is_miscounted(one)]))


@dataclass(slots=True)
class _Walker:
    """Follows one of pydantic's locations through the document and drops the tags of unions."""

    node: Any
    place: Place = "template"
    model: type[BaseModel] | None = Template
    parent: str = ""
    path: str = ""
    field: str | int | None = None
    around: Any = None

    def step(self, element: str | int, *, may_be_absent: bool) -> None:
        match self.place:
            case "step":
                self.model, self.place = _STEP_MODELS.get(str(element)), "fields"
            case "branch":
                self.place = _KINDS.get(str(element), "value")
            case "sequence":
                self._enter(element, "step")
            case "branches":
                self._enter(element, "branch")
            case "template":
                self._enter(element, "sequence" if element == "steps" else "value")
            case "fields":
                self._enter(element, self._place_of(element))
            case "value":
                self._enter_value(element, may_be_absent=may_be_absent)

    def _place_of(self, element: str | int) -> Place:
        if element in {"on_true", "on_false", "on_failure"}:
            return "branch"
        if element == "steps" and self.model in {LoopStep, ParallelStep}:
            return "sequence" if self.model is LoopStep else "branches"
        return "value"

    def _enter_value(self, element: str | int, *, may_be_absent: bool) -> None:
        inside = _child(self.node, element) is not _ABSENT
        if inside or (may_be_absent and isinstance(self.node, dict)):
            self.model = _VALUE_MODELS.get(str(self.field))
            self._enter(element, "value")

    def _enter(self, element: str | int, place: Place) -> None:
        child = _child(self.node, element)
        self.around = self.node
        self.node = None if child is _ABSENT else child
        self.parent, self.path = self.path, self.path + pointer_token(element)
        self.field, self.place = element, place


_ABSENT = object()


def _child(node: Any, element: str | int) -> Any:
    if isinstance(node, dict):
        return cast("dict[Any, Any]", node).get(element, _ABSENT)
    if isinstance(node, list) and isinstance(element, int) and element < len(cast("list[Any]", node)):
        return cast("list[Any]", node)[element]
    return _ABSENT


def _located(document: Any, error: ErrorDetails) -> Mistake:
    walker = _Walker(document)
    location = error["loc"]
    for position, element in enumerate(location):
        is_last = position == len(location) - 1
        walker.step(element, may_be_absent=is_last and error["type"] in {"missing", "extra_forbidden"})
    return Mistake(
        kind=error["type"],
        path=walker.path,
        parent=walker.parent,
        field=walker.field,
        value=walker.node,
        around=walker.around,
        model=walker.model,
        is_key=bool(location) and location[-1] == "[key]",
        context=error.get("ctx", {}),
    )


def _is_miscounted(mistake: Mistake) -> bool:
    """Say whether pydantic calls a list too short only because it did not count the invalid elements."""
    return mistake.kind == "too_short" and bool(mistake.value)


def _without_echoes(mistakes: Sequence[Mistake]) -> list[Mistake]:
    """Drop what the other members of a union say about a value that one member came further with."""
    kept: dict[tuple[str, bool], Mistake] = {}
    for mistake in mistakes:
        key = (mistake.path, mistake.is_key)
        if key not in kept or (kept[key].kind in EXPECTED and mistake.kind not in EXPECTED):
            kept[key] = mistake
        elif mistake.kind in EXPECTED and kept[key].kind in EXPECTED:
            kept[key] = _either(kept[key], mistake)
    ancestors = {path[:end] for path, _ in kept for end in _cuts(path)}
    return [one for one in kept.values() if not (one.kind in EXPECTED and one.path in ancestors)]


def _cuts(path: str) -> list[int]:
    return [match.start() for match in re.finditer("/", path)]


def _either(one: Mistake, other: Mistake) -> Mistake:
    expected = [one.context.get("expected_types") or EXPECTED[one.kind], EXPECTED[other.kind]]
    return replace(one, context={"expected_types": " or ".join(dict.fromkeys(expected))})


def _without_followers(mistakes: Sequence[Mistake]) -> list[Mistake]:
    """Drop a missing field that is there under a wrong name: that is one mistake, not two."""
    misspelled = {
        one.parent + pointer_token(match)
        for one in mistakes
        if one.kind == "extra_forbidden" and (match := nearest_field(one)) is not None
    }
    return [one for one in mistakes if not (one.kind == "missing" and one.path in misspelled)]


def nearest_field(mistake: Mistake) -> str | None:
    """Return the field that was probably meant by an unknown one, other systems' words included."""
    known = list(mistake.model.model_fields) if mistake.model is not None else []
    name = str(mistake.field)
    alias = _FIELD_ALIASES.get(name.lower())
    return alias if alias in known else closest(name, known)
