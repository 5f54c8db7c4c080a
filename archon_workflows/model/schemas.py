"""JSON Schema as the project uses it: draft 2020-12, offline, patterns in linear time, formats asserted.

It compiles, checks and says what does not fit; what the schemas belong to is known elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

import jsonschema_rs

from archon_workflows.model.findings import closest, hint
from archon_workflows.model.json_values import canonical_json, pointer_token, shown

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
JSON_TYPES: Final = ("string", "integer", "number", "boolean", "object", "array", "null")

_DATA_KEYWORDS = frozenset({"const", "enum", "default", "examples"})
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$id"})
_TYPE_ALIASES = {
    "str": "string",
    "text": "string",
    "int": "integer",
    "float": "number",
    "double": "number",
    "bool": "boolean",
    "dict": "object",
    "map": "object",
    "list": "array",
    "none": "null",
}
_LINEAR_TIME = jsonschema_rs.RegexOptions(size_limit=1_000_000, dfa_size_limit=4_000_000)
_HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class SchemaProblem:
    """One place where a value does not fit, or a schema is none.

    Attributes:
        path: JSON pointer into the value (or the schema).
        message: what is wrong, with the value.
        keyword: the JSON Schema keyword that it breaks.
        nearest: the name or value that was probably meant.
    """

    path: str
    message: str
    keyword: str
    suggestion: str | None = None
    nearest: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the problem as a JSON object without empty entries."""
        letter = {
            "path": self.path,
            "message": self.message,
            "keyword": self.keyword,
            "suggestion": self.suggestion,
            "nearest": self.nearest,
        }
        return {key: value for key, value in letter.items() if value is not None}


def compiled(schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
    """Return the validator of a schema; the last few hundred are kept.

    Raises:
        ValueError: the schema is not valid, refers elsewhere, or has a pattern that needs backtracking.
    """
    return _compiled(canonical_json(dict(schema)))


@lru_cache(maxsize=512)
def _compiled(schema: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.Draft202012Validator(
        schema, offline=True, validate_formats=True, pattern_options=_LINEAR_TIME
    )


def problems_with(
    schema: Mapping[str, Any], value: Any, *, hidden: Sequence[str] = ()
) -> Iterator[SchemaProblem]:
    """Yield every place where ``value`` does not fit ``schema``.

    Args:
        schema: one that ``compiled`` takes.
        value: any JSON value.
        hidden: names of top-level members whose values must not be shown.
    """
    for error in compiled(schema).iter_errors(value):
        path = error.instance_path
        is_hidden = bool(path) and path[0] in hidden
        keyword = error.kind.name
        options = list(getattr(error.kind, "options", ()))
        match = None if is_hidden or not isinstance(error.instance, str) else _option(error.instance, options)
        yield SchemaProblem(
            path="".join(pointer_token(one) for one in path),
            message=_message(error, is_hidden=is_hidden),
            keyword=keyword,
            suggestion=f"Did you mean {match!r}?" if match else None,
            nearest=match,
        )


def schema_problems(schema: Mapping[str, Any]) -> list[SchemaProblem]:
    """Return what keeps ``schema`` from being a valid, self-contained schema; paths lead into it."""
    problems = [_meta_problem(error) for error in _meta_validator().iter_errors(dict(schema))]
    problems += [*_references_out(schema, "")]
    if not problems:
        try:
            compiled(schema)
        except ValueError as error:
            problems.append(_compile_problem(error))
    return problems


def placed(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a member's schema so that ``#`` in its references means itself inside a larger schema."""
    fragment = dict(schema)
    if any(key in canonical_json(fragment) for key in ('"$ref"', '"$dynamicRef"')):
        return {"$id": f"member:{name}", **fragment}
    return fragment


def _message(error: jsonschema_rs.ValidationError, *, is_hidden: bool) -> str:
    if is_hidden:
        return f"{_HIDDEN} does not fit its schema ({error.kind.name})."
    if len(error.message) <= 300:  # noqa: PLR2004 - a readable line
        return f"{error.message}."
    return f"{shown(error.instance)} does not fit its schema ({error.kind.name})."


def _option(value: str, options: Sequence[Any]) -> str | None:
    return closest(value, [one for one in options if isinstance(one, str)])


@lru_cache(maxsize=1)
def _meta_validator() -> jsonschema_rs.Validator:
    return jsonschema_rs.Draft202012Validator({"$ref": DIALECT}, offline=True)


def _meta_problem(error: jsonschema_rs.ValidationError) -> SchemaProblem:
    path = "".join(pointer_token(one) for one in error.instance_path)
    if error.instance_path and error.instance_path[-1] == "type" and isinstance(error.instance, str):
        match = _TYPE_ALIASES.get(error.instance.lower()) or closest(error.instance, JSON_TYPES)
        return SchemaProblem(
            path,
            f"There is no JSON type {shown(error.instance)}.",
            "type",
            hint(match, JSON_TYPES, noun="type"),
            match,
        )
    return SchemaProblem(
        path, f"{_message(error, is_hidden=False)[:-1]} in a JSON Schema (draft 2020-12).", error.kind.name
    )


def _compile_problem(error: ValueError) -> SchemaProblem:
    path = "".join(pointer_token(one) for one in getattr(error, "instance_path", ()))
    message = str(getattr(error, "message", error))
    advice = None
    if path.endswith("/pattern"):
        advice = "Patterns run in linear time, so look-around and back-references are not there."
    return SchemaProblem(path, f"{message}.", path.rsplit("/", 1)[-1] or "schema", advice)


def _references_out(node: Any, path: str) -> Iterator[SchemaProblem]:
    if isinstance(node, list):
        for index, one in enumerate(cast("list[Any]", node)):
            yield from _references_out(one, f"{path}/{index}")
    elif isinstance(node, Mapping):
        for key, value in cast("Mapping[str, Any]", node).items():
            where = path + pointer_token(key)
            if key in _REFERENCES and isinstance(value, str) and not value.startswith("#"):
                yield SchemaProblem(
                    where,
                    f"{shown(value)} leads outside of the schema.",
                    key,
                    "Write the schema out here, or refer to a part of it, such as '#/$defs/NAME'.",
                )
            elif key not in _DATA_KEYWORDS:
                yield from _references_out(value, where)
