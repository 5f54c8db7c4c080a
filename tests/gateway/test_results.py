"""What a tool answered, as an outcome."""

from typing import Any

import pytest

from archon_workflows.gateway.port import ToolEntry
from archon_workflows.gateway.results import read_result
from archon_workflows.gateway.schemas import compile_schema
from archon_workflows.model.outcomes import Failed, Outcome, Succeeded

TOOL = ToolEntry(server="server", name="tool")


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def read(raw: dict[str, Any], schema: dict[str, Any] | None = None) -> Outcome:
    return read_result(TOOL, raw, compile_schema(schema, 1) if schema is not None else None)


@pytest.mark.parametrize(
    ("raw", "output"),
    [
        ({"content": [text("x")], "structuredContent": {"a": 1}}, {"a": 1}),
        ({"content": [text("x")], "structuredContent": {"result": "x"}}, "x"),
        ({"content": [], "structuredContent": {"result": None}}, None),
        ({"content": [], "structuredContent": {"result": 1, "more": 2}}, {"result": 1, "more": 2}),
        ({"content": [], "structuredContent": {}}, {}),
        ({"content": [], "structuredContent": [1]}, [1]),
        ({"content": [text("plain")]}, "plain"),
        ({"content": [text("")]}, ""),
        ({"content": [text('{"a": [1, 2.5, null]}')]}, {"a": [1, 2.5, None]}),
        ({"content": [text(" [1, 2]\n")]}, [1, 2]),
        ({"content": [text("5")]}, "5"),
        ({"content": [text("true")]}, "true"),
        ({"content": [text('"quoted"')]}, '"quoted"'),
        ({"content": [text("{not json")]}, "{not json"),
        ({"content": [text('{"a":1,"a":2}')]}, '{"a":1,"a":2}'),
        ({"content": [text('{"a":NaN}')]}, '{"a":NaN}'),
        ({"content": [text('{"a":1e999}')]}, '{"a":1e999}'),
        ({"content": [text("{{ x }}")]}, "{{ x }}"),
        ({"content": [text('{"v": "{{ x }}"}')]}, {"v": "{{ x }}"}),
        ({"content": [text("a"), text('{"b": 1}')]}, ["a", {"b": 1}]),
        ({"content": []}, None),
        (
            {"content": [{"type": "image", "data": "AA==", "mimeType": "image/png"}]},
            {"type": "image", "data": "AA==", "mimeType": "image/png"},
        ),
    ],
)
def test_the_output_has_the_value_that_the_tool_meant(raw: dict[str, Any], output: Any) -> None:
    outcome = read(raw)
    assert isinstance(outcome, Succeeded)
    assert outcome.output == output
    assert type(outcome.output) is type(output)
    assert outcome.result == raw


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ({"content": [text("disk full")], "isError": True}, "tool_error"),
        ({"content": [], "isError": True}, "tool_error"),
        ({"content": [text("Error: 429 Too Many Requests")], "isError": True}, "rate_limited"),
        ({"content": [text("Rate limit exceeded")], "isError": True}, "rate_limited"),
        ({"content": [text("the rate limits page was not found")], "isError": True}, "tool_error"),
        ({"resultType": "input_required", "inputRequests": {}}, "input_required"),
        ({"resultType": "task", "taskId": "1"}, "protocol_error"),
    ],
)
def test_a_failure_has_its_code(raw: dict[str, Any], code: str) -> None:
    outcome = read(raw)
    assert isinstance(outcome, Failed)
    assert outcome.error.code == code


def test_a_result_against_its_schema_is_a_failure_that_keeps_the_result() -> None:
    raw: dict[str, Any] = {"content": [], "structuredContent": {"v": "one"}}
    outcome = read(raw, {"properties": {"v": {"type": "integer"}}})
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "schema_violation"
    assert outcome.error.details["path"] == "/v"
    assert outcome.result == raw


def test_a_value_beyond_the_bounds_is_a_failure() -> None:
    value: Any = 1
    for _ in range(70):
        value = [value]
    outcome = read({"content": [], "structuredContent": {"v": value}})
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "invalid_result"


def test_what_was_replaced_is_listed_in_the_record() -> None:
    outcome = read({"content": [text("a\0b")], "_meta": {"kept": 1}})
    assert isinstance(outcome, Succeeded)
    assert outcome.output == "a\ufffdb"
    assert outcome.result["_meta"]["kept"] == 1
    assert outcome.result["_meta"]["archon-workflows/replaced"][0]["path"] == "/content/0/text"
