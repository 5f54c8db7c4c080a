"""Very many starts at once: they stand in line, and nobody else has to."""

import anyio
from applications import Opener, action, save

from archon_workflows.engine.verbs import RunRequest

STARTED = 1_000


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
