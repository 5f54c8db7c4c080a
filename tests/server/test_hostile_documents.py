"""Hostile documents through the tools that agents call: each is answered, and the server stays up.

As a template, as parameters and as what a tool answers: the cases of ``cases/hostile_json.jsonl``, and what
a fuzzer makes of arguments and templates. Run with ``-s -n 0`` it prints how many cases ended how.
"""

import copy
import json
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp import Client
from mcp.server import MCPServer
from mcp_types import CallToolResult, TextContent
from pydantic_core import to_json
from serving import VM_DEPLOYMENT, Agent, action, content_of

from archon_workflows.bootstrap import open_application
from archon_workflows.server.app import build_server
from archon_workflows.settings import Settings

CASES_FILE = Path(__file__).parents[1] / "cases" / "hostile_json.jsonl"
CASES: dict[str, dict[str, Any]] = {
    case["id"]: case for case in map(json.loads, CASES_FILE.read_text(encoding="utf-8").splitlines())
}
EXAMPLES = 150
Call = Callable[..., CallToolResult]


def raw_of(case: dict[str, Any]) -> str:
    return case["raw"] if case["raw"] is not None else "".join(text * times for text, times in case["build"])


def lenient_value(raw: str) -> Any:
    """Return what a careless parser makes of it; the text where it gives up, or no client could send that."""
    try:
        value = json.loads(raw)
        to_json(value)
    except (ValueError, RecursionError):
        return raw
    return value


def hostile_tools() -> MCPServer:
    server = MCPServer("hostile", log_level="ERROR")

    @server.tool()
    def as_text(case: str) -> CallToolResult:
        """Answer with the case as text."""
        return CallToolResult(content=[TextContent(type="text", text=raw_of(CASES[case]))])

    @server.tool()
    def as_structure(case: str) -> CallToolResult:
        """Answer with what the case means to a careless parser."""
        content = {"case": lenient_value(raw_of(CASES[case]))}
        return CallToolResult(content=[], structured_content=content)

    del as_text, as_structure
    return server


@asynccontextmanager
async def open_agent(folder: Path, database_url: str) -> AsyncGenerator[Agent]:
    chosen = Settings.model_validate(
        {"home": folder, "database_url": database_url, "shutdown_grace_seconds": 1}
    )
    async with (
        open_application(chosen, servers={"hostile": hostile_tools()}) as application,
        Client(build_server(application)) as client,
    ):
        yield Agent(client)


@pytest.fixture
def call(tmp_path: Path, database_url: str) -> Iterator[Call]:
    """Calls a tool of one server that lives as long as the test."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(open_agent(tmp_path, database_url)) as agent,
    ):

        def call_one(tool: str, **arguments: Any) -> CallToolResult:
            return portal.call(lambda: agent.call(tool, **arguments))

        yield call_one


def is_a_proper_answer(result: CallToolResult) -> bool:
    """Say whether it is content, or a letter that names the problem and is no defect of ours."""
    content = content_of(result)
    json.dumps(content, allow_nan=False).encode()
    if not result.is_error:
        return True
    return bool(content["message"]) and content["code"] not in ("internal_error", "storage_error")


def _end_of(answer: CallToolResult) -> str:
    content = content_of(answer)
    if answer.is_error:
        return str(content["code"])
    return "taken" if content.get("valid", True) else str(content["findings"][0]["rule"])


def test_each_case_is_answered_as_template_as_parameters_and_as_a_tools_result(call: Call) -> None:
    flow = {
        "name": "flow",
        "parameters": {"value": {}, "case": {"type": "string", "default": "J01"}},
        "steps": [
            {**action("text", "as_text", case="{{ workflow.parameters.case }}"), "on_failure": "continue"},
            {**action("structure", "as_structure", case="{{ workflow.parameters.case }}"),
             "on_failure": "continue"},
        ],
    }  # fmt: skip
    assert not call("manage_workflow_template", action="create", template=flow).is_error
    answers: dict[str, CallToolResult] = {}
    for name, case in CASES.items():
        raw = raw_of(case)
        value = lenient_value(raw)
        step = action("step", "as_text", case=value)
        answers |= {
            f"{name} a template": call("manage_workflow_template", action="validate", template=raw),
            f"{name} in a template": call(
                "manage_workflow_template", action="create", template={"name": name.lower(), "steps": [step]}
            ),
            f"{name} parameters": call("run_workflow", workflow="flow", parameters=raw),
            f"{name} in parameters": call("run_workflow", workflow="flow", parameters={"value": value}),
            f"{name} a result": call("run_workflow", workflow="flow", parameters={"case": name}),
        }
    assert [name for name, answer in answers.items() if not is_a_proper_answer(answer)] == []
    ends: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, answer in answers.items():
        ends[name.partition(" ")[2]][_end_of(answer)] += 1
    del ends["a result"]  # its steps say more
    for name in CASES:
        run = content_of(answers[f"{name} a result"])
        assert run["status"] == "completed", name
        whole = call(
            "get_execution", execution_id=run["execution_id"],
            include=["steps", "log", "input", "output", "tool_results"],
        )  # fmt: skip
        assert is_a_proper_answer(whole)
        assert not whole.is_error, name
        for step in content_of(whole)["steps"]["records"]:
            ends[f"a result as {step['step_path']}"][step.get("error", {}).get("code", "taken")] += 1
    for place, counts in ends.items():
        print(f"{place:24} {counts.total():3}: {dict(sorted(counts.items()))}")  # noqa: T201 - see above


# -- fuzzing -------------------------------------------------------------------------------------

TEXTS = st.text(max_size=30) | st.sampled_from(
    ["next", "{{ x }}", "{{", "\u202e", "workflow.parameters.vm_name", "__class__", "true", "1e999"]
)
NUMBERS = st.integers() | st.floats() | st.integers(min_value=2**63, max_value=2**70)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
TOOLS = {
    "manage_workflow_template": ["action", "template", "name", "template_id", "version", "task", "page",
                                 "change_type", "expected_version_number", "query", "status", "tags",
                                 "schedule", "schedule_name"],
    "run_workflow": ["workflow", "parameters", "mode", "wait_seconds", "version", "stubs", "trigger_context",
                     "idempotency_key", "triggered_by", "allow_draft"],
    "get_execution": ["execution_id", "include", "step", "workflow", "status", "page", "page_size", "since"],
    "control_execution": ["execution_id", "action", "reason", "step_path", "resolution", "output"],
}  # fmt: skip
ACTIONS = ["create", "update", "validate", "list", "suggest", "retry", "resolve", "dry_run", "preview",
           "schedule", "pause_schedule"]  # fmt: skip


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    tool = draw(st.sampled_from(sorted(TOOLS)))
    names = st.sampled_from(TOOLS[tool]) | TEXTS
    arguments = draw(st.dictionaries(names, VALUES, max_size=5))
    chosen = draw(st.sampled_from(ACTIONS))
    if "action" in TOOLS[tool]:
        arguments["action"] = chosen
    else:
        arguments |= {"mode": chosen} if chosen in ("dry_run", "preview") else {}
    return tool, {name: value for name, value in arguments.items() if name not in ("tool", "progress")}


def places_of(node: Any) -> list[Any]:
    return [*node] if isinstance(node, dict) else [*range(len(node))]


@st.composite
def templates(draw: st.DrawFn) -> Any:
    """Return the seed's example with some of its nodes replaced."""
    document = copy.deepcopy(VM_DEPLOYMENT)
    for _ in range(draw(st.integers(1, 4))):
        node: Any = document
        place: Any = draw(st.sampled_from(places_of(node)))
        while isinstance(node[place], (dict, list)) and node[place] and draw(st.booleans()):
            node = node[place]
            place = draw(st.sampled_from(places_of(node)))
        node[place] = draw(VALUES)
    return document


def quick(function: Callable[..., None]) -> Callable[..., None]:
    chosen = settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    return chosen(function)


@quick
@given(one=calls())
def test_whatever_is_sent_to_a_tool_is_answered(call: Call, one: tuple[str, dict[str, Any]]) -> None:
    tool, arguments = one
    assert is_a_proper_answer(call(tool, **arguments))


@quick
@given(template=templates())
def test_whatever_becomes_of_a_template_is_answered_with_findings(call: Call, template: Any) -> None:
    validated = call("manage_workflow_template", action="validate", template=template)
    assert is_a_proper_answer(validated)
    if not validated.is_error:
        assert all(one["rule"] for one in content_of(validated)["findings"])
