"""Starts: very many at once stand in line, and a template is run as it is, not as it was remembered."""

from contextlib import AsyncExitStack
from uuid import UUID

import anyio
import pytest
from applications import Opener, action, save

from archon_workflows.engine.executions import LAUNCHES_AT_ONCE
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.errors import Conflict, NotFound
from archon_workflows.storage.sessions import SessionLimits, open_session

STARTED = 1_000
STANDING = """
select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
"""


async def test_a_read_does_not_stand_in_line_behind_starts(opener: Opener) -> None:
    async with opener(execute=False) as application:
        await save(application, "small", action("a", "say", text="x"))
        first = (await application.executions.start(RunRequest(workflow="small"))).execution.id
        done = 0
        overtaken_by: list[int] = []
        under_way = anyio.Event()

        async def start() -> None:
            nonlocal done
            await application.executions.start(RunRequest(workflow="small"))
            done += 1
            if done == STARTED // 10:
                under_way.set()

        async with anyio.create_task_group() as tasks:
            for _ in range(STARTED):
                tasks.start_soon(start)
            await under_way.wait()
            await application.executions.read(first)
            overtaken_by.append(done - STARTED // 10)
    assert done == STARTED
    assert overtaken_by[0] < STARTED / 10


async def test_nobody_waits_behind_launches_that_stand_before_a_lock(
    opener: Opener, database_url: str
) -> None:
    async with opener(execute=False) as application, AsyncExitStack() as stack:
        await save(application, "small", action("a", "say", text="x"))
        first = (await application.executions.start(RunRequest(workflow="small"))).execution.id
        holder, onlooker = [await open_session(database_url, SessionLimits()) for _ in range(2)]
        stack.callback(holder.terminate)
        stack.callback(onlooker.terminate)
        await holder.execute("begin; select from public.archon_workflow_templates for update")
        launched: list[UUID] = []

        async def start() -> None:
            launched.append((await application.executions.start(RunRequest(workflow="small"))).execution.id)

        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(start)
            with anyio.fail_after(8):
                while await onlooker.fetchval(STANDING) < LAUNCHES_AT_ONCE:
                    await anyio.lowlevel.checkpoint()
                assert (await application.executions.read(first)).id == first
            assert launched == []
            await holder.execute("rollback")
        assert len(launched) == 100


async def test_a_template_that_another_process_changes_is_run_as_it_is_now(opener: Opener) -> None:
    request = RunRequest(workflow="small")
    async with opener() as one, opener(execute=False) as other:
        await save(one, "small", action("a", "say", text="x"))
        assert (await one.executions.start(request)).execution.version_number == 1

        changed = {"name": "small", "steps": [action("b", "say", text="y")]}
        await other.templates.update(changed, change_type="minor")
        second = await one.executions.start(request)
        assert second.execution.version_number == 2

        parameters = {"n": {"type": "integer", "required": True}}
        await other.templates.update({**changed, "parameters": parameters}, change_type="major")
        third = await one.executions.start(RunRequest(workflow="small", parameters={"n": 1}))
        assert third.execution.input_parameters == {"n": 1}

        await other.templates.archive(name="small")
        with pytest.raises(Conflict) as archived:
            await one.executions.start(RunRequest(workflow="small", parameters={"n": 1}))
        assert archived.value.code == "template_archived"


async def test_whoever_waits_for_what_belongs_to_another_is_told_nothing(opener: Opener) -> None:
    async with opener() as application:
        mine, other = application.seen_by("ann"), application.seen_by("bob")
        await save(mine, "small", action("a", "say", text="x"))
        started = (await mine.executions.start(RunRequest(workflow="small"))).execution.id
        with pytest.raises(NotFound):
            await other.executions.wait(started, seconds=5)
        assert (await mine.executions.wait(started, seconds=5)).status == "completed"
