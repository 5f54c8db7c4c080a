"""``get_execution`` and ``control_execution``: what is shown, and where each call leads."""

from typing import Any
from uuid import uuid4

import anyio
import pytest
from serving import Agent, action, asking, content_of, text_of

GET = "get_execution"
CONTROL = "control_execution"


async def save_loops(agent: Agent) -> None:
    body = [action("double", "add", a="{{ item }}", b="{{ item }}")]
    numbers = {"numbers": {"type": "array", "default": [1, 2, 3]}}
    loop = {"name": "each", "type": "loop", "collection": "{{ workflow.parameters.numbers }}", "steps": body}
    await agent.save("loops", loop, parameters=numbers)


async def test_steps_log_input_and_results_are_shown_on_request(agent: Agent) -> None:
    await save_loops(agent)
    execution_id = (await agent.run("loops"))["execution_id"]

    summary = await agent.do(GET, execution_id=execution_id)
    assert summary["output"] == [2, 4, 6]
    assert not {"steps", "log", "input"} & summary.keys()

    everything = await agent.do(
        GET, execution_id=execution_id, include=["steps", "log", "input", "output", "tool_results"]
    )
    steps = everything["steps"]["records"]
    assert [one["step_path"] for one in steps] == ["each", *(f"each[{index}].double" for index in range(3))]
    assert steps[1]["output"] == 2
    assert steps[1]["tool_result"]["isError"] is False
    assert everything["input"]["parameters"] == {"numbers": [1, 2, 3]}
    assert everything["log"]["entries"][0]["message"] == "Execution started"


async def test_one_part_may_be_asked_for_without_a_list(agent: Agent) -> None:
    await save_loops(agent)
    execution_id = (await agent.run("loops"))["execution_id"]
    assert (await agent.do(GET, execution_id=execution_id, include="steps"))["steps"]["total"] == 4


async def test_one_step_is_shown_whole_with_what_is_inside_it(agent: Agent) -> None:
    await save_loops(agent)
    execution_id = (await agent.run("loops"))["execution_id"]
    shown = await agent.do(GET, execution_id=execution_id, step="each[1].double")
    (step,) = shown["steps"]["records"]
    assert (step["input"], step["output"]) == ({"a": 2, "b": 2}, 4)


async def test_steps_come_in_pages_and_by_status(agent: Agent) -> None:
    await save_loops(agent)
    execution_id = (await agent.run("loops", parameters={"numbers": list(range(30))}))["execution_id"]
    page = await agent.do(GET, execution_id=execution_id, include=["steps"], page=2, page_size=25)
    assert (len(page["steps"]["records"]), page["steps"]["total"]) == (6, 31)
    failed = await agent.do(GET, execution_id=execution_id, step_status="failed")
    assert failed["steps"]["total"] == 0


async def test_the_first_page_of_the_log_is_the_newest(agent: Agent) -> None:
    await save_loops(agent)
    execution_id = (await agent.run("loops"))["execution_id"]
    newest = await agent.do(GET, execution_id=execution_id, include="log", page_size=2)
    assert newest["log"]["entries"][-1]["message"] == "Execution completed"
    oldest_page = -(-newest["log"]["total"] // 2)
    oldest = await agent.do(GET, execution_id=execution_id, include="log", page_size=2, page=oldest_page)
    assert oldest["log"]["entries"][0]["message"] == "Execution started"


async def test_a_long_output_is_shown_only_when_asked_for(agent: Agent) -> None:
    await save_loops(agent)
    result = await agent.call("run_workflow", workflow="loops", parameters={"numbers": list(range(300))})
    answer = content_of(result)
    assert "output" not in answer
    assert answer["output_characters"] > 500
    assert len(text_of(result)) < 500
    (read,) = answer["next"]
    assert (await agent.follow(read))["output"] == [2 * number for number in range(300)]


async def test_executions_are_listed_newest_first_with_filters(agent: Agent) -> None:
    await save_loops(agent)
    await agent.save("fails", action("break", "fail"))
    first = await agent.run("loops", triggered_by="anna")
    second = await agent.run("fails")

    async def listed(**filters: Any) -> list[str]:
        return [one["execution_id"] for one in (await agent.do(GET, **filters))["executions"]]

    ids = [second["execution_id"], first["execution_id"]]
    assert await listed() == ids
    assert await listed(workflow="loops") == ids[1:]
    assert await listed(status="failed") == ids[:1]
    assert await listed(triggered_by="anna") == ids[1:]
    assert await listed(page_size=1, page=2) == ids[1:]
    assert await listed(created_before="2020-01-01") == []
    assert await listed(created_after=first["started_at"], workflow="fails") == ids[:1]
    assert await listed(parent_execution_id=ids[0]) == []


async def test_waiting_for_a_change_ends_with_the_change(agent: Agent) -> None:
    await agent.save("slowly", action("one", "slow", seconds=0.5), action("two", "slow", seconds=30))
    started = await agent.run("slowly", wait_seconds=0)
    seen = started
    while seen.get("running") != ["two"]:
        seen = await agent.do(
            GET, execution_id=started["execution_id"], wait_seconds=20, since=seen["updated_at"]
        )
    assert seen["status"] == "running"


async def test_nobody_waits_for_a_change_of_what_has_ended(agent: Agent) -> None:
    await save_loops(agent)
    ended = await agent.run("loops")
    with anyio.fail_after(10):
        await agent.do(GET, execution_id=ended["execution_id"], wait_seconds=60, since=ended["updated_at"])


async def test_a_failure_names_the_step_and_the_call_that_helps(agent: Agent) -> None:
    branches = [action("good", "say", text="x"), action("bad", "flaky", name="f", failures=1)]
    await agent.save("works_later", {"name": "both", "type": "parallel", "steps": branches})
    result = await agent.call("run_workflow", workflow="works_later")
    answer = content_of(result)
    assert (answer["status"], answer["error"]["code"]) == ("failed", "tool_error")
    assert answer["error"]["step_path"] == "both.bad"
    assert "failure 1 of 1" in answer["error"]["message"]
    assert "at step both.bad (tool_error)" in text_of(result)
    retried = await agent.follow(answer["next"][0])
    ended = await agent.do(GET, execution_id=retried["execution_id"], wait_seconds=20)
    assert ended["status"] == "completed"


async def test_a_failure_that_a_retry_cannot_mend_leads_to_the_template(agent: Agent) -> None:
    await agent.save("divides", action("tell", "say", text="{{ 1 / context.nought }}"))
    answer = await agent.run("divides", trigger_context={"nought": 0})
    assert answer["error"]["code"] == "expression_error"
    mend, retry = answer["next"]
    assert mend["arguments"] == {"action": "update", "name": "divides"}
    saved = await agent.do(
        mend["tool"], **mend["arguments"], template={"steps": [action("tell", "say", text="mended")]}
    )
    await agent.do(CONTROL, **{**retry["arguments"], "version": saved["version"]})
    ended = await agent.do(GET, execution_id=answer["execution_id"], wait_seconds=20)
    assert (ended["output"], ended["version"]) == ("mended", saved["version"])


async def test_a_failure_in_a_child_leads_to_the_child(agent: Agent) -> None:
    await agent.save("child", action("break", "fail", reason="no"))
    await agent.save("parent", {"name": "link", "type": "workflow_link", "workflow_name": "child"})
    answer = await agent.run("parent")
    assert answer["error"]["code"] == "child_failed"
    child = await agent.follow(answer["next"][1])
    assert (child["execution_id"], child["error"]["step_path"]) == (
        answer["error"]["child_execution_id"],
        "break",
    )


async def test_an_approval_is_given_by_the_call_that_the_answer_names(agent: Agent) -> None:
    await agent.save("asks", asking("one"), asking("two"))
    answer = await agent.run("asks")
    assert [one["step_path"] for one in answer["waits"]] == ["one"]
    await agent.follow(answer["next"][0])
    waiting = await agent.do(GET, execution_id=answer["execution_id"], wait_seconds=20)
    assert [one["step_path"] for one in waiting["waits"]] == ["two"]
    reject = waiting["next"][1]
    rejected = await agent.do(reject["tool"], **reject["arguments"], reason="not today")
    assert (rejected["status"], rejected["error"]["code"]) == ("failed", "rejected")
    assert "not today" in rejected["error"]["message"]


async def test_an_approval_in_a_child_is_seen_from_its_parent(agent: Agent) -> None:
    await agent.save("asks", asking("one", "Child?"))
    await agent.save("parent", {"name": "link", "type": "workflow_link", "workflow_name": "asks"})
    started = await agent.run("parent", wait_seconds=0)
    answer = started
    while "waits" not in answer:
        answer = await agent.do(GET, execution_id=started["execution_id"])
    (wait,) = answer["waits"]
    assert (wait["step_path"], wait["message"]) == ("one", "Child?")
    assert wait["execution_id"] != started["execution_id"]
    await agent.follow(answer["next"][0])
    ended = await agent.do(GET, execution_id=started["execution_id"], wait_seconds=20)
    assert ended["output"] == "one"


async def test_an_interrupted_destructive_call_is_resolved_as_the_answer_says(
    agents: Any,
) -> None:
    async with agents(shutdown_grace_seconds=0) as agent:
        await agent.save("clears", action("clear", "destroy_slowly", target="db", seconds=30))
        started = await agent.run("clears", wait_seconds=0)
        while (await agent.do(GET, execution_id=started["execution_id"])).get("running") != ["clear"]:
            pass
    async with agents() as agent:
        answer = await agent.do(GET, execution_id=started["execution_id"], wait_seconds=20)
        assert (answer["status"], answer["pause_reason"]) == ("paused", "in_doubt")
        assert "nobody knows" in answer["waits"][0]["message"]
        resolutions = [one["arguments"]["resolution"] for one in answer["next"]]
        assert resolutions == ["succeeded", "rerun", "failed"]
        succeeded = answer["next"][0]
        output = {"destroyed": "db"}
        await agent.do(succeeded["tool"], **succeeded["arguments"], output=output, requested_by="anna")
        ended = await agent.do(GET, execution_id=started["execution_id"], wait_seconds=20)
        assert ended["output"] == output


async def test_an_execution_is_paused_resumed_and_cancelled(agent: Agent) -> None:
    await agent.save("slowly", action("one", "slow", seconds=0.5), action("two", "slow", seconds=30))
    execution_id = (await agent.run("slowly", wait_seconds=0))["execution_id"]
    await agent.do(CONTROL, execution_id=execution_id, action="pause", reason="lunch")
    paused = await agent.do(GET, execution_id=execution_id, wait_seconds=20)
    assert (paused["status"], paused["pause_reason"]) == ("paused", "requested")
    (resume,) = paused["next"]
    await agent.follow(resume)
    cancelled = await agent.do(CONTROL, execution_id=execution_id, action="cancel", reason="enough")
    assert cancelled["status"] == "cancelled"
    assert cancelled["next"][0]["arguments"]["action"] == "retry"
    log = await agent.do(GET, execution_id=execution_id, include="log")
    messages = [entry["message"] for entry in log["log"]["entries"]]
    assert "Pause requested: lunch" in messages
    assert "Cancelled: enough" in messages


async def test_a_retry_from_a_step_runs_it_again(agent: Agent) -> None:
    await agent.save("two_steps", action("one", "say", text="1"), action("two", "say", text="2"))
    await agent.save("breaks", action("one", "say", text="1"), action("two", "fail"))
    execution_id = (await agent.run("breaks"))["execution_id"]
    await agent.do(CONTROL, execution_id=execution_id, action="retry", from_step="one")
    ended = await agent.do(GET, execution_id=execution_id, wait_seconds=20, include="log")
    messages = [entry["message"] for entry in ended["log"]["entries"]]
    assert messages.count("Step 'one' completed") == 2


REFUSED: list[tuple[str, str, dict[str, Any], str, str]] = [
    ("no such execution", GET, {"execution_id": str(uuid4())}, "execution_not_found", ""),
    ("no id", GET, {"execution_id": "the last one"}, "invalid_argument", "earlier answer"),
    ("an unknown part", GET, {"execution_id": "$", "include": ["stepz"]}, "invalid_argument", "'steps'"),
    ("a filter with an id", GET, {"execution_id": "$", "workflow": "x"}, "unused_argument", "step_status"),
    ("a part without an id", GET, {"include": ["steps"]}, "unused_argument", "parent_execution_id"),
    ("an unknown status", GET, {"status": "finished"}, "invalid_argument", "completed"),
    ("no time", GET, {"created_after": "yesterday"}, "invalid_argument", "ISO 8601"),
    ("an unknown argument", GET, {"id": "$"}, "unknown_argument", "argument"),
    ("control without id", CONTROL, {"action": "pause"}, "missing_argument", "Which execution"),
    ("an unknown action", CONTROL, {"execution_id": "$", "action": "stop"}, "unknown_action", "cancel"),
    (
        "an argument of another action",
        CONTROL,
        {"execution_id": "$", "action": "cancel", "from_step": "one"},
        "unused_argument",
        "reason",
    ),
    ("no resolution", CONTROL, {"execution_id": "$", "action": "resolve"}, "missing_argument", "became"),
    ("nothing to approve", CONTROL, {"execution_id": "$", "action": "approve"}, "wrong_status", ""),
    ("nothing to retry", CONTROL, {"execution_id": "$", "action": "pause"}, "wrong_status", ""),
    (
        "no such execution to control",
        CONTROL,
        {"execution_id": str(uuid4()), "action": "cancel"},
        "execution_not_found",
        "",
    ),
]


@pytest.mark.parametrize(
    ("tool", "arguments", "code", "suggestion"),
    [one[1:] for one in REFUSED],
    ids=[one[0] for one in REFUSED],
)
async def test_a_mistake_is_answered_with_what_to_change(
    agent: Agent, tool: str, arguments: dict[str, Any], code: str, suggestion: str
) -> None:
    await agent.save("greets", action("one", "say", text="hello"))
    execution_id = (await agent.run("greets"))["execution_id"]
    given = {name: execution_id if value == "$" else value for name, value in arguments.items()}
    letter = await agent.refused(tool, **given)
    assert letter["code"] == code
    assert suggestion in letter.get("suggestion", "")


@pytest.mark.parametrize("step_path", [None, "two"])
async def test_a_word_that_no_step_waits_for_is_refused(agent: Agent, step_path: str | None) -> None:
    await agent.save("asks", asking("one"))
    execution_id = (await agent.run("asks"))["execution_id"]
    letter = await agent.refused(
        CONTROL, execution_id=execution_id, action="resolve", resolution="rerun", step_path=step_path
    )
    assert letter["code"] == "nothing_waits"
