"""JSON Schemas of tool servers, checked with bounded work: they are as untrusted as what they describe.

Regular expressions run on an engine that is linear in the text; what it cannot compile is left out of the
schema. Nothing is fetched. A schema whose check could take unbounded work is not checked at all, which is
logged once: a server's schema is a help to its users, and no reason to lose an answer.
"""

import json
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

import anyio.to_thread
import jsonschema_rs

from archon_workflows.model.json_values import pointer_token, shown
from archon_workflows.model.outcomes import JsonValue

logger = logging.getLogger(__name__)

_REGEX_OPTIONS = jsonschema_rs.RegexOptions(size_limit=1 << 18, dfa_size_limit=1 << 20)
_SCHEMA_CHARACTERS = 262_144
_PATTERNS = 100
_WORK = 10_000_000
_REPORTED_ERRORS = 10
_CACHED_SCHEMAS = 1_024
_COMBINATORS = frozenset({"anyOf", "oneOf", "allOf", "not", "if", "then", "else", "dependentSchemas"})
_LITERAL_KEYWORDS = frozenset({"const", "enum", "default", "examples"})


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One place where a value does not fit: JSON pointer into the value, and what is wrong there."""

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class SchemaCheck:
    """A compiled schema.

    Attributes:
        unchecked_because: why nothing is checked, or ``None``.
    """

    unchecked_because: str | None
    _validator: jsonschema_rs.Draft202012Validator | None
    _weight: int

    def mismatches(self, value: JsonValue) -> list[Mismatch]:
        """Return the first places where ``value`` does not fit; empty when it fits or cannot be checked."""
        if self._validator is None or self._weight * _count_nodes(value) > _WORK:
            return []
        if self._validator.is_valid(value):
            return []
        errors = self._validator.iter_errors(value)
        return [_mismatch(error) for error, _ in zip(errors, range(_REPORTED_ERRORS), strict=False)]


class SchemaChecks:
    """Compiles schemas once each, off the event loop, and remembers the last thousand by their text."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, SchemaCheck] = OrderedDict()
        self._seen: dict[int, tuple[Mapping[str, Any], SchemaCheck]] = {}
        """By identity, which nothing else can have while the schema is kept beside it."""

    async def check_for(self, schema: Mapping[str, Any], what: str) -> SchemaCheck:
        """Return the check of ``schema``; ``what`` names it in the log."""
        seen = self._seen.get(id(schema))
        if seen is not None:
            return seen[1]
        check = await self._check_of_text(schema, what)
        if len(self._seen) >= _CACHED_SCHEMAS:
            self._seen.clear()
        self._seen[id(schema)] = (schema, check)
        return check

    async def _check_of_text(self, schema: Mapping[str, Any], what: str) -> SchemaCheck:
        text = json.dumps(schema, sort_keys=True)
        key = sha256(text.encode(errors="surrogatepass")).digest()
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        check = await anyio.to_thread.run_sync(compile_schema, schema, len(text))
        if check.unchecked_because:
            logger.warning("The %s is not checked: %s", what, check.unchecked_because)
        self._known[key] = check
        if len(self._known) > _CACHED_SCHEMAS:
            self._known.popitem(last=False)
        return check


def compile_schema(schema: Mapping[str, Any], size: int) -> SchemaCheck:
    """Compile a schema, or say why its check would not be bounded.

    Args:
        schema: from a tool server.
        size: characters of its JSON text.
    """
    if size > _SCHEMA_CHARACTERS:
        return SchemaCheck(f"it has {size:,} characters; the limit is {_SCHEMA_CHARACTERS:,}", None, 0)
    try:
        weight = _Weigher(schema).weight()
        return SchemaCheck(None, _compiled(schema), weight)
    except _Unbounded as error:
        return SchemaCheck(str(error), None, 0)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        return SchemaCheck(f"it does not compile: {str(error).splitlines()[0][:200]}", None, 0)


def referenced(root: Mapping[str, Any], schema: Any) -> Any:
    """Return the schema that a local ``$ref`` leads to, through at most a few hops; else ``schema``."""
    for _ in range(8):
        if not isinstance(schema, dict) or not isinstance(cast("dict[str, Any]", schema).get("$ref"), str):
            break
        found = _target(root, cast("dict[str, Any]", schema)["$ref"])
        if found is None:
            break
        schema = found
    return cast("Any", schema)


def _compiled(schema: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator:
    given = cast("dict[str, Any]", _without_foreign_patterns(schema))
    dialect = given.get("$schema")
    if isinstance(dialect, str) and "draft-0" not in dialect:
        given = {key: value for key, value in given.items() if key != "$schema"}
    validator = jsonschema_rs.validator_for(given, pattern_options=_REGEX_OPTIONS, offline=True)
    return cast("jsonschema_rs.Draft202012Validator", validator)


def _without_foreign_patterns(schema: Any) -> Any:
    """Copy a schema without the patterns that the linear engine refuses and those beyond the limit."""
    kept = 0

    def copied(node: Any) -> Any:
        nonlocal kept
        if isinstance(node, list):
            return [copied(one) for one in cast("list[Any]", node)]
        if not isinstance(node, dict):
            return node
        result: dict[str, Any] = {}
        for key, value in cast("dict[str, Any]", node).items():
            if key == "pattern" and isinstance(value, str):
                if kept >= _PATTERNS or not _is_linear(value):
                    continue
                kept += 1
            result[key] = value if key in _LITERAL_KEYWORDS else copied(value)
        return result

    return copied(schema)


def _is_linear(pattern: str) -> bool:
    try:
        jsonschema_rs.validator_for({"pattern": pattern}, pattern_options=_REGEX_OPTIONS, offline=True)
    except (jsonschema_rs.ValidationError, ValueError):
        return False
    return True


class _Unbounded(Exception):
    """The check of a schema could take more work than its value is worth."""


class _Weigher:
    """Counts the keywords that one value can meet, with every local reference followed.

    References that lead back to themselves are fine while each level of the value takes one way through
    them; two ways (both sides of an ``anyOf``, say) double the work with every level of the value.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._weights: dict[str, int] = {}
        self._open: list[str] = []
        self._loops: dict[str, int] = {}

    def weight(self) -> int:
        """Return the count.

        Raises:
            _Unbounded: it is too large, or grows with the depth of the value.
        """
        return self._weigh(self._root, in_combinator=False)

    def _weigh(self, node: Any, *, in_combinator: bool) -> int:
        if isinstance(node, list):
            return sum(self._weigh(one, in_combinator=in_combinator) for one in cast("list[Any]", node))
        if not isinstance(node, dict):
            return 0
        total = 1
        for key, value in cast("dict[str, Any]", node).items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                total += self._weigh_reference(value, in_combinator=in_combinator)
            elif key not in _LITERAL_KEYWORDS and key not in ("$defs", "definitions"):
                total += self._weigh(value, in_combinator=in_combinator or key in _COMBINATORS)
        if total > _WORK:
            raise _Unbounded("checking it could take too much work")
        return total

    def _weigh_reference(self, reference: str, *, in_combinator: bool) -> int:
        if reference in self._open:
            if in_combinator:
                self._loops[reference] = self._loops.get(reference, 0) + 1
            if self._loops.get(reference, 0) > 1:
                raise _Unbounded("it refers to itself in more than one way at once")
            return 1
        if reference not in self._weights:
            self._open.append(reference)
            self._weights[reference] = self._weigh(
                _target(self._root, reference), in_combinator=in_combinator
            )
            self._open.pop()
        return self._weights[reference]


def _target(root: Mapping[str, Any], reference: str) -> Any:
    if not reference.startswith("#"):
        return None
    node: Any = root
    for token in reference[1:].split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(node, Mapping):
            node = cast("Mapping[str, Any]", node).get(key)
        elif isinstance(node, list) and key.isdigit() and int(key) < len(cast("list[Any]", node)):
            node = cast("list[Any]", node)[int(key)]
        else:
            return None
    return node


def _mismatch(error: jsonschema_rs.ValidationError) -> Mismatch:
    path = "".join(pointer_token(part) for part in error.instance_path)
    message = error.message if len(error.message) <= 200 else f"{shown(error.instance)} does not fit"  # noqa: PLR2004 - readable
    return Mismatch(path, message)


def _count_nodes(value: JsonValue) -> int:
    nodes, waiting = 0, [value]
    while waiting:
        node = waiting.pop()
        nodes += 1
        if isinstance(node, dict):
            waiting.extend(cast("dict[str, JsonValue]", node).values())
        elif isinstance(node, list):
            waiting.extend(cast("list[JsonValue]", node))
    return nodes
