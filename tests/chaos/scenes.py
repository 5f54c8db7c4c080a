"""Short scripts for a stage: one situation each, in which a certain kind of bug shows."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from uuid import UUID

from crash_points import CALL_WRITTEN, CHILD_CREATED, CHILD_ENDED, RECORDED, TOOL_ANSWERED, Act
from stage import Stage
from writers import owner_pid

from archon_workflows.model.records import ExecutionRecord

Scene = Callable[[Stage], Awaitable[None]]

END_SECONDS = 30.0
HOPELESS_SECONDS = 3.0
LOOK_SECONDS = 0.02
SLOW_NETWORK_SECONDS = 0.05
WRONG_CLOCK_SECONDS = 7200.0


async def calm(workflow: str, stage: Stage) -> None:
    """Nothing goes wrong."""
    await stage.start_worker()
    await stage.submit(workflow, 1)
    await stage.until_all_ended(_patience(stage))


async def killed(workflow: str, point: str, where: str, stage: Stage) -> None:
    """A worker dies at a crash point, and another one is there."""
    await stage.start_worker()
    await stage.submit(workflow, 1)
    await stage.reach(point, "kill", where=where)
    await stage.start_worker()
    await stage.until_all_ended(_patience(stage))


async def frozen(workflow: str, point: str, where: str, stage: Stage) -> None:
    """A worker freezes at a crash point until another one has taken over and gone on."""
    await stage.start_worker()
    execution_id = await stage.submit(workflow, 1)
    hit = await stage.reach(point, "freeze", where=where)
    if hit is None:
        return
    other = await stage.start_worker()
    await _is_owned_by(stage, execution_id, other.pid)
    await asyncio.sleep(stage.options.lease_seconds / 2)
    hit.thaw()
    await stage.until_all_ended(END_SECONDS)


async def wrong_clocks(workflow: str, stage: Stage) -> None:
    """A worker whose machine is hours ahead dies, and one that is hours behind takes over."""
    await stage.start_worker(clock_ahead_seconds=WRONG_CLOCK_SECONDS)
    await stage.submit(workflow, 1)
    await stage.reach(TOOL_ANSWERED, "kill")
    await stage.start_worker(clock_ahead_seconds=-WRONG_CLOCK_SECONDS)
    await stage.until_all_ended(END_SECONDS)


async def server_killed(workflow: str, stage: Stage) -> None:
    """The server that an agent asked dies, and another one is there."""
    await stage.start_worker(serves=True)
    await stage.submit(workflow, 1)
    await stage.reach(TOOL_ANSWERED, "kill", where="/s3")
    await stage.start_worker(serves=True)
    await stage.until_all_ended(END_SECONDS)


async def slow_network(workflow: str, stage: Stage) -> None:
    """The database is far away."""
    worker = await stage.start_worker()
    worker.proxy.delay_seconds = SLOW_NETWORK_SECONDS
    await stage.submit(workflow, 1)
    await stage.until_all_ended(END_SECONDS)


async def saved_again_before_it_starts(workflow: str, stage: Stage) -> None:
    """A template gets another version while an execution of it waits."""
    await stage.submit(workflow, 1)
    await stage.save(workflow, 7)
    await stage.start_worker()
    await stage.until_all_ended(END_SECONDS)


async def told_to_stop(workflow: str, stage: Stage) -> None:
    """A worker is told to stop when it has recorded a step, and another one is there."""
    workers = [await stage.start_worker(), await stage.start_worker()]
    execution_id = await stage.submit(workflow, 1)
    owner = await _owner_with_a_step(stage, execution_id)
    for worker in workers:
        if worker.pid == owner:
            stage.note("worker told to stop", worker.pid)
            worker.ask_to_stop()
    await stage.until_all_ended(END_SECONDS)


async def two_at_once(workflow: str, stage: Stage) -> None:
    """Two executions of one template are asked for, and the one that runs first loses its owner."""
    await stage.submit(workflow, 1)
    await stage.submit(workflow, 2)
    await stage.start_worker()
    await stage.reach(TOOL_ANSWERED, "kill", where="/s2")
    await stage.start_worker()
    await stage.until_all_ended(END_SECONDS)


def _patience(stage: Stage) -> float:
    """A bug may leave an execution without an end; a product without bugs on a busy machine may not."""
    return END_SECONDS if stage.options.bug is None else HOPELESS_SECONDS


async def _owner_with_a_step(stage: Stage, execution_id: UUID) -> int | None:
    seen = await _seen(
        stage, execution_id, lambda one: one.owner_id is not None and one.progress_percentage > 0
    )
    return owner_pid(seen.owner_id) if seen is not None and seen.owner_id is not None else None


async def _is_owned_by(stage: Stage, execution_id: UUID, pid: int) -> None:
    await _seen(stage, execution_id, lambda one: one.owner_id is None or owner_pid(one.owner_id) == pid)


async def _seen(
    stage: Stage, execution_id: UUID, is_so: Callable[[ExecutionRecord], bool]
) -> ExecutionRecord | None:
    """Look until something is so."""
    for _ in range(int(END_SECONDS / LOOK_SECONDS)):
        execution = await stage.client.executions.read(execution_id)
        if is_so(execution):
            return execution
        await asyncio.sleep(LOOK_SECONDS)
    return None


def at(act: Act, point: str, workflow: str, where: str = "") -> Scene:
    """Return the scene in which a worker is hit at the crash point."""
    return partial(killed if act == "kill" else frozen, workflow, point, where)


KILLED_BEFORE_THE_RECORD = at("kill", TOOL_ANSWERED, "slow", "/s2")
FROZEN_BEFORE_THE_RECORD = at("freeze", TOOL_ANSWERED, "slow", "/s2")
KILLED_IN_WHAT_NOBODY_MAY_REPEAT = at("kill", TOOL_ANSWERED, "risky", "/destroyed")

HITS: Mapping[str, Scene] = {
    "killed between record and next start": at("kill", RECORDED, "slow", "/s2 running"),
    "killed between a child's creation and its parent's word": at("kill", CHILD_CREATED, "linked"),
    "killed between a child's end and its parent's word": at("kill", CHILD_ENDED, "linked"),
    "frozen between record and next start": at("freeze", RECORDED, "slow", "/s2 running"),
    "frozen before a call is written": at("freeze", CALL_WRITTEN, "slow", "/s2"),
    "frozen with a failure that would cancel a child": at("freeze", TOOL_ANSWERED, "torn", "/p.flaky"),
    "frozen between a child's creation and its parent's word": at("freeze", CHILD_CREATED, "linked"),
    "frozen between a child's end and its parent's word": at("freeze", CHILD_ENDED, "linked"),
    "killed while another one waits for its place": partial(two_at_once, "narrow"),
    "killed with clocks that are wrong by hours": partial(wrong_clocks, "bumpy"),
    "killed after an agent asked it": partial(server_killed, "slow"),
}
"""The other crash points, with a death and with a freeze that is longer than the lease; and other deaths."""
