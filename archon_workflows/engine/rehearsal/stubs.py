"""Given results: which step each of them answers for, and what it says."""

import re
from collections.abc import Mapping
from typing import Any, cast

from archon_workflows.engine.rehearsal.pieces import Piece, Pieces, steps_of
from archon_workflows.errors import InvalidRequest, WorkflowError, did_you_mean, nearest
from archon_workflows.interpreter.plan import SequencePlan, StepPlan
from archon_workflows.model.json_values import InvalidJson, normalise, pointer_token
from archon_workflows.model.outcomes import JsonValue, StepError
from archon_workflows.model.steps import ActionStep, WorkflowLinkStep

ERROR = "$error"
"""The only key of a stub that makes its step fail: ``{"$error": {"code": ..., "message": ...}}``."""

CHILD = "/"
"""Stands between a link's step path and a step path of the linked template."""

_OCCURRENCE = re.compile(r"\[\d+\]|[~#]\d+")


class Stubs:
    """The results that were given, by step name or step path; a path goes before a name.

    Args:
        given: JSON values by name or path.
        pieces: the templates that are rehearsed.

    Raises:
        InvalidRequest: a value is no JSON or a malformed error, or its name is of no action or link.
    """

    def __init__(self, given: Mapping[str, JsonValue], pieces: Pieces) -> None:
        self._given = {name: _clean(name, value) for name, value in given.items()}
        self._answered = {_last_name(name) for name in self._given}
        steps = [step for piece in pieces.all() for step in steps_of(piece.plan.sequence)]
        names = {step.name for step in steps if step.is_named and _calls(step)}
        for name in self._given:
            if name not in names and not _is_path_of_call(name, pieces):
                raise _unused(name, sorted(names), steps)

    def may_answer(self, step: StepPlan) -> bool:
        """Say whether some occurrence of the step may have a given result."""
        return step.name in self._answered

    def find(self, path: str, step: StepPlan) -> tuple[JsonValue] | None:
        """Return the result for a step occurrence, in a tuple since it may be ``null``.

        Args:
            path: of the occurrence; a child's begins with its link's and ``/``.
            step: its plan.
        """
        for name in (path, static_path(path), step.step.name):
            if name is not None and name in self._given:
                return (self._given[name],)
        return None


def failure_in(stub: JsonValue) -> StepError | None:
    """Return the error that the stub stands for, if it does."""
    if isinstance(stub, dict) and stub.keys() == {ERROR}:
        return StepError.from_json(cast("Mapping[str, Any]", stub[ERROR]))
    return None


def static_path(path: str) -> str:
    """Return a step path without what tells the occurrences of the step apart."""
    return _OCCURRENCE.sub("", path)


def index_by_path(sequence: SequencePlan, prefix: str = "") -> dict[str, StepPlan]:
    """Return the steps of a plan by their static paths."""
    found: dict[str, StepPlan] = {}
    for step in sequence.steps:
        found[f"{prefix}{step.name}"] = step
        for inner in step.inner_sequences():
            found |= index_by_path(inner, f"{prefix}{step.name}.")
    return found


def _is_path_of_call(path: str, pieces: Pieces) -> bool:
    """Say whether the path leads to an action or a link, in the template or through links in those below."""
    piece: Piece | WorkflowError = pieces.main
    step: StepPlan | None = None
    for part in static_path(path).split(CHILD):
        if step is not None:
            if not isinstance(step.step, WorkflowLinkStep):
                return False
            piece = pieces.behind(step.step)
        if isinstance(piece, WorkflowError):
            return False
        step = index_by_path(piece.plan.sequence).get(part)
        if step is None:
            return False
    return step is not None and _calls(step)


def _calls(step: StepPlan) -> bool:
    return isinstance(step.step, (ActionStep, WorkflowLinkStep))


def _unused(name: str, known: list[str], steps: list[StepPlan]) -> InvalidRequest:
    kind = next((step.step.type for step in steps if step.name == name and not _calls(step)), None)
    what = f"is a {kind} step, which calls nothing by itself" if kind else "is the name of no step"
    return InvalidRequest(
        f"There is a stub for {name!r}, which {what}.",
        code="unused_stub",
        path=f"/stubs{pointer_token(name)}",
        suggestion=did_you_mean(name, known, noun="step"),
        details={"nearest": nearest(name, known), "steps": known[:100]},
    )


def _last_name(name: str) -> str:
    return re.split(r"[./]", static_path(name))[-1]


def _clean(name: str, value: JsonValue) -> JsonValue:
    where = f"/stubs{pointer_token(name)}"
    try:
        clean = normalise(value, "refuse").value
    except InvalidJson as error:
        raise InvalidRequest(
            error.message,
            code="invalid_stub",
            path=f"{where}{error.path or ''}",
            suggestion=error.suggestion,
        ) from error
    if _is_malformed_error(clean):
        raise InvalidRequest(
            f"The stub for {name!r} has {ERROR!r}, but is no error.",
            code="invalid_stub",
            path=where,
            suggestion='Write {"$error": {"code": "tool_error", "message": "..."}} and nothing else.',
        )
    return clean


def _is_malformed_error(stub: JsonValue) -> bool:
    fields = cast("dict[str, JsonValue]", stub) if isinstance(stub, dict) else {}
    if ERROR not in fields:
        return False
    letter = cast("dict[str, JsonValue]", fields[ERROR]) if isinstance(fields[ERROR], dict) else {}
    texts = (letter.get("code"), letter.get("message"))
    is_letter = all(isinstance(text, str) for text in texts) and isinstance(letter.get("details", {}), dict)
    return len(fields) > 1 or not is_letter
