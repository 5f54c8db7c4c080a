"""Versions of a template: the next tag, what a change breaks for callers, and what differs."""

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any, cast

import semver

from archon_workflows.model.json_values import canonical_json, pointer_token
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.parameters import is_needed
from archon_workflows.model.template import ChangeType, Template

_ANY_TYPE = frozenset({"string", "integer", "number", "boolean", "object", "array", "null"})


def next_version_tag(current: str, change_type: ChangeType) -> str:
    """Return the tag after ``current``: ``update`` bumps the patch number, ``create`` keeps the tag.

    Raises:
        ValueError: ``current`` is no semantic version.
    """
    version = semver.Version.parse(current)
    if change_type == "create":
        return str(version)
    return str(version.next_version("patch" if change_type == "update" else change_type))


def classify_change(old: Template, new: Template) -> list[str]:
    """Return one sentence for each way in which ``new`` breaks those who run ``old``; empty: none.

    Breaking is: a parameter or output is removed or gets another type, or a parameter becomes required.
    A parameter may take more types than before, an output may yield fewer.
    """
    return [*_broken_parameters(old, new), *_broken_outputs(old, new)]


def diff_documents(old: JsonValue, new: JsonValue) -> list[dict[str, Any]]:
    """Return what differs, in document order: ``{op, path, old?, new?}``.

    ``op`` is ``add``, ``remove`` or ``replace``; ``path`` is a JSON pointer into ``new``, for ``remove``
    into ``old``. Elements of lists are matched by content, so an insertion is one difference.
    """
    return list(_differences(old, new, "", ""))


def _broken_parameters(old: Template, new: Template) -> Iterator[str]:
    for name, before in old.parameters.items():
        after = new.parameters.get(name)
        if after is None:
            yield f"The parameter {name!r} was removed."
            continue
        if not _types(before.json_schema) <= _types(after.json_schema):
            kinds = f"{_named(after.json_schema)}, no longer {_named(before.json_schema)}"
            yield f"The parameter {name!r} takes {kinds}."
        if is_needed(after) and not is_needed(before):
            yield f"The parameter {name!r} became required."
    for name, after in new.parameters.items():
        if name not in old.parameters and is_needed(after):
            yield f"The new parameter {name!r} is required."


def _broken_outputs(old: Template, new: Template) -> Iterator[str]:
    for name, before in old.outputs.items():
        after = new.outputs.get(name)
        if after is None:
            yield f"The output {name!r} was removed."
        elif not _types(after.json_schema) <= _types(before.json_schema):
            kinds = f"{_named(after.json_schema)}, no longer {_named(before.json_schema)}"
            yield f"The output {name!r} is {kinds}."
    if not old.outputs and new.outputs:
        yield "The result is now an object of outputs, no longer the output of the last step."


def _types(schema: dict[str, Any]) -> frozenset[str]:
    given = schema.get("type")
    if given is None:
        return _ANY_TYPE
    types = frozenset([given] if isinstance(given, str) else cast("list[str]", given))
    return types | {"integer"} if "number" in types else types


def _named(schema: dict[str, Any]) -> str:
    given = schema.get("type")
    if given is None:
        return "any type"
    return given if isinstance(given, str) else " or ".join(cast("list[str]", given))


def _differences(old: JsonValue, new: JsonValue, old_path: str, new_path: str) -> Iterator[dict[str, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _object_differences(
            cast("dict[str, Any]", old), cast("dict[str, Any]", new), old_path, new_path
        )
    elif isinstance(old, list) and isinstance(new, list):
        yield from _list_differences(cast("list[Any]", old), cast("list[Any]", new), old_path, new_path)
    elif canonical_json(old) != canonical_json(new):
        yield {"op": "replace", "path": new_path, "old": old, "new": new}


def _object_differences(
    old: dict[str, Any], new: dict[str, Any], old_path: str, new_path: str
) -> Iterator[dict[str, Any]]:
    for key, value in old.items():
        token = pointer_token(key)
        if key in new:
            yield from _differences(value, new[key], old_path + token, new_path + token)
        else:
            yield {"op": "remove", "path": old_path + token, "old": value}
    for key, value in new.items():
        if key not in old:
            yield {"op": "add", "path": new_path + pointer_token(key), "new": value}


def _list_differences(
    old: list[Any], new: list[Any], old_path: str, new_path: str
) -> Iterator[dict[str, Any]]:
    before, after = [_identity(one) for one in old], [_identity(one) for one in new]
    for _, start, end, new_start, new_end in SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
        pairs = min(end - start, new_end - new_start)
        for offset in range(pairs):
            yield from _differences(
                old[start + offset],
                new[new_start + offset],
                f"{old_path}/{start + offset}",
                f"{new_path}/{new_start + offset}",
            )
        for index in range(start + pairs, end):
            yield {"op": "remove", "path": f"{old_path}/{index}", "old": old[index]}
        for index in range(new_start + pairs, new_end):
            yield {"op": "add", "path": f"{new_path}/{index}", "new": new[index]}


def _identity(element: Any) -> str:
    """Return what an element of a list is known by: the name of a step, else the whole content."""
    if isinstance(element, dict):
        name = cast("dict[str, Any]", element).get("name")
        if isinstance(name, str):
            return f"name {name}"
    return canonical_json(element)
