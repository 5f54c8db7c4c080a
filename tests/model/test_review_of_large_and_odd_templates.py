"""Validation stays bounded and never raises, whatever the document."""

import json
import random
import time
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from archon_workflows.model.review import validate_document

SOUND: dict[str, Any] = {
    "name": "sound",
    "parameters": {"a": {"type": "string", "default": "x"}},
    "outputs": {"b": {"type": "string", "value": "{{ steps.one.output.b }}"}},
    "steps": [
        {
            "name": "one",
            "type": "action",
            "tool_name": "x",
            "approval": {"message": "ok?"},
            "on_failure": "retry",
        },
        {
            "type": "condition",
            "condition": "{{ steps.one.output.ok }} == true",
            "on_true": [{"type": "action", "tool_name": "y"}],
        },
        {
            "type": "loop",
            "collection": [1],
            "steps": [{"type": "parallel", "steps": [{"type": "action", "tool_name": "z"}]}],
        },
    ],
}
PIECES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    "",
    "x",
    "one",
    "next",
    "{{",
    "{{ steps.one }}",
    [],
    {},
    [[]],
    {"type": "loop"},
]
Path = tuple[str | int, ...]


def positions(node: Any, path: Path = ()) -> list[Path]:
    members: list[tuple[str | int, Any]] = []
    if isinstance(node, dict):
        members = [*cast("dict[str | int, Any]", node).items()]
    elif isinstance(node, list):
        members = [*enumerate(cast("list[Any]", node))]
    return [path, *(place for key, child in members for place in positions(child, (*path, key)))]


def with_piece(path: Path, piece: Any) -> Any:
    document = json.loads(json.dumps(SOUND))
    if not path:
        return piece
    node = document
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = piece
    return document


@given(st.sampled_from(positions(SOUND)), st.sampled_from(PIECES))
@settings(max_examples=300, deadline=None)
def test_any_piece_at_any_place_gives_findings_or_a_template(path: Path, piece: Any) -> None:
    result = validate_document(with_piece(path, piece))
    has_error = any(finding.severity == "error" for finding in result.findings)
    assert (result.template is None) == has_error


def test_the_sound_template_is_sound() -> None:
    assert validate_document(SOUND).findings == ()


def test_thousands_of_steps_are_reviewed_in_seconds() -> None:
    steps = [
        {
            "type": "action",
            "name": f"s{index}",
            "tool_name": "x",
            "parameters": {"v": f"{{{{ steps.s{index - 1}.output }}}}"},
        }
        for index in range(1, 4_000)
    ]
    start = time.perf_counter()
    result = validate_document(
        {"name": "long", "steps": [{"type": "action", "name": "s0", "tool_name": "x"}, *steps]}
    )
    assert result.findings == ()
    assert time.perf_counter() - start < 10


def test_a_maze_of_jumps_is_given_up_rather_than_followed_for_ever() -> None:
    chance = random.Random(1)  # noqa: S311 - a fixed maze
    steps = [
        {
            "type": "condition",
            "name": f"s{index}",
            "condition": True,
            "on_true": f"s{chance.randrange(1_000)}",
            "on_false": f"s{chance.randrange(1_000)}",
        }
        for index in range(1_000)
    ]
    start = time.perf_counter()
    result = validate_document({"name": "maze", "steps": steps})
    assert result.template is not None
    assert time.perf_counter() - start < 10


def test_deep_nesting_costs_no_more_than_its_steps() -> None:
    step: dict[str, Any] = {"type": "action", "tool_name": "x", "when": "{{ workflow.name }} == 'x'"}
    for _ in range(12):
        branch = [{"type": "action", "tool_name": "x"}, step]
        step = {"type": "condition", "condition": True, "on_true": branch, "on_failure": "continue"}
        step = {"type": "parallel", "on_failure": "continue", "steps": [step]}
    start = time.perf_counter()
    assert validate_document({"name": "deep", "steps": [step]}).template is not None
    assert time.perf_counter() - start < 5


def test_thousands_of_mistakes_are_cut_short_in_seconds() -> None:
    steps = [
        {
            "type": "action",
            "name": f"step_{index}",
            "tool_name": "x",
            "parameters": {"v": f"{{{{ steps.stop_{index}.output }}}}"},
        }
        for index in range(4_000)
    ]
    start = time.perf_counter()
    findings = validate_document({"name": "wrong", "steps": steps}).findings
    assert len(findings) == 1_001
    assert findings[-1].rule == "too_many_findings"
    assert time.perf_counter() - start < 10


def test_thousands_of_broken_steps_are_cut_short_too() -> None:
    broken = {"type": "acton", "tool": "x", "retry_count": "3"}
    result = validate_document({"name": "broken", "steps": [broken] * 3_000})
    assert (len(result.findings), result.template) == (1_001, None)
