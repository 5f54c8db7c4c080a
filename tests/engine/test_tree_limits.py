"""What an execution tree may do is bounded: steps, calls, bytes, minutes; children and restarts included."""

from pathlib import Path
from typing import Any
from uuid import uuid4

from applications import Opener, action, calls_in, run, save, steps_of

from archon_workflows.bootstrap import Application
from archon_workflows.model.records import ControlRequest, ExecutionRecord

CHILD = {"name": "child", "type": "workflow_link", "workflow_name": "child"}
NOTHING = {"type": "condition", "condition": True}


def loop(items: int, *steps: dict[str, Any], name: str = "each") -> dict[str, Any]:
    return {"name": name, "type": "loop", "collection": list(range(items)), "steps": list(steps)}


def code_of(execution: ExecutionRecord) -> str:
    assert execution.status == "failed", execution.status
    return str((execution.error_details or {})["code"])


async def rows_of(application: Application, execution: ExecutionRecord) -> int:
    return (await application.repository.read_steps(execution.id)).total


async def test_a_loop_that_calls_nothing_ends_at_the_limit_of_steps(opener: Opener) -> None:
    async with opener(max_tree_steps=50) as application:
        await save(application, "flow", loop(1000, loop(1000, NOTHING, name="inner")))
        execution = await run(application, "flow")
        assert code_of(execution) == "too_many_steps"
        assert await rows_of(application, execution) <= 60


async def test_as_many_steps_as_the_limit_says_are_no_reason_to_stop(opener: Opener) -> None:
    async with opener(max_tree_steps=11, max_tree_calls=10) as application:
        await save(application, "flow", loop(10, action("echo", "echo", value=1)))
        assert (await run(application, "flow")).status == "completed"


async def test_calls_are_counted_with_retries_and_nothing_handles_the_end(
    opener: Opener, ledger_path: Path
) -> None:
    async with opener(max_tree_calls=5) as application:
        failing = {**action("try_it", "fail"), "retry_count": 100, "retry_delay_seconds": 0}
        await save(application, "flow", {**failing, "on_failure": "continue"})
        execution = await run(application, "flow")
        assert code_of(execution) == "too_many_calls"
        assert "ARCHON_WORKFLOWS_MAX_TREE_CALLS" in str(execution.error_message)
    assert len(calls_in(ledger_path)) == 5


async def test_children_count_with_their_parent(opener: Opener, ledger_path: Path) -> None:
    async with opener(max_tree_calls=5) as application:
        await save(application, "child", loop(2, action("echo", "echo", value=1)))
        await save(application, "flow", loop(10, {**CHILD, "on_failure": "continue"}))
        execution = await run(application, "flow")
        assert code_of(execution) == "too_many_calls"
    assert len(calls_in(ledger_path)) == 5


async def test_the_bytes_of_answers_are_counted(opener: Opener) -> None:
    async with opener(max_tree_bytes=50_000) as application:
        await save(application, "flow", loop(100, action("say", "say", text="x" * 5_000)))
        execution = await run(application, "flow")
        assert code_of(execution) == "too_much_output"
        assert await rows_of(application, execution) < 15


async def test_what_was_done_before_a_restart_counts(opener: Opener, ledger_path: Path) -> None:
    async with opener() as first:
        calls = loop(4, action("echo", "echo", value=1), name="before")
        asking = {**action("go_on", "echo", value=1), "approval": True}
        await save(first, "flow", calls, asking, loop(10, action("again", "echo", value=2), name="after"))
        waiting = await run(first, "flow")
        assert waiting.status == "paused"
        counted = await first.repository.count_tree(waiting.root_execution_id)
        assert (counted.steps, counted.calls) == (6, 4)
        assert counted.output_bytes > 0
    async with opener(max_tree_calls=6) as second:
        await second.executions.control(waiting.id, ControlRequest(id=uuid4(), action="approve"))
        ended = await second.executions.wait(waiting.id, seconds=20)
        assert code_of(ended) == "too_many_calls"
    assert len(calls_in(ledger_path)) == 6


async def test_the_servers_minutes_end_a_run_that_the_template_would_let_go_on(opener: Opener) -> None:
    async with opener(max_tree_minutes=0.005) as application:
        await save(application, "child", action("slow", "slow", seconds=30))
        await save(application, "flow", CHILD, timeout_minutes=60)
        execution = await run(application, "flow")
        assert code_of(execution) == "execution_timeout"
        child_id = (await steps_of(application, execution))["child"].sub_workflow_execution_id
        assert child_id is not None
        child = await application.executions.wait(child_id, seconds=10)
        assert child.status in ("failed", "cancelled")
