"""Made-up results of tools: as small as their output schemas allow, with everything that is read of them.

Where nothing says of what type a value is, it is a text that names it, such as ``<create_vm.output.id>``.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from archon_workflows.engine.rehearsal.readings import Reading
from archon_workflows.gateway.schemas import referenced
from archon_workflows.model.json_values import pointer_token
from archon_workflows.model.outcomes import JsonValue

_DEEPEST = 24
_NAMED = re.compile(r"<[^<>]{1,500}>")
_MOST_ITEMS = 100


class Invention:
    """Makes values up, and knows them again."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def output(self, step: str, reading: Reading, schema: Mapping[str, Any] | None) -> JsonValue:
        """Return a result of the step's tool as expressions see it.

        Args:
            step: name of the step.
            reading: what the template reads of the output.
            schema: the tool's output schema.
        """
        schema = _unwrapped(schema)
        return self._value(f"{step}.output", reading, schema, schema or {}, 0)

    def named(self, name: str) -> str:
        """Return the text that stands for a value of that name."""
        text = f"<{re.sub('[<>]', '', name)[:500]}>"
        self._names.add(text)
        return text

    def made_up_texts(self, value: JsonValue, path: str = "") -> Iterator[str]:
        """Yield the JSON pointers of the texts inside a value that hold something made up."""
        if isinstance(value, str):
            if any(name in self._names for name in _NAMED.findall(value)):
                yield path
        elif isinstance(value, dict):
            for key, inner in cast("dict[str, JsonValue]", value).items():
                yield from self.made_up_texts(inner, path + pointer_token(key))
        elif isinstance(value, list):
            for index, inner in enumerate(cast("list[JsonValue]", value)):
                yield from self.made_up_texts(inner, f"{path}/{index}")

    def _value(
        self, name: str, reading: Reading, schema: Any, root: Mapping[str, Any], depth: int
    ) -> JsonValue:
        fields = _plain_schema(schema, root)
        stated = _stated(fields, reading)
        if stated or depth > _DEEPEST:
            return stated[0] if stated else None
        kind = _type_of(fields, reading)
        if kind == "object":
            return self._object(name, reading, fields, root, depth)
        if kind == "array":
            return self._list(name, reading, fields, root, depth)
        return self._scalar(name, fields, kind)

    def _scalar(self, name: str, fields: Mapping[str, Any], kind: str | None) -> JsonValue:
        match kind:
            case "integer" | "number":
                return _number(fields, kind)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return True if name.endswith(".success") and kind is None else self.named(name)

    def _object(
        self, name: str, reading: Reading, fields: Mapping[str, Any], root: Mapping[str, Any], depth: int
    ) -> JsonValue:
        members = cast("Mapping[str, Any]", fields.get("properties") or {})
        required = cast("list[str]", fields.get("required") or [])
        keys = dict.fromkeys([*required, *(key for key in reading.items if isinstance(key, str))])
        return {
            key: self._value(f"{name}.{key}", reading.item(key), members.get(key), root, depth + 1)
            for key in keys
        }

    def _list(
        self, name: str, reading: Reading, fields: Mapping[str, Any], root: Mapping[str, Any], depth: int
    ) -> JsonValue:
        return [
            self._value(f"{name}[{index}]", reading.item(index), fields.get("items"), root, depth + 1)
            for index in range(_length(fields, reading))
        ]


def _unwrapped(schema: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the schema of what expressions see: a single key ``result`` is unwrapped."""
    members = cast("dict[str, Any]", schema.get("properties") or {}) if schema is not None else {}
    if schema is None or members.keys() != {"result"}:
        return schema
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    return {**shared, **members["result"]} if isinstance(members["result"], dict) else None


def _plain_schema(schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without references: the first alternative is chosen, parts are put together."""
    for _ in range(_DEEPEST):
        found = referenced(root, schema)
        if not isinstance(found, dict):
            return {}
        fields = cast("dict[str, Any]", found)
        key = next((one for one in ("anyOf", "oneOf", "allOf") if isinstance(fields.get(one), list)), None)
        if key is None:
            return fields
        parts = [_plain_schema(one, root) for one in cast("list[Any]", fields[key])]
        rest = {name: value for name, value in fields.items() if name != key}
        chosen = parts if key == "allOf" else [one for one in parts if one.get("type") != "null"][:1]
        schema = _all_of([*chosen, rest])
    return {}


def _stated(fields: Mapping[str, Any], reading: Reading) -> list[Any]:
    """Return the value that the schema itself names, if it does, in a list."""
    if "const" in fields:
        return [fields["const"]]
    values = cast("list[Any]", fields.get("enum") or [])
    if not values and not reading.items:
        values = (
            [fields["default"]] if "default" in fields else cast("list[Any]", fields.get("examples") or [])
        )
    return values[:1]


def _all_of(parts: list[dict[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for part in parts:
        members = {**whole.get("properties", {}), **part.get("properties", {})}
        required = [*whole.get("required", []), *part.get("required", [])]
        whole |= part
        whole |= {"properties": members} if members else {}
        whole |= {"required": required} if required else {}
    return whole


def _type_of(fields: Mapping[str, Any], reading: Reading) -> str | None:
    given = fields.get("type")
    if isinstance(given, list):
        given = next((one for one in cast("list[Any]", given) if one != "null"), "null")
    if isinstance(given, str):
        return given
    if "properties" in fields:
        return "object"
    if "items" in fields:
        return "array"
    return _type_as_read(reading)


def _type_as_read(reading: Reading) -> str | None:
    if any(isinstance(key, str) for key in reading.items):
        return "object"
    if reading.items:
        return "array"
    return "boolean" if reading.decides else None


def _length(fields: Mapping[str, Any], reading: Reading) -> int:
    indexes = [key for key in reading.items if isinstance(key, int)]
    read = [index + 1 if index >= 0 else -index for index in indexes]
    return min(max([int(fields.get("minItems") or 0), *read]), _MOST_ITEMS)


def _number(fields: Mapping[str, Any], kind: str) -> JsonValue:
    smallest = fields.get("minimum", fields.get("exclusiveMinimum", 0))
    number = smallest + 1 if "exclusiveMinimum" in fields or smallest == 0 else smallest
    return int(number) if kind == "integer" else number
