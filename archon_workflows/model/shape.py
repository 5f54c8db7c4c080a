"""Tells what is wrong with the shape of a document: a finding, with a repair, for each mistake.

It knows which names agents tend to write instead of ours. It does not decide what is valid: the models do.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from archon_workflows.model.descriptions import descriptions_of
from archon_workflows.model.findings import Finding, PatchOperation, closest, renaming, replacement
from archon_workflows.model.json_values import shown
from archon_workflows.model.locations import EXPECTED, Mistake, nearest_field
from archon_workflows.model.rules import finding
from archon_workflows.model.schemas import JSON_TYPES
from archon_workflows.model.steps import NAME_PATTERN, STEP_TYPES

_TYPE_OF_FIELD = {
    "tool_name": "action",
    "tool": "action",
    "condition": "condition",
    "on_true": "condition",
    "workflow_name": "workflow_link",
    "collection": "loop",
    "item_variable": "loop",
    "steps": "parallel",
}
_TYPE_ALIASES = {
    "tool": "action",
    "tool_call": "action",
    "task": "action",
    "call": "action",
    "if": "condition",
    "branch": "condition",
    "switch": "condition",
    "foreach": "loop",
    "for_each": "loop",
    "for": "loop",
    "map": "loop",
    "link": "workflow_link",
    "workflow": "workflow_link",
    "sub_workflow": "workflow_link",
    "subworkflow": "workflow_link",
    "concurrent": "parallel",
    "fork": "parallel",
}
_LONGEST_NAME = 63


def describe(mistake: Mistake) -> Finding:  # noqa: PLR0911 - one way out for each kind of mistake
    """Return the finding for a mistake."""
    if mistake.kind == "extra_forbidden":
        return _unknown_field(mistake)
    if mistake.kind == "missing":
        return _missing_field(mistake)
    if mistake.kind in {"union_tag_invalid", "union_tag_not_found"}:
        return _unknown_type(mistake)
    if mistake.kind == "string_pattern_mismatch":
        return _pattern(mistake)
    if mistake.kind in EXPECTED:
        return _wrong_type(mistake)
    if mistake.kind == "literal_error":
        return _not_among(mistake)
    return _out_of_bounds(mistake)


def snake_case(text: str) -> str | None:
    """Return a valid name made from ``text``, or ``None`` when nothing of it can be used."""
    spread = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    name = re.sub(r"[^a-z0-9]+", "_", spread.lower()).strip("_").lstrip("0123456789_")[:_LONGEST_NAME]
    return name if re.fullmatch(NAME_PATTERN, name) else None


def _unknown_field(mistake: Mistake) -> Finding:
    name = str(mistake.field)
    match = nearest_field(mistake)
    known = list(mistake.model.model_fields) if mistake.model is not None else []
    taken = mistake.names_around()
    repair = renaming(mistake.parent, name, match, taken) or ({"op": "remove", "path": mistake.path},)
    return finding(
        "unknown_field",
        mistake.path,
        f"There is no field {shown(name)} here (its value is {shown(mistake.value)}).",
        suggestion=_rename_or_remove(name, match, known),
        nearest=match,
        patch=repair,
    )


def _rename_or_remove(name: str, match: str | None, known: Sequence[str]) -> str:
    if match is not None:
        return f"Did you mean {match!r}?"
    return f"Remove {name!r}; the fields here are {', '.join(sorted(known))}."


def _missing_field(mistake: Mistake) -> Finding:
    return finding(
        "missing_field",
        mistake.path,
        f"The field {shown(mistake.field)} is missing in {shown(mistake.around)}.",
        suggestion=f"Add {mistake.field!r}{_meaning(mistake)}.",
    )


def _meaning(mistake: Mistake) -> str:
    meaning = descriptions_of(mistake.model).get(str(mistake.field)) if mistake.model is not None else None
    return f": {meaning.rstrip('.')}" if meaning else ""


def _unknown_type(mistake: Mistake) -> Finding:
    value = mistake.value
    if not isinstance(value, dict):
        return _wrong_type(replace(mistake, kind="model_attributes_type"))
    step = cast("dict[str, Any]", value)
    path = mistake.path + "/type"
    if "type" not in step:
        guess = next((kind for name, kind in _TYPE_OF_FIELD.items() if name in step), None)
        return finding(
            "missing_field",
            path,
            f'The field "type" is missing in the step {shown(step)}.',
            suggestion=f"Add 'type': {guess!r}." if guess else f"Add 'type': one of {', '.join(STEP_TYPES)}.",
            nearest=guess,
            patch=({"op": "add", "path": path, "value": guess},) if guess else None,
        )
    given = str(step["type"])
    match = _TYPE_ALIASES.get(given.lower()) or closest(given, STEP_TYPES)
    return finding(
        "unknown_step_type",
        path,
        f"There is no step type {shown(step['type'])}.",
        suggestion=f"Did you mean {match!r}?" if match else f"Step types are {', '.join(STEP_TYPES)}.",
        nearest=match,
        patch=replacement(path, match),
    )


def _pattern(mistake: Mistake) -> Finding:
    if mistake.context.get("pattern") != NAME_PATTERN:
        return finding(
            "invalid_value",
            mistake.path,
            f"{shown(mistake.value)} is no semantic version.",
            suggestion="Write three numbers, such as 1.0.0.",
            patch=replacement(mistake.path, _semantic_version(str(mistake.value))),
        )
    name = str(mistake.field if mistake.is_key else mistake.value)
    match = snake_case(name)
    taken = mistake.names_around()
    if mistake.is_key:
        repair = renaming(mistake.parent, name, match, taken)
    else:
        repair = replacement(mistake.path, match)
    return finding(
        "invalid_name",
        mistake.path,
        f"{shown(name)} is no valid name.",
        suggestion="A name begins with a small letter, then small letters, digits and '_', 63 at most"
        + (f": {match!r}." if match else "."),
        nearest=match,
        patch=repair,
    )


def _semantic_version(text: str) -> str | None:
    numbers = re.fullmatch(r"v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?", text.strip())
    return ".".join(str(int(one or 0)) for one in numbers.groups()) if numbers else None


def _wrong_type(mistake: Mistake) -> Finding:
    expected = mistake.context.get("expected_types") or EXPECTED[mistake.kind]
    repaired = _repaired(mistake)
    return finding(
        "wrong_type",
        mistake.path,
        f"{shown(mistake.value)} stands where {expected} is expected.",
        suggestion=_type_suggestion(mistake, expected, repaired),
        patch=({"op": "replace", "path": mistake.path, "value": repaired},) if repaired is not None else None,
    )


def _type_suggestion(mistake: Mistake, expected: str, repaired: Any) -> str:
    value = mistake.value
    if mistake.field == "required" and isinstance(value, list):
        names = shown(cast("list[Any]", value))
        return f"Here `required` is true or false; write the members' as `allOf: [{{'required': {names}}}]`."
    return f"Write {shown(repaired)}." if repaired is not None else f"Write {expected}."


def _repaired(mistake: Mistake) -> Any:
    """Return the same value as the type that is expected, where there is no doubt about it."""
    value = mistake.value
    if mistake.kind in {"tuple_type", "list_type"} and isinstance(value, (str, dict)):
        return [value]
    if mistake.kind == "model_type" and isinstance(value, str) and value in JSON_TYPES:
        return {"type": value}
    if mistake.kind == "bool_type" and isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    if mistake.kind == "int_from_float" or (mistake.kind == "int_type" and isinstance(value, float)):
        return int(value) if float(value).is_integer() else None
    if mistake.kind in {"int_type", "float_type"} and isinstance(value, str):
        return int(value) if re.fullmatch(r"-?\d{1,9}", value) else None
    return None


def _not_among(mistake: Mistake) -> Finding:
    allowed = re.findall(r"'([^']*)'", str(mistake.context.get("expected", "")))
    match = closest(str(mistake.value), allowed)
    return finding(
        "invalid_value",
        mistake.path,
        f"{shown(mistake.value)} is none of the values allowed here.",
        suggestion=f"Did you mean {match!r}?" if match else f"Write one of {', '.join(allowed)}.",
        nearest=match,
        patch=replacement(mistake.path, match),
    )


def _out_of_bounds(mistake: Mistake) -> Finding:
    limit = _limit(mistake.context)
    return finding(
        "invalid_value",
        mistake.path,
        f"{shown(mistake.value)} is not allowed here: {_bound_words(mistake, limit)}.",
        suggestion="Keep within the limit.",
        patch=_clamped(mistake, limit),
    )


def _limit(context: Mapping[str, Any]) -> Any:
    for name in ("ge", "le", "gt", "lt", "max_length", "min_length"):
        if name in context:
            return context[name]
    return None


def _bound_words(mistake: Mistake, limit: Any) -> str:
    words = {
        "greater_than_equal": f"the least is {limit}",
        "less_than_equal": f"the most is {limit}",
        "greater_than": f"it must be above {limit}",
        "less_than": f"it must be below {limit}",
        "too_short": "the list must not be empty",
        "too_long": f"the list may have {limit} elements",
        "string_too_short": "the text must not be empty",
        "string_too_long": f"the text may have {limit} characters",
    }
    return words.get(mistake.kind, mistake.kind.replace("_", " "))


def _clamped(mistake: Mistake, limit: Any) -> tuple[PatchOperation, ...] | None:
    if mistake.kind not in {"greater_than_equal", "less_than_equal"}:
        return None
    value = int(limit) if float(limit).is_integer() else limit
    return ({"op": "replace", "path": mistake.path, "value": value},)
