"""Errors as a model reads them: code, what happened, where, what to do."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired, cast

from pydantic import Field
from typing_extensions import TypedDict

from archon_workflows.errors import WorkflowError
from archon_workflows.model.json_values import truncate_oversized
from archon_workflows.server.presentation.answer import Answer, short

FINDINGS_SHOWN = 20
DETAILS_LIMIT_BYTES = 20_000
_LISTS = ("findings", "problems")


class Letter(TypedDict):
    """Why a call did nothing (``isError`` is true then)."""

    code: Annotated[str, Field(description="Stable code in snake_case.")]
    message: Annotated[str, Field(description="What happened, with the value.")]
    path: NotRequired[Annotated[str, Field(description="JSON pointer to what is wrong.")]]
    suggestion: NotRequired[Annotated[str, Field(description="What to do.")]]
    details: NotRequired[Annotated[dict[str, Any], Field(description="Findings, candidates and the like.")]]


def letter_of(error: WorkflowError) -> Answer:
    """Return the error as an answer; of long lists in its details the first few."""
    content = error.as_json()
    if error.details:
        content["details"] = _bounded(error.details)
    at = f" (at {error.path})" if error.path else ""
    advice = f" {error.suggestion}" if error.suggestion else ""
    lines = [f"error {error.code}: {error.message}{at}{advice}"]
    return Answer([*lines, *_listed(error.details)], content)


def finding_line(finding: Mapping[str, Any]) -> str:
    """Return one finding or problem: where, what, what to do."""
    severity = finding.get("severity", "error")
    words = (str(finding.get(part) or "") for part in ("message", "suggestion"))
    said = " ".join(short(text, 300) for text in words if text)
    return f"{severity} at {short(finding['path'] or '/', 120)}: {said}"


def _bounded(details: Mapping[str, Any]) -> dict[str, Any]:
    bounded: dict[str, Any] = {}
    for name, value in details.items():
        if name in _LISTS and isinstance(value, Sequence):
            listed = cast("Sequence[Any]", value)
            bounded[name] = list(listed[:FINDINGS_SHOWN])
            bounded[f"{name}_total"] = len(listed)
        else:
            bounded[name] = truncate_oversized(value, DETAILS_LIMIT_BYTES)[0]
    return bounded


def _listed(details: Mapping[str, Any]) -> list[str]:
    found = [one for name in _LISTS for one in details.get(name) or ()]
    if len(found) == 1 and "problems" in details:
        return []
    more = [f"... {len(found) - FINDINGS_SHOWN} more"] if len(found) > FINDINGS_SHOWN else []
    return [finding_line(one) for one in found[:FINDINGS_SHOWN]] + more
