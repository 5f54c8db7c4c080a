"""Which tool a name means."""

import json
from pathlib import Path

import pytest

from archon_workflows.errors import ToolServerError
from archon_workflows.gateway.port import ToolEntry
from archon_workflows.gateway.resolution import ToolIndex

ARCHON_TOOLS = json.loads((Path(__file__).parents[1] / "cases" / "archon_tools.json").read_text())
ARCHON_NAMES = [tool["name"] for tool in ARCHON_TOOLS["tools"]]
OTHERS = [
    ("git", "status"),
    ("svn", "status"),
    ("a", "x_b"),
    ("b", "x"),
    ("a_b", "run"),
    ("b", "run_a"),
    ("c", "d/e"),
]
INDEX = ToolIndex(
    [ToolEntry(server="archon", name=name) for name in ARCHON_NAMES]
    + [ToolEntry(server=server, name=name) for server, name in OTHERS]
)


@pytest.mark.parametrize("name", ARCHON_NAMES)
@pytest.mark.parametrize("form", ["{}", "archon/{}", "{}_archon"])
def test_every_tool_of_the_archon_host_is_found_by_each_of_its_names(name: str, form: str) -> None:
    assert INDEX.resolve(form.format(name)).address == f"archon/{name}"


@pytest.mark.parametrize(
    ("tool_name", "address"),
    [
        ("git/status", "git/status"),
        ("status_svn", "svn/status"),
        ("x_b", "a/x_b"),  # the exact name comes before the tool x of the server b
        ("b/x", "b/x"),
        ("d/e", "c/d/e"),
        ("c/d/e", "c/d/e"),
        ("run_a", "b/run_a"),
    ],
)
def test_the_first_rule_that_knows_a_name_decides(tool_name: str, address: str) -> None:
    assert INDEX.resolve(tool_name).address == address


@pytest.mark.parametrize(
    ("tool_name", "candidates"),
    [("status", ["git/status", "svn/status"])],
)
def test_an_ambiguous_name_is_an_error_that_lists_the_candidates(
    tool_name: str, candidates: list[str]
) -> None:
    with pytest.raises(ToolServerError) as caught:
        INDEX.resolve(tool_name)
    assert caught.value.code == "ambiguous_tool"
    assert caught.value.details["candidates"] == candidates
    assert all(candidate in (caught.value.suggestion or "") for candidate in candidates)


@pytest.mark.parametrize(
    ("tool_name", "suggestion"),
    [
        ("manage_taks", "Did you mean 'manage_task'?"),
        ("archon/manage_taks", "Did you mean 'archon/manage_task'?"),
        ("status_gti", "Did you mean 'status'?"),
        ("", "Known tools: "),
        ("MANAGE_TASK", "Known tools: "),
    ],
)
def test_an_unknown_name_is_an_error_with_the_nearest_one(tool_name: str, suggestion: str) -> None:
    with pytest.raises(ToolServerError) as caught:
        INDEX.resolve(tool_name)
    assert caught.value.code == "unknown_tool"
    assert (caught.value.suggestion or "").startswith(suggestion)
    assert caught.value.details["candidates"]


def test_two_ways_to_split_a_suffixed_name_are_ambiguous() -> None:
    index = ToolIndex([ToolEntry(server="b", name="run_a"), ToolEntry(server="a_b", name="run")])
    with pytest.raises(ToolServerError) as caught:
        index.resolve("run_a_b")
    assert caught.value.details["candidates"] == ["a_b/run", "b/run_a"]
