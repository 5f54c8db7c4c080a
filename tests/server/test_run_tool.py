"""``run_workflow``: waits, reports, rehearses; whatever becomes of the call, the execution goes on."""

import re
from typing import Any

import anyio
import pytest
from serving import SETUP_VM_BACKUP, VM_DEPLOYMENT, Agent, action, asking, content_of, text_of

TOOL = "run_workflow"
WHO = {"who": {"type": "string", "required": True}}


async def save_greets(agent: Agent, **fields: Any) -> None:
    greet = action("greet", "say", text="hello {{ workflow.parameters.who }}")
    await agent.save("greets", greet, parameters=WHO, **fields)


async def test_a_run_that_ends_in_time_gives_its_output(agent: Agent) -> None:
    await save_greets(agent)
    answer = await agent.run("greets", parameters={"who": "Anna"}, triggered_by="test")
    assert (answer["status"], answer["output"]) == ("completed", "hello Anna")
    assert answer["triggered_by"] == "test"
    assert answer["duration_seconds"] >= 0
    assert answer["started_at"].endswith("Z")
    assert "next" not in answer


async def test_parameters_may_be_sent_as_text(agent: Agent) -> None:
    await save_greets(agent)
    answer = await agent.run("greets", parameters='{"who": "Anna"}')
    assert answer["output"] == "hello Anna"


async def test_a_run_that_takes_longer_gives_a_handle_and_the_call_that_waits(agent: Agent) -> None:
    await agent.save("slowly", action("take_time", "slow", seconds=1))
    answer = await agent.run("slowly", wait_seconds=0)
    assert answer["status"] in ("pending", "running")
    (wait,) = answer["next"]
    assert wait["tool"] == "get_execution"
    assert (await agent.follow(wait))["output"] == "done"


async def test_the_settings_limit_how_long_a_call_waits(agents: Any) -> None:
    async with agents(wait_seconds_limit=0.2) as agent:
        await agent.save("slowly", action("take_time", "slow", seconds=5))
        answer = await agent.run("slowly", wait_seconds=3_600)
        assert answer["status"] == "running"
        assert answer["running"] == ["take_time"]


async def test_progress_is_reported_meanwhile_and_only_grows(streaming_agent: Agent) -> None:
    agent = streaming_agent
    await agent.save("ticks", action("first", "slow", seconds=2.4, ticks=2), action("last", "say", text="x"))
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    await agent.call(TOOL, workflow="ticks", progress=hear)
    figures = [progress for progress, _, _ in heard]
    assert figures == sorted(set(figures))
    assert {total for _, total, _ in heard} == {100}
    messages = [message or "" for _, _, message in heard]
    assert any(re.search(r"first \d/2 tick \d", message) for message in messages)
    assert any("step 2 of 2" in message for message in messages)


async def test_a_call_that_is_cancelled_leaves_the_execution_running(streaming_agent: Agent) -> None:
    agent = streaming_agent
    await agent.save("ticks", action("first", "slow", seconds=2.4, ticks=2))

    with anyio.CancelScope() as calling:

        async def cancel(progress: float, total: float | None, message: str | None) -> None:
            del progress, total, message
            calling.cancel()

        await agent.call(TOOL, workflow="ticks", progress=cancel)

    assert calling.cancelled_caught
    (execution,) = (await agent.do("get_execution", workflow="ticks"))["executions"]
    assert execution["status"] == "running"
    ended = await agent.do("get_execution", execution_id=execution["execution_id"], wait_seconds=20)
    assert (ended["status"], ended["output"]) == ("completed", "done")


async def test_the_same_idempotency_key_finds_the_first_execution(agent: Agent) -> None:
    await save_greets(agent)
    first = await agent.run("greets", parameters={"who": "Anna"}, idempotency_key="k")
    second = await agent.run("greets", parameters={"who": "Berta"}, idempotency_key="k")
    assert second["execution_id"] == first["execution_id"]
    assert (second["existed"], second["output"]) == (True, "hello Anna")


async def test_a_deprecated_workflow_runs_with_a_warning(agent: Agent) -> None:
    await save_greets(agent, status="deprecated")
    result = await agent.call(TOOL, workflow="greets", parameters={"who": "Anna"})
    assert content_of(result)["warnings"] == ["The template 'greets' is deprecated."]
    assert "warning: The template 'greets' is deprecated." in text_of(result)


async def test_a_draft_runs_when_it_is_asked_for(agent: Agent) -> None:
    await save_greets(agent, status="draft")
    letter = await agent.refused(TOOL, workflow="greets", parameters={"who": "Anna"})
    assert letter["code"] == "draft_not_allowed"
    answer = await agent.run("greets", parameters={"who": "Anna"}, allow_draft=True)
    assert answer["status"] == "completed"


async def test_an_older_version_runs_by_its_tag(agent: Agent) -> None:
    await save_greets(agent)
    change = {"steps": [action("greet", "say", text="bye")]}
    await agent.do("manage_workflow_template", action="update", name="greets", template=change)
    answer = await agent.run("greets", parameters={"who": "Anna"}, version="1.0.0")
    assert (answer["version"], answer["output"]) == ("1.0.0", "hello Anna")


async def test_the_trigger_context_is_there_for_the_steps(agent: Agent) -> None:
    await agent.save("tells", action("tell", "say", text="{{ context.task }}"))
    assert (await agent.run("tells", trigger_context={"task": "T-1"}))["output"] == "T-1"


async def test_a_dry_run_calls_nothing_and_says_what_it_made_up(agent: Agent) -> None:
    await agent.do("manage_workflow_template", action="create", template=SETUP_VM_BACKUP)
    await agent.do("manage_workflow_template", action="create", template=VM_DEPLOYMENT)
    answer = await agent.run(
        "vm_deployment",
        mode="dry_run",
        parameters={"vm_name": "web-1"},
        stubs={"create_vm": {"vm_id": "vm-7"}, "update_cmdb": {"done": True}},
    )
    assert (answer["would_be"], answer["output"]) == ("completed", {"done": True})
    assert "check_resources" in answer["generated"]
    assert "create_vm" not in answer["generated"]
    assert (await agent.do("get_execution"))["executions"] == []


async def test_a_preview_lists_the_calls_and_marks_the_destructive_ones(agent: Agent) -> None:
    await agent.save("clears", action("ask", "say", text="sure?"), action("clear", "destroy", target="db"))
    result = await agent.call(TOOL, workflow="clears", mode="preview")
    calls = content_of(result)["calls"]
    assert [(one["step_path"], one["arguments"]) for one in calls] == [
        ("ask", {"text": "sure?"}),
        ("clear", {"target": "db"}),
    ]
    assert [one.get("destructive") for one in calls] == [False, True]
    assert "clear: ledger/destroy" in text_of(result)
    assert "DESTRUCTIVE" in text_of(result)


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("no workflow", {}, "missing_argument", "template's name"),
    ("an unknown workflow", {"workflow": "greet"}, "template_not_found", "'greets'"),
    ("an argument misspelt", {"workflow": "greets", "parameter": {}}, "unknown_argument", "'parameters'"),
    (
        "a parameter misspelt",
        {"workflow": "greets", "parameters": {"whom": "x"}},
        "invalid_parameters",
        "who",
    ),
    ("a parameter missing", {"workflow": "greets"}, "invalid_parameters", "who"),
    ("parameters in a list", {"workflow": "greets", "parameters": ["x"]}, "invalid_parameters", ""),
    ("parameters in prose", {"workflow": "greets", "parameters": "who is Anna"}, "invalid_json", "JSON"),
    ("an unknown mode", {"workflow": "greets", "mode": "dryrun"}, "invalid_argument", "'dry_run'"),
    ("stubs for a real run", {"workflow": "greets", "stubs": {"a": 1}}, "unused_argument", "Leave it out"),
    (
        "a key for a rehearsal",
        {"workflow": "greets", "mode": "dry_run", "idempotency_key": "k"},
        "unused_argument",
        "Leave it out",
    ),
    (
        "stubs in a list",
        {"workflow": "greets", "mode": "dry_run", "stubs": [1]},
        "invalid_argument",
        "step name",
    ),
    (
        "a stub that cannot be stored",
        {"workflow": "greets", "mode": "dry_run", "parameters": {"who": "x"}, "stubs": {"greet": "\0"}},
        "invalid_stub",
        "",
    ),
    ("a negative wait", {"workflow": "greets", "wait_seconds": -1}, "invalid_argument", "How long"),
    ("an unknown version", {"workflow": "greets", "version": "9.9.9"}, "version_not_found", "1.0.0"),
    ("a context in prose", {"workflow": "greets", "trigger_context": "x"}, "invalid_json", "JSON"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "suggestion"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED]
)
async def test_a_mistake_is_answered_and_nothing_started(
    agent: Agent, arguments: dict[str, Any], code: str, suggestion: str
) -> None:
    await save_greets(agent)
    letter = await agent.refused(TOOL, **arguments)
    assert letter["code"] == code
    assert suggestion in letter.get("suggestion", "")
    assert (await agent.do("get_execution"))["executions"] == []


SECRET = {"token": {"type": "string", "secret": True, "required": True}}


async def test_a_secret_that_cannot_be_stored_is_not_shown_either(agent: Agent) -> None:
    await agent.save("hides", action("tell", "say", text="hello"), parameters=SECRET)
    refused = await agent.call(TOOL, workflow="hides", parameters={"token": "hunter2\0"})
    assert "hunter2" not in refused.model_dump_json()


async def test_secret_parameters_are_in_no_answer(agent: Agent) -> None:
    await agent.save(
        "hides", action("tell", "say", text="{{ workflow.parameters.token }}"), parameters=SECRET
    )
    seen = [
        await agent.call(TOOL, workflow="hides", parameters={"token": "hunter2"}),
        await agent.call(TOOL, workflow="hides", parameters={"token": "hunter2"}, mode="preview"),
        await agent.call(TOOL, workflow="hides", parameters={"token": "hunter2"}, mode="dry_run"),
    ]
    execution_id = content_of(seen[0])["execution_id"]
    parts = ["steps", "log", "input", "output", "tool_results"]
    seen.append(await agent.call("get_execution", execution_id=execution_id, include=parts))
    assert content_of(seen[-1])["input"]["parameters"] == {"token": "***"}
    assert [result.model_dump_json() for result in seen if "hunter2" in result.model_dump_json()] == []


async def test_a_workflow_that_waits_for_approval_says_so(agent: Agent) -> None:
    await agent.save("asks", asking("one", "Really?"))
    result = await agent.call(TOOL, workflow="asks")
    assert content_of(result)["status"] == "paused"
    assert "waits for approval of one: Really?" in text_of(result)
