"""Executions of limited templates as they run: one after the other, over processes, links and words."""

from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import pytest
from applications import Opener, action, calls_in, run, save, steps_of, until

from archon_workflows.bootstrap import Application
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.errors import Conflict
from archon_workflows.model.records import ControlAction, ControlRequest, ExecutionRecord


def link(name: str, workflow: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "workflow_link", "workflow_name": workflow, **fields}


def approved(step: dict[str, Any]) -> dict[str, Any]:
    return {**step, "approval": True}


async def start(application: Application, workflow: str, **request: Any) -> UUID:
    return (await application.executions.start(RunRequest(workflow=workflow, **request))).execution.id


async def end_of(application: Application, execution_id: UUID) -> ExecutionRecord:
    return await application.executions.wait(execution_id, seconds=30)


async def say(application: Application, execution_id: UUID, action: ControlAction) -> ExecutionRecord:
    request = ControlRequest(id=UUID(int=len(action)), action=action)
    return await application.executions.control(execution_id, request)


async def test_executions_of_a_template_run_one_after_the_other(opener: Opener, ledger_path: Path) -> None:
    async with opener() as one, opener() as other:
        await save(one, "single", action("a", "slow", seconds=0.05), max_concurrent_executions=1)
        ids = [await start(application, "single") for application in (one, other, one, other)]
        ends = [await end_of(one, execution_id) for execution_id in ids]
    assert [end.status for end in ends] == ["completed"] * 4
    for before, after in pairwise(ends):
        assert before.completed_at is not None
        assert after.started_at is not None
        assert before.completed_at <= after.started_at
    assert len(calls_in(ledger_path)) == 4


async def test_the_next_one_starts_by_announcement_and_not_by_looking_again(opener: Opener) -> None:
    async with opener() as application:
        await save(application, "single", action("a", "say", text="x"), max_concurrent_executions=1)
        ids = [await start(application, "single") for _ in range(30)]
        with anyio.fail_after(15):  # looking again would take a second for each
            for execution_id in ids:
                assert (await end_of(application, execution_id)).status == "completed"


async def test_a_link_waits_for_its_turn(opener: Opener) -> None:
    async with opener(max_concurrent_executions=2) as application:
        await save(application, "child", approved(action("a", "say", text="x")), max_concurrent_executions=1)
        await save(application, "parent", link("down", "child"))
        first, second = await start(application, "parent"), await start(application, "parent")
        waiting = [await child_of(application, parent) for parent in (first, second)]
        waiting.sort(key=lambda child: child.place or "")
        assert [child.place for child in waiting] == ["awaited", "taken"]
        for child in reversed(waiting):
            await paused(application, child.id)
            await say(application, child.id, "approve")
        assert [(await end_of(application, one)).status for one in (first, second)] == ["completed"] * 2


async def child_of(application: Application, parent: UUID) -> ExecutionRecord:
    """Return the child of a running link, when it either waits for its place or for an approval."""
    with anyio.fail_after(20):
        while True:
            execution = await application.executions.read(parent)
            rows = (await steps_of(application, execution)).values()
            for child_id in [row.sub_workflow_execution_id for row in rows]:
                if child_id is None:
                    continue
                children = await application.repository.read_executions([child_id])
                if children and (children[0].place == "awaited" or children[0].status == "paused"):
                    return children[0]
            await anyio.sleep(0.02)


async def paused(application: Application, execution_id: UUID) -> None:
    assert (await end_of(application, execution_id)).status == "paused"


async def test_a_link_to_a_template_that_rejects_fails_with_the_letter_and_may_retry(
    application: Application,
) -> None:
    held = approved(action("a", "say", text="x"))
    await save(application, "child", held, max_concurrent_executions=1, on_limit="reject")
    await save(application, "parent", link("down", "child", retry_count=1, retry_delay_seconds=0.01))
    holder = await start(application, "child")
    await paused(application, holder)
    failed = await run(application, "parent")
    assert failed.status == "failed"
    row = (await steps_of(application, failed))["down"]
    assert row.attempt_number == 2
    assert row.error_details is not None
    assert row.error_details["details"]["cause"]["code"] == "too_many_executions"
    assert str(holder) in (row.error_message or "")


async def test_a_start_beyond_the_limit_is_refused(application: Application) -> None:
    held = approved(action("a", "say", text="x"))
    await save(application, "strict", held, max_concurrent_executions=1, on_limit="reject")
    await paused(application, await start(application, "strict"))
    with pytest.raises(Conflict) as refused:
        await start(application, "strict")
    assert refused.value.code == "too_many_executions"


async def test_the_newest_start_cancels_the_oldest_execution(
    application: Application, ledger_path: Path
) -> None:
    slow = action("a", "slow", seconds="{{ workflow.parameters.seconds }}")
    await save(
        application,
        "latest",
        slow,
        parameters={"seconds": {"type": "number", "required": True}},
        max_concurrent_executions=1,
        on_limit="cancel_oldest",
    )
    old = await start(application, "latest", parameters={"seconds": 60})
    await until(lambda: len(calls_in(ledger_path)) == 1)
    new = await start(application, "latest", parameters={"seconds": 0})
    assert (await end_of(application, new)).status == "completed"
    cancelled = await end_of(application, old)
    assert cancelled.status == "cancelled"
    assert "a newer execution takes its place" in str(cancelled.execution_log)
    assert str(new) not in str(cancelled.execution_log)


async def test_one_that_waits_is_paused_and_cancelled_without_a_call(
    application: Application, ledger_path: Path
) -> None:
    await save(application, "single", approved(action("a", "say", text="x")), max_concurrent_executions=1)
    await paused(application, await start(application, "single"))
    waiting = await start(application, "single")
    held = await say(application, waiting, "pause")
    assert (held.status, held.pause_reason, held.started_at) == ("paused", "requested", None)
    cancelled = await say(application, waiting, "cancel")
    assert cancelled.status == "cancelled"
    assert calls_in(ledger_path) == []


async def test_a_pause_from_before_the_start_holds_the_first_step(opener: Opener, ledger_path: Path) -> None:
    async with opener(execute=False) as accepting:
        await save(accepting, "early", action("a", "say", text="x"))
        execution_id = await start(accepting, "early")
        await accepting.executions.control(
            execution_id, ControlRequest(id=UUID(int=1), action="pause"), wait_seconds=0
        )
    async with opener() as application:
        assert (await end_of(application, execution_id)).status == "paused"
        assert calls_in(ledger_path) == []
        await say(application, execution_id, "resume")
        assert (await end_of(application, execution_id)).status == "completed"
    assert len(calls_in(ledger_path)) == 1


async def test_a_child_that_got_its_place_runs_although_its_process_is_full(opener: Opener) -> None:
    async with opener(max_concurrent_executions=1) as application:
        held = approved(action("a", "say", text="x"))
        await save(application, "child", held, max_concurrent_executions=1)
        await save(application, "parent", link("down", "child"))
        holder = await start(application, "child")
        await paused(application, holder)
        parent = await start(application, "parent")
        child = await child_of(application, parent)
        assert child.place == "awaited"
        await say(application, holder, "cancel")
        await paused(application, child.id)
        await say(application, child.id, "approve")
        assert (await end_of(application, parent)).status == "completed"


async def test_a_waiting_execution_does_not_run_out_of_time(opener: Opener) -> None:
    async with opener() as application:
        held = approved(action("a", "say", text="x"))
        await save(application, "single", held, max_concurrent_executions=1, timeout_minutes=0.005)
        holder = await start(application, "single")
        await paused(application, holder)
        waiting = await start(application, "single")
        await anyio.sleep(0.6)  # twice the run time that the template allows
        assert (await application.executions.read(waiting)).status == "pending"
