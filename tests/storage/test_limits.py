"""Limits of templates and priorities, as every tenant keeps them."""

from collections.abc import Sequence
from uuid import UUID

import anyio
import pytest
from samples import EXPIRED, LEASE, Owner, Sql, claimed, document, new, request, save, saved

from archon_workflows.errors import Conflict
from archon_workflows.model.records import ControlAction, ExecutionRecord, TemplateRecord
from archon_workflows.storage.repository import Repository


async def started(repository: Repository, template: TemplateRecord, count: int = 1) -> list[UUID]:
    return [(await repository.create_execution(new(template))).id for _ in range(count)]


async def limited(repository: Repository, limit: int | None, name: str = "deploy") -> TemplateRecord:
    return await saved(repository, name, max_concurrent_executions=limit)


async def with_limit(repository: Repository, template: TemplateRecord, limit: int | None) -> None:
    changed = document(template.name, max_concurrent_executions=limit)
    await repository.save_template(save(template.id, document=changed))


async def taken(repository: Repository, limit: int = 100) -> list[UUID]:
    """Claim whatever is free; return the ids in the order in which they were taken."""
    claims = await repository.claim("anyone", lease_seconds=LEASE, limit=limit)
    return [claim.execution.id for claim in claims]


async def run(repository: Repository, execution_id: UUID) -> Owner:
    owner = Owner(repository, await claimed(repository, execution_id))
    await owner.write("running")
    return owner


async def places(repository: Repository, execution_ids: Sequence[UUID]) -> list[str | None]:
    rows = {row.id: row for row in await repository.read_executions(execution_ids)}
    return [rows[execution_id].place for execution_id in execution_ids]


async def read(repository: Repository, execution_id: UUID) -> ExecutionRecord:
    return await repository.read_execution(execution_id)


async def test_an_execution_without_limit_has_no_place(repository: Repository) -> None:
    ids = await started(repository, await saved(repository), 3)
    assert await places(repository, ids) == [None] * 3
    assert await repository.read_queue(ids[2]) is None
    assert await taken(repository) == ids


async def test_only_as_many_are_taken_as_the_limit_allows(repository: Repository) -> None:
    ids = await started(repository, await limited(repository, 2), 4)
    assert await places(repository, ids) == ["taken", "taken", "awaited", "awaited"]
    assert await taken(repository) == ids[:2]
    assert await taken(repository) == []
    assert await repository.claim("me", lease_seconds=LEASE, execution_id=ids[2]) == ()


async def test_an_end_gives_the_place_to_the_next(repository: Repository) -> None:
    first, second, third = await started(repository, await limited(repository, 1), 3)
    owner = await run(repository, first)
    assert await taken(repository) == []
    await owner.write("completed")
    assert await taken(repository) == [second]
    assert await places(repository, [first, second, third]) == [None, "taken", "awaited"]


@pytest.mark.parametrize("is_paused", [True, False])
async def test_a_place_is_kept_through_pauses_and_changes_of_the_owner(
    repository: Repository, *, is_paused: bool
) -> None:
    first, _ = await started(repository, await limited(repository, 1), 2)
    owner = await run(repository, first)
    if is_paused:
        await owner.write("paused", pause_reason="requested", release=True)
    else:
        await owner.write(release=True)
    assert await taken(repository) == ([] if is_paused else [first])


async def test_a_claim_that_ran_out_before_the_start_keeps_its_place(repository: Repository) -> None:
    first, second = await started(repository, await limited(repository, 1), 2)
    frozen = Owner(repository, await claimed(repository, first, lease=EXPIRED))
    assert await repository.claim("me", lease_seconds=LEASE, execution_id=second) == ()
    assert (await frozen.write("running")).accepted


async def test_the_queue_says_what_comes_before(repository: Repository) -> None:
    template = await limited(repository, 1)
    ids = await started(repository, template, 3)
    urgent = (await repository.create_execution(new(template, priority=1))).id
    ahead: list[int] = []
    for execution_id in (urgent, *ids[1:]):
        queue = await repository.read_queue(execution_id)
        assert queue is not None
        assert (queue.allowed, queue.taken_by) == (1, (ids[0],))
        ahead.append(queue.ahead)
    assert ahead == [0, 1, 2]
    assert await repository.read_queue(ids[0]) is None


async def test_places_are_given_by_priority_and_then_by_age(repository: Repository) -> None:
    template = await limited(repository, 1)
    (running,) = await started(repository, template)
    priorities = [0, 5, -5, 5]
    ids = [(await repository.create_execution(new(template, priority=one))).id for one in priorities]
    expected = [ids[1], ids[3], ids[0], ids[2]]
    for execution_id in expected:
        await (await run(repository, running)).write("completed")
        assert await taken(repository, 1) == [execution_id]
        await repository.release([(execution_id, 1)])
        running = execution_id


async def test_free_executions_are_taken_by_priority_and_then_by_age(repository: Repository) -> None:
    plain = await saved(repository)
    urgent = await saved(repository, "urgent", priority=7)
    ids = [*await started(repository, plain, 2), *await started(repository, urgent, 2)]
    raised = (await repository.create_execution(new(plain, priority=8))).id
    lowered = (await repository.create_execution(new(urgent, priority=-1))).id
    assert [(await read(repository, one)).priority for one in (*ids, raised, lowered)] == [0, 0, 7, 7, 8, -1]
    assert await taken(repository) == [raised, ids[2], ids[3], ids[0], ids[1], lowered]


async def test_a_child_has_at_least_the_priority_of_its_parent(repository: Repository) -> None:
    parent = (await started(repository, await saved(repository, "parent", priority=3)))[0]
    for name, own, expected in (("lower", 1, 3), ("higher", 9, 9)):
        child = new(
            await saved(repository, name, priority=own), parent_execution_id=parent, parent_step_path=name
        )
        await repository.create_execution(child)
        assert (await read(repository, child.id)).priority == expected


async def test_those_who_wait_hold_up_no_other_template(repository: Repository) -> None:
    await started(repository, await limited(repository, 1), 50)
    others = await started(repository, await saved(repository, "other"), 2)
    assert len(await taken(repository, 1)) == 1
    assert await taken(repository, 2) == others


async def test_owners_that_claim_at_once_never_exceed_the_limit(repository: Repository) -> None:
    template = await limited(repository, 3)
    ids = await started(repository, template, 12)
    ended: list[UUID] = []
    most = 0

    async def work(name: str) -> None:
        nonlocal most
        while len(ended) < len(ids):
            for claim in await repository.claim(name, lease_seconds=LEASE, limit=2):
                owner = Owner(repository, claim)
                await owner.write("running")
                running = await repository.read_executions(ids)
                most = max(most, sum(row.status == "running" for row in running))
                await owner.write("completed")
                ended.append(claim.execution.id)

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(work, f"owner {number}")
    assert sorted(ended) == sorted(ids)
    assert 1 <= most <= 3


async def test_creators_at_once_never_exceed_the_limit(repository: Repository) -> None:
    template = await saved(repository, max_concurrent_executions=3, on_limit="reject")
    refusals: list[str] = []

    async def create() -> None:
        try:
            await started(repository, template)
        except Conflict as error:
            refusals.append(error.code)

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(create)
    assert refusals == ["too_many_executions"] * 7
    assert len(await taken(repository)) == 3


async def test_a_refusal_names_those_that_have_not_ended(repository: Repository) -> None:
    template = await saved(repository, max_concurrent_executions=1, on_limit="reject")
    (first,) = await started(repository, template)
    with pytest.raises(Conflict) as refused:
        await started(repository, template)
    assert refused.value.code == "too_many_executions"
    assert str(first) in refused.value.message
    assert "'deploy'" in refused.value.message
    assert refused.value.suggestion
    await (await run(repository, first)).write("completed")
    assert await places(repository, await started(repository, template)) == ["taken"]


@pytest.mark.parametrize("on_limit", ["queue", "reject", "cancel_oldest"])
async def test_a_repeated_creation_is_no_execution_more(repository: Repository, on_limit: str) -> None:
    template = await saved(repository, max_concurrent_executions=1, on_limit=on_limit)
    execution = new(template, idempotency_key="once")
    await repository.create_execution(execution)
    for again in (execution, new(template, idempotency_key="once")):
        found = await repository.create_execution(again)
        assert (found.id, found.existed) == (execution.id, True)
    assert (await read(repository, execution.id)).control_requests == ()


async def test_the_oldest_is_cancelled_in_favour_of_the_newest(repository: Repository) -> None:
    template = await saved(repository, max_concurrent_executions=2, on_limit="cancel_oldest")
    oldest, older = [await run(repository, one) for one in await started(repository, template, 2)]
    (newest,) = await started(repository, template)
    assert [one.action for one in (await oldest.row()).control_requests] == ["cancel"]
    assert (await oldest.row()).control_requests[0].reason == "a newer execution takes its place"
    assert (await older.row()).control_requests == ()
    assert await taken(repository) == []
    await oldest.write("cancelled", error_message="cancelled")
    assert await taken(repository) == [newest]


async def test_of_a_burst_the_newest_remain(repository: Repository) -> None:
    template = await saved(repository, max_concurrent_executions=2, on_limit="cancel_oldest")
    ids = await started(repository, template, 6)
    requests = [bool((await read(repository, one)).control_requests) for one in ids]
    assert requests == [True, True, True, True, False, False]
    assert set(await taken(repository)) == set(ids[:4])


STEERED: list[tuple[ControlAction, bool]] = [("cancel", True), ("pause", True), ("approve", False)]


@pytest.mark.parametrize(("action", "is_taken"), STEERED)
async def test_who_waits_is_taken_only_to_be_cancelled_or_paused(
    repository: Repository, action: ControlAction, *, is_taken: bool
) -> None:
    first, second = await started(repository, await limited(repository, 1), 2)
    await run(repository, first)
    await repository.request_control(second, request(action))
    assert await taken(repository) == ([second] if is_taken else [])


async def test_one_that_was_paused_before_its_start_waits_again_when_it_is_resumed(
    repository: Repository,
) -> None:
    first, second, third = await started(repository, await limited(repository, 1), 3)
    owner = await run(repository, first)
    pause = request("pause")
    await repository.request_control(second, pause)
    waiting = Owner(repository, await claimed(repository, second))
    await waiting.write("paused", pause_reason="requested", acknowledged=[pause.id], release=True)
    await repository.request_control(second, request("resume"))
    assert await taken(repository) == []
    await owner.write("completed")
    assert await taken(repository) == [second]
    assert await places(repository, [second, third]) == ["taken", "awaited"]


async def test_one_that_is_paused_takes_no_place(repository: Repository) -> None:
    first, second, third = await started(repository, await limited(repository, 1), 3)
    owner = await run(repository, first)
    pause = request("pause")
    await repository.request_control(second, pause)
    waiting = Owner(repository, await claimed(repository, second))
    await waiting.write("paused", pause_reason="requested", acknowledged=[pause.id], release=True)
    await owner.write("completed")
    assert await taken(repository) == [third]


@pytest.mark.parametrize("on_limit", ["queue", "reject", "cancel_oldest"])
async def test_a_retry_is_an_execution_more(repository: Repository, on_limit: str) -> None:
    template = await saved(repository, max_concurrent_executions=1, on_limit=on_limit)
    failed = await run(repository, (await started(repository, template))[0])
    await failed.write("failed", error_message="broke")
    running = await run(repository, (await started(repository, template))[0])
    if on_limit == "reject":
        with pytest.raises(Conflict) as refused:
            await repository.request_control(failed.execution_id, request("retry"))
        assert refused.value.code == "too_many_executions"
        assert (await failed.row()).status == "failed"
        return
    await repository.request_control(failed.execution_id, request("retry"))
    assert await taken(repository) == []
    assert [one.action for one in (await running.row()).control_requests] == (
        ["cancel"] if on_limit == "cancel_oldest" else []
    )
    await running.write("completed")
    assert await taken(repository) == [failed.execution_id]


async def test_a_child_that_is_retried_with_its_parent_waits(repository: Repository) -> None:
    (parent,) = await started(repository, await saved(repository, "parent"))
    template = await saved(repository, "child", max_concurrent_executions=1, on_limit="reject")
    child = new(template, parent_execution_id=parent, parent_step_path="link")
    await repository.create_execution(child)
    await (await run(repository, child.id)).write("failed", error_message="broke")
    await started(repository, template)
    await repository.request_control(child.id, request("retry"))
    assert (await read(repository, child.id)).place == "awaited"


async def test_the_limit_of_the_newest_version_counts(repository: Repository) -> None:
    template = await saved(repository)
    ids = await started(repository, template, 4)
    owner = await run(repository, ids[0])
    await with_limit(repository, template, 2)
    assert await places(repository, ids) == ["taken", "awaited", "awaited", "awaited"]
    assert await taken(repository) == [ids[1]]
    await with_limit(repository, template, 1)
    await owner.write("completed")
    assert await taken(repository) == []
    await with_limit(repository, template, 2)
    assert await taken(repository) == [ids[2]]
    await with_limit(repository, template, None)
    assert await places(repository, ids[1:]) == [None] * 3
    assert await taken(repository) == [ids[3]]


async def test_one_that_runs_cannot_await_a_place(repository: Repository, sql: Sql) -> None:
    first, second = await started(repository, await limited(repository, 1), 2)
    assert first != second
    change = "update public.archon_workflow_executions set status = 'running' where place = 'awaited'"
    with pytest.raises(Exception, match="running_awaits_no_place"):
        await sql.run(change)


async def test_a_child_of_a_cancelled_parent_does_not_wait_to_be_cancelled(repository: Repository) -> None:
    (parent,) = await started(repository, await saved(repository, "parent"))
    template = await limited(repository, 1, "child")
    await run(repository, (await started(repository, template))[0])
    await repository.request_control(parent, request("cancel"))
    child = new(template, parent_execution_id=parent, parent_step_path="link")
    await repository.create_execution(child)
    assert child.id in await taken(repository)
