"""What running a template means, case by case (see tests/cases/flow/README.md)."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from world import TOOLS, World, template_of

from archon_workflows.model.outcomes import Outcome, Succeeded

CASES = Path(__file__).parent.parent / "cases" / "flow"


def cases() -> Iterator[Any]:
    for file in sorted(CASES.glob("*.json")):
        for case in json.loads(file.read_text()):
            yield pytest.param(case, id=f"{file.stem}: {case['name']}")


def world_of(case: Mapping[str, Any]) -> World:
    calls = 0

    def count(arguments: Mapping[str, Any], attempt: int) -> Outcome:
        nonlocal calls
        del arguments, attempt
        calls += 1
        return Succeeded({"calls": calls})

    def echo_braces(arguments: Mapping[str, Any], attempt: int) -> Outcome:
        del arguments, attempt
        return Succeeded("{{ 1 + 1 }}")

    linked = {name: template_of(document) for name, document in case.get("linked", {}).items()}
    return World(
        template_of(case["template"]),
        case.get("parameters", {}),
        linked=linked,
        tools={**TOOLS, "count": count, "echo_braces": echo_braces},
    )


@pytest.mark.parametrize("case", list(cases()))
def test_flow(case: Mapping[str, Any]) -> None:
    world = world_of(case).run()

    expect = case["expect"]
    assert world.status == expect["status"], world.error
    seen = {
        "status": world.status,
        "output": world.output,
        "error": world.error and world.error["code"],
        "statuses": world.statuses,
        "calls": world.called_paths,
        "context": world.columns["execution_context"],
        "attempts": {path: world.records[path].attempt_number for path in expect.get("attempts", ())},
    }
    assert {name: seen[name] for name in expect} == expect
