"""Arguments of a call against the schema of what is called: a tool, or a linked workflow.

Only constants can be compared with a schema before a run; what holds expressions is left to the call.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from archon_workflows.errors import ExpressionError
from archon_workflows.expressions import CompiledValue, compile_value
from archon_workflows.model.findings import Finding, closest, hint, renaming, replacement
from archon_workflows.model.json_values import InvalidJson, parse_json, pointer_token, shown
from archon_workflows.model.rules import finding
from archon_workflows.model.schemas import SchemaProblem, problems_with

_SHARED_KEYWORDS = ("$schema", "$id", "$defs", "definitions", "$anchor")
_SCALARS = (bool, int, float)


def review_arguments(
    arguments: Mapping[str, Any], schema: Mapping[str, Any], path: str, *, called: str
) -> Iterator[Finding]:
    """Yield the arguments that what is ``called`` does not take, lacks, or takes otherwise.

    Args:
        arguments: as the document has them, expressions included.
        schema: what is called takes; an input schema of JSON Schema.
        path: JSON pointer of the arguments in the document.
        called: what is called, at the beginning of a sentence.
    """
    members = schema.get("properties")
    known = cast("dict[str, Any]", members) if isinstance(members, dict) else {}
    renamed: set[str] = set()
    for name, value in arguments.items():
        if name in known:
            yield from _unfitting(value, known[name], schema, path + pointer_token(name))
        elif _is_closed(schema):
            match = closest(name, [one for one in known if one not in arguments])
            renamed |= {match} if match else set()
            yield _unknown(name, match, list(known), path, called)
    for name in schema.get("required") or ():
        if name not in arguments and name not in renamed:
            yield _missing(name, known.get(name), path, called)


def _is_closed(schema: Mapping[str, Any]) -> bool:
    """Say whether the names are known; servers ignore unknown ones silently unless they say otherwise."""
    return (
        isinstance(schema.get("properties"), dict)
        and schema.get("additionalProperties") in (None, False)
        and "patternProperties" not in schema
    )


def _unknown(name: str, match: str | None, known: list[str], path: str, called: str) -> Finding:
    where = path + pointer_token(name)
    return finding(
        "unknown_argument",
        where,
        f"{called} takes no {name!r}.",
        suggestion=hint(match, known, noun="argument"),
        nearest=match,
        patch=renaming(path, name, match, ()) or ({"op": "remove", "path": where},),
    )


def _missing(name: str, schema: Any, path: str, called: str) -> Finding:
    facts = cast("dict[str, Any]", schema) if isinstance(schema, dict) else {}
    meaning = f": {facts['description']}" if isinstance(facts.get("description"), str) else ""
    kind = f" ({facts['type']})" if isinstance(facts.get("type"), str) else ""
    return finding(
        "missing_argument",
        path,
        f"{called} needs {name!r}{kind}.",
        suggestion=f"Add {name!r}{meaning}.",
    )


def _unfitting(value: Any, member: Any, schema: Mapping[str, Any], path: str) -> Iterator[Finding]:
    compiled = _compiled(value)
    if not isinstance(member, dict) or compiled is None or not compiled.is_constant:
        return
    shared = {key: schema[key] for key in _SHARED_KEYWORDS if key in schema}
    whole: dict[str, Any] = {**shared, "allOf": [member]}
    constant = compiled.evaluate({})
    problems = _problems(whole, constant)
    if problems and not _fits_as_scalar(whole, constant):
        problem = problems[0]
        where = path + problem.path
        yield finding(
            "invalid_argument",
            where,
            f"{shown(value)} does not fit: {problem.message}",
            suggestion=problem.suggestion or "Change the value.",
            nearest=problem.nearest,
            patch=replacement(where, problem.nearest),
        )


def _problems(schema: dict[str, Any], value: Any) -> list[SchemaProblem]:
    try:
        return list(problems_with(schema, value))
    except ValueError:
        return []  # The tool's schema cannot be compiled on its own; the call will be checked as a whole.


def _fits_as_scalar(schema: dict[str, Any], value: Any) -> bool:
    """Say whether a text fits as the number or boolean that it spells exactly; the call coerces it so."""
    if not isinstance(value, str):
        return False
    try:
        scalar = parse_json(value)
    except InvalidJson:
        return False
    return isinstance(scalar, _SCALARS) and not _problems(schema, scalar)


def _compiled(value: Any) -> CompiledValue | None:
    try:
        return compile_value(value)
    except ExpressionError:
        return None
