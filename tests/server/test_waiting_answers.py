"""What an agent reads when an execution waits for its template's limit, or is one too many."""

import pytest
from serving import Agent, asking, text_of

GET = "get_execution"


async def waiting(agent: Agent, **fields: object) -> tuple[str, list[str]]:
    """Return an execution that has the only place of a template, and those that wait behind it."""
    await agent.save("single", asking("a"), max_concurrent_executions=1, **fields)
    first = await agent.run("single")
    assert first["status"] == "paused"
    others = [await agent.run("single", wait_seconds=0) for _ in range(2)]
    return first["execution_id"], [one["execution_id"] for one in others]


async def test_the_answer_of_a_run_says_how_many_come_first(agent: Agent) -> None:
    holder, (second, third) = await waiting(agent)
    queue = {"max_concurrent_executions": 1, "taken_by": [holder]}
    for execution_id, ahead in ((second, 0), (third, 1)):
        answer = await agent.call(GET, execution_id=execution_id)
        assert answer.structured_content is not None
        assert answer.structured_content["queue"] == {"ahead": ahead, **queue}
        assert f"{ahead} start before it" in text_of(answer)
        assert holder in text_of(answer)
    urgent = await agent.run("single", wait_seconds=0, priority=1)
    assert urgent["queue"]["ahead"] == 0
    assert (await agent.do(GET, execution_id=second))["queue"]["ahead"] == 1


async def test_the_queue_is_gone_from_the_answer_when_it_has_started(agent: Agent) -> None:
    holder, (second, _) = await waiting(agent)
    await agent.do("control_execution", execution_id=holder, action="cancel")
    answer = await agent.do(GET, execution_id=second, wait_seconds=20)
    assert answer["status"] == "paused"
    assert "queue" not in answer


async def test_one_execution_too_many_is_refused_with_what_to_do(agent: Agent) -> None:
    await agent.save("strict", asking("a"), max_concurrent_executions=1, on_limit="reject")
    holder = (await agent.run("strict"))["execution_id"]
    letter = await agent.refused("run_workflow", workflow="strict")
    assert letter["code"] == "too_many_executions"
    assert holder in letter["message"]
    assert "cancel" in letter["suggestion"]


@pytest.mark.parametrize("priority", [101, "high"])
async def test_a_priority_out_of_range_is_refused(agent: Agent, priority: object) -> None:
    await agent.save("plain", asking("a"))
    letter = await agent.refused("run_workflow", workflow="plain", priority=priority)
    assert letter["path"] == "/priority"
