"""A lease that may have run out calls no tools."""

import anyio

from archon_workflows.engine.clock import steady_seconds
from archon_workflows.engine.engine import EngineLimits
from archon_workflows.engine.lease import Lease
from archon_workflows.settings import Settings


def test_by_default_a_dead_owner_is_replaced_within_ten_seconds() -> None:
    limits = EngineLimits()
    assert Settings().lease_seconds == limits.lease_seconds
    assert limits.lease_seconds + limits.poll_seconds < 10


async def test_a_lease_that_runs_keeps_nobody_waiting() -> None:
    asked: list[None] = []
    lease = Lease(steady_seconds() + 60, lambda: asked.append(None))
    with anyio.fail_after(1):
        await lease.hold()
    assert lease.runs
    assert asked == []


async def test_a_lease_that_ran_out_is_asked_for_and_waited_for() -> None:
    asked = anyio.Event()
    lease = Lease(steady_seconds() - 1, asked.set)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lease.hold)
        await asked.wait()
        assert not lease.runs
        lease.renewed(steady_seconds() + 60)
    assert lease.runs


async def test_a_renewal_that_came_too_late_is_asked_for_again() -> None:
    asked = 0

    def ask() -> None:
        nonlocal asked
        asked += 1

    lease = Lease(steady_seconds() - 1, ask)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lease.hold)
        await anyio.wait_all_tasks_blocked()
        lease.renewed(steady_seconds() - 1)
        await anyio.wait_all_tasks_blocked()
        assert asked == 2
        lease.renewed(steady_seconds() + 60)
