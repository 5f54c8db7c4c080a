"""Reads the hostile cases, builds what they describe, and says what became of one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, cast

from archon_workflows.errors import ExpressionError
from archon_workflows.expressions import compile_condition, compile_value

CASES = Path(__file__).parent.parent / "cases"
ROOTS = frozenset(
    {
        "workflow",
        "steps",
        "previous_step",
        "context",
        "execution",
        "loop",
        "item",
        "output",
        "error",
        "secrets",
    }
)
SCOPE: dict[str, Any] = {
    "workflow": {"name": "deploy", "parameters": {"vm_name": "web-01", "count": 3}},
    "steps": {
        "create_vm": {"output": {"vm_id": "vm-1", "items": [1, 2, 3], "keys": "k", "values": "vv"}},
        "t": {"output": {"v": None}},
    },
    "previous_step": {"output": {"status": "success"}},
    "context": {},
    "execution": {"id": "e-1"},
    "loop": {"index": 1, "index0": 0, "first": True, "last": False, "length": 2},
    "item": "one",
    "output": {"ok": True},
    "error": None,
    "secrets": {"token": "s3cret"},
}
_DEEP = {"minus": "-" * 100_000 + "1", "hex": "0x" + "f" * 1_000_000}


@dataclass(frozen=True)
class Met:
    """What became of a case: ``reject``, ``error`` (with the error) or ``value`` (with the value)."""

    kind: str
    value: Any = None


def read_cases(name: str) -> list[dict[str, Any]]:
    """Return the cases of a file, one JSON object a line."""
    return [json.loads(line) for line in (CASES / name).read_text("utf-8").splitlines()]


def source_of(case: Mapping[str, Any]) -> str:
    """Return the text of the case."""
    if "build" in case:
        return "".join(text * times for text, times in case["build"])
    return case["expression"]


def scope_of(case: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scope with the changes of the case."""
    patch: dict[str, Any] = case.get("context_patch", {})
    if "$deep" in patch:
        patch = {"steps": {"t": {"output": {"v": _DEEP[patch["$deep"]]}}}}
    return _merged(SCOPE, _built(patch))


def meet(mode: str, source: str, scope: Mapping[str, Any]) -> Met:
    """Compile and evaluate a text in its scope; anything but an ``ExpressionError`` gets out."""
    compile_text = compile_condition if mode == "condition" else compile_value
    try:
        compiled = compile_text(source, roots=ROOTS)
    except ExpressionError as error:
        return Met("reject", error)
    try:
        return Met("value", compiled.evaluate(scope))
    except ExpressionError as error:
        return Met("error", error)


def is_met(case: Mapping[str, Any], met: Met) -> bool:
    """Whether what became of the case is what had to."""
    expected: str = case["expected"]
    if expected == "reject":
        return met.kind == "reject"
    if expected == "error":
        return met.kind in ("reject", "error")
    if met.kind != "value":
        return False
    if expected == "literal":
        return met.value == source_of(case)
    if expected == "value:<unchanged>":
        return met.value == scope_of(case)["steps"]["t"]["output"]["v"]
    return str(met.value) == expected.removeprefix("value:")


def _merged(scope: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(scope)
    for key, value in patch.items():
        both = isinstance(value, dict) and isinstance(scope.get(key), dict)
        merged[key] = _merged(scope[key], cast("dict[str, Any]", value)) if both else value
    return merged


def _built(value: Any) -> Any:
    """Replace ``$repeat``, ``$copies``, ``$range`` and ``$nest`` by what they describe."""
    match value:
        case {"$repeat": [text, times]}:
            return text * times
        case {"$copies": [one, times]}:
            return [_built(one)] * times
        case {"$range": count}:
            return list(range(count))
        case {"$nest": levels}:
            return reduce(lambda nested, _: [nested], range(levels), 1)
        case dict():
            return {key: _built(one) for key, one in cast("dict[str, Any]", value).items()}
        case _:
            return value
