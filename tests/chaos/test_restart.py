"""What waits for a day, for an approval or for a word on a call in doubt outlives a restart of everything."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from uuid import UUID

import pytest
from catalogue import DAY_SECONDS
from checker import check
from crash_points import TOOL_ANSWERED
from own_postgres import OwnPostgres
from stage import Stage, StageOptions, open_stage
from tenants import own_database

from archon_workflows.model.records import ExecutionRecord, StepRecord
from archon_workflows.storage.sessions import SessionLimits, open_session

A_DAY_PASSES = """
update public.archon_workflow_step_executions set wake_at = wake_at - make_interval(secs => $1)
where wake_at is not null
"""
LOOK_SECONDS = 0.05
PATIENCE_SECONDS = 30


@pytest.fixture
async def server(storm_folder: Path) -> AsyncGenerator[OwnPostgres]:
    server = OwnPostgres(storm_folder / "home")
    await server.open()
    yield server
    await server.close()


async def restart_everything(stage: Stage, server: OwnPostgres) -> None:
    for worker in stage.crew.workers:
        worker.kill()
    await server.kill()
    await server.start()
    await stage.crew.bury()


async def let_a_day_pass(url: str) -> None:
    session = await open_session(url, SessionLimits())
    await session.execute(A_DAY_PASSES, DAY_SECONDS)
    session.terminate()


async def standing(stage: Stage, execution_id: UUID) -> tuple[ExecutionRecord, StepRecord | None]:
    """Return an execution, and the step that keeps it waiting."""
    execution = await stage.client.repository.read_execution(execution_id)
    steps = (await stage.client.repository.read_steps(execution_id)).records
    return execution, next((step for step in steps if step.awaiting or step.wake_at), None)


async def waiting(stage: Stage, execution_id: UUID) -> tuple[ExecutionRecord, StepRecord]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            execution, step = await standing(stage, execution_id)
            if step is not None:
                return execution, step
            await asyncio.sleep(LOOK_SECONDS)


async def test_a_timer_an_approval_and_a_call_in_doubt_outlive_a_restart_of_everything(
    server: OwnPostgres, storm_folder: Path
) -> None:
    options = StageOptions(is_attended=False)
    async with (
        own_database(server.url) as tenant,
        open_stage(storm_folder / "run", tenant, options) as stage,
    ):
        await stage.start_worker()
        tomorrow, guarded = await stage.submit("tomorrow", 1), await stage.submit("guarded", 2)
        _, timer = await waiting(stage, tomorrow)
        await waiting(stage, guarded)
        risky = await stage.submit("risky", 3)
        assert await stage.reach(TOOL_ANSWERED, "kill", where="/destroyed")

        for _ in range(2):
            await restart_everything(stage, server)
            await stage.start_worker()
            in_doubt, called = await waiting(stage, risky)
            assert (in_doubt.status, in_doubt.pause_reason, called.awaiting) == (
                "paused",
                "in_doubt",
                "resolution",
            )
            assert (await waiting(stage, guarded))[0].pause_reason == "approval"
            assert (await waiting(stage, tomorrow))[1] == timer

        await restart_everything(stage, server)
        await let_a_day_pass(server.url)
        await stage.start_worker()
        async with stage.attendant.attending():
            assert await stage.until_all_ended(PATIENCE_SECONDS)
        evidence = await stage.evidence()
    assert [str(violation) for violation in check(evidence)] == []
    assert sorted(call.path for call in evidence.calls) == sorted(
        ["before", "later", "before", "approved", "destroyed", "last"]
    )
