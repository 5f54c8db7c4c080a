"""Arguments of a call, checked against the tool's ``inputSchema`` before anything is sent.

Templates make texts easily (``"{{ n }} items"``), so a scalar whose type the schema excludes is converted
where its text form is exact: ``"5"`` to 5, ``"0.5"`` to 0.5, ``"true"`` to true, and integers and booleans to
the same texts. Nothing else is guessed: ``"05"``, ``"5.0"`` for an integer, ``"True"``, ``1.0`` for a text
and ``""`` for null stay what they are and are mistakes.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from archon_workflows.errors import did_you_mean, nearest
from archon_workflows.gateway.port import ToolEntry
from archon_workflows.gateway.schemas import Mismatch, SchemaCheck, referenced
from archon_workflows.model.json_values import pointer_token
from archon_workflows.model.outcomes import JsonValue, StepError

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})\.[0-9]{0,14}[1-9]")
_BOOLEANS = {"true": True, "false": False}
_ALTERNATIVES = ("anyOf", "oneOf", "allOf")
_DEEPEST = 32

Openness = Literal["open", "closed"]


def fitted_arguments(
    tool: ToolEntry, arguments: Mapping[str, JsonValue], check: SchemaCheck
) -> dict[str, JsonValue] | StepError:
    """Return the arguments to send, or ``invalid_arguments`` with everything that is wrong.

    Names that the schema does not list are refused even where it leaves ``additionalProperties`` out,
    because servers ignore them silently.

    Args:
        tool: whose schema is meant.
        arguments: as the template gives them.
        check: of the tool's input schema.
    """
    unknown = _unknown_names(tool.input_schema, arguments)
    fitted = cast("dict[str, JsonValue]", _fitted(dict(arguments), tool.input_schema, tool.input_schema, 0))
    known = {name: value for name, value in fitted.items() if name not in unknown}
    mismatches = check.mismatches(known)
    if not unknown and not mismatches:
        return fitted
    return _error(tool, unknown, mismatches)


def known_names(schema: Mapping[str, Any]) -> tuple[list[str], Openness]:
    """Return the property names that a schema lists, and whether it takes others too."""
    names: dict[str, None] = {}
    openness = _collect_names(schema, schema, names, 0)
    return list(names), openness if names else ("closed" if _is_sealed(schema) else "open")


def _collect_names(root: Mapping[str, Any], schema: Any, names: dict[str, None], depth: int) -> Openness:
    schema = referenced(root, schema)
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return "closed"
    fields = cast("dict[str, Any]", schema)
    properties = fields.get("properties")
    if isinstance(properties, dict):
        names.update(dict.fromkeys(cast("dict[str, Any]", properties)))
    further = fields.get("additionalProperties", False)
    is_open = further is True or isinstance(further, dict) or "patternProperties" in fields
    for key in _ALTERNATIVES:
        for part in cast("list[Any]", fields.get(key) or []):
            is_open = _collect_names(root, part, names, depth + 1) == "open" or is_open
    return "open" if is_open else "closed"


def _is_sealed(schema: Mapping[str, Any]) -> bool:
    return schema.get("additionalProperties") is False or "properties" in schema


def _unknown_names(schema: Mapping[str, Any], arguments: Mapping[str, JsonValue]) -> list[str]:
    properties = schema.get("properties")
    if isinstance(properties, dict) and arguments.keys() <= cast("dict[str, Any]", properties).keys():
        return []
    names, openness = known_names(schema)
    return [] if openness == "open" else [name for name in arguments if name not in names]


def _fitted(value: JsonValue, schema: Any, root: Mapping[str, Any], depth: int) -> JsonValue:
    schema = referenced(root, schema)
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return value
    fields = cast("dict[str, Any]", schema)
    if isinstance(value, dict):
        properties = cast("dict[str, Any]", fields.get("properties") or {})
        members = cast("dict[str, JsonValue]", value)
        return {key: _fitted(one, properties.get(key), root, depth + 1) for key, one in members.items()}
    if isinstance(value, list):
        items = fields.get("items")
        return [_fitted(one, items, root, depth + 1) for one in cast("list[JsonValue]", value)]
    return _fitted_scalar(value, _types(fields, root, 0))


def _types(schema: Any, root: Mapping[str, Any], depth: int) -> frozenset[str] | None:
    """Return the types that a schema takes, as far as it says so; ``None`` where it does not."""
    schema = referenced(root, schema)
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    fields = cast("dict[str, Any]", schema)
    given = fields.get("type")
    if isinstance(given, str):
        return frozenset({given})
    if isinstance(given, list):
        return frozenset(map(str, cast("list[Any]", given)))
    for key in ("anyOf", "oneOf"):
        branches = [_types(one, root, depth + 1) for one in cast("list[Any]", fields.get(key) or [])]
        known = [branch for branch in branches if branch is not None]
        if branches and len(known) == len(branches):
            return frozenset[str]().union(*known)
    return None


def _fitted_scalar(value: JsonValue, types: frozenset[str] | None) -> JsonValue:
    if types is None:
        return value
    if isinstance(value, str) and "string" not in types:
        return _out_of_text(value, types)
    if isinstance(value, bool) and "string" in types and "boolean" not in types:
        return "true" if value else "false"
    if type(value) is int and "string" in types and not types & {"integer", "number"}:
        return str(value)
    return value


def _out_of_text(text: str, types: frozenset[str]) -> JsonValue:
    if types & {"integer", "number"} and _INTEGER.fullmatch(text):
        return int(text)
    if "number" in types and _NUMBER.fullmatch(text) and repr(float(text)) == text:
        return float(text)
    return _BOOLEANS.get(text, text) if "boolean" in types else text


def _error(tool: ToolEntry, unknown: list[str], mismatches: list[Mismatch]) -> StepError:
    names, _ = known_names(tool.input_schema)
    problems = [_unknown_problem(name, names) for name in unknown]
    problems += [{"path": mismatch.path, "problem": mismatch.message} for mismatch in mismatches]
    first = "; ".join(f"{problem['path'] or '/'}: {problem['problem']}" for problem in problems[:3])
    more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""  # noqa: PLR2004 - three are readable
    return StepError(
        "invalid_arguments",
        f"The arguments do not fit the tool {tool.address!r}: {first}{more}",
        {"tool": tool.address, "path": problems[0]["path"], "problems": problems, "known_arguments": names},
    )


def _unknown_problem(name: str, names: list[str]) -> dict[str, JsonValue]:
    problem: dict[str, JsonValue] = {
        "path": pointer_token(name),
        "problem": f"unknown argument {name!r}. {did_you_mean(name, names, noun='argument')}",
    }
    match = nearest(name, names)
    return {**problem, "nearest": match} if match else problem
