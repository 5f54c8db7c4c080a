"""The journal: atomic, fenced, harmless to repeat; as every tenant of the repository writes it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import anyio
import pytest
from samples import LEASE, NOON, Owner, Sql, claimed, line, messages, request, step

from archon_workflows.errors import Conflict, StorageError
from archon_workflows.model.records import JournalEntry
from archon_workflows.storage.repository import Repository


async def test_an_entry_is_answered_with_the_row_that_it_leaves_if_asked_to(
    repository: Repository,
) -> None:
    owner = await Owner.of_new(repository)
    assert (await owner.write("running", output_data={"n": 1})).execution is None
    last = owner.entry("completed", output_data={"n": 2}, release=True, read_back=True)
    (written,) = await repository.record([last])
    assert written.execution == await owner.row()
    (repeated,) = await repository.record([last])
    assert (repeated.accepted, repeated.execution) == (True, None)


async def test_the_row_of_a_step_is_the_same_row_for_ever(repository: Repository, sql: Sql) -> None:
    one, other = await Owner.of_new(repository), await Owner.of_new(repository)
    ids = "select array_agg(id order by workflow_execution_id) from public.archon_workflow_step_executions"
    for owner in (one, other):
        await owner.write("running", steps=[step("a")])
    before = await sql.value(ids)
    assert len(set(before)) == 2
    for owner in (one, other):
        await owner.write(steps=[step("a", status="completed", completed_at=NOON)])
    assert await sql.value(ids) == before


async def test_an_entry_writes_the_execution_its_steps_and_its_log(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    done = step(
        "a",
        status="completed",
        attempt_number=2,
        max_attempts=3,
        run_number=2,
        input_data={"x": [1, None]},
        output_data={"ok": True, "none": None},
        tool_name="server/tool",
        tool_parameters={"x": 1},
        tool_result={"content": []},
        sub_workflow_execution_id=uuid4(),
        context_updates={"y": 2},
        error_details={"earlier": [{"code": "timeout"}]},
        progress={"progress": 0.5},
        completed_at=NOON + timedelta(seconds=1),
    )
    answer = await owner.write(
        "running",
        current_step_index=1,
        progress_percentage=12.5,
        execution_context={"y": 2},
        steps=[done],
        log=[line("begun", step_index=0, step_name="a", details={"n": 1})],
        log_dropped=3,
    )
    assert answer.accepted
    row = await owner.row()
    assert (row.status, row.current_step_index, row.progress_percentage) == ("running", 1, 12.5)
    assert (row.execution_context, row.log_dropped_count, row.journal_sequence) == ({"y": 2}, 3, 1)
    assert row.execution_log == (
        {
            "timestamp": "2026-11-23T12:00:00Z",
            "level": "info",
            "step_index": 0,
            "step_name": "a",
            "message": "begun",
            "details": {"n": 1},
        },
    )
    assert (await repository.read_steps(owner.execution_id)).records == (done,)


async def test_a_step_row_is_replaced_as_a_whole(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    await owner.write(
        "running", steps=[step(error_message="no", error_details={"code": "x"}, awaiting="approval")]
    )
    await owner.write(steps=[step()])
    assert (await repository.read_steps(owner.execution_id)).records == (step(),)


async def test_of_two_rows_with_one_path_the_later_wins(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    await owner.write(
        "running", steps=[step(attempt_number=1, max_attempts=2), step(attempt_number=2, max_attempts=2)]
    )
    assert [one.attempt_number for one in (await repository.read_steps(owner.execution_id)).records] == [2]


async def test_an_entry_that_is_sent_again_is_not_written_again(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    entry = owner.entry("running", log=[line("once")], log_dropped=1)
    for _ in range(3):
        (answer,) = await repository.record([entry])
        assert answer.accepted
    row = await owner.row()
    assert (messages(row.execution_log), row.log_dropped_count) == (["once"], 1)


async def test_the_entry_that_released_the_lease_can_be_sent_again(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    entry = owner.entry("cancelled", log=[line("over")], release=True)
    for _ in range(2):
        (answer,) = await repository.record([entry])
        assert answer.accepted


async def test_a_stale_owner_is_refused_and_writes_nothing(repository: Repository) -> None:
    stale = await Owner.of_new(repository, lease=-1)
    await stale.write("running")
    current = Owner(repository, await claimed(repository, stale.execution_id, owner="other"))
    answer = await stale.write(steps=[step("late")], log=[line("late")])
    assert not answer.accepted
    assert (await current.write(steps=[step("a")])).accepted
    assert [one.step_path for one in (await repository.read_steps(stale.execution_id)).records] == ["a"]
    assert (await stale.row()).execution_log == ()


async def test_a_stale_owner_is_not_told_that_another_ones_entry_was_its_own(repository: Repository) -> None:
    stale = await Owner.of_new(repository, lease=-1)
    current = Owner(repository, await claimed(repository, stale.execution_id, owner="other"))
    await current.write("running")
    assert not (await stale.write("running")).accepted


async def test_an_expired_lease_that_nobody_took_still_writes(repository: Repository) -> None:
    owner = await Owner.of_new(repository, lease=-1)
    assert (await owner.write("running")).accepted


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_an_ended_execution_is_owned_by_nobody_and_takes_nothing_more(
    repository: Repository, status: Any
) -> None:
    owner = await Owner.of_new(repository)
    await owner.write("running")
    await owner.write(status, error_message="why" if status == "failed" else None)
    row = await owner.row()
    assert (row.status, row.owner_id, row.lease_expires_at) == (status, None, None)
    assert row.completed_at is not None
    assert not (await owner.write(log=[line("late")])).accepted
    assert not await repository.claim("other", lease_seconds=LEASE, execution_id=owner.execution_id)


async def test_an_unknown_execution_is_a_stale_one(repository: Repository) -> None:
    (answer,) = await repository.record([JournalEntry(execution_id=uuid4(), fencing_token=1, sequence=1)])
    assert not answer.accepted


async def test_a_gap_in_the_sequence_is_refused(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    owner.sequence += 1
    with pytest.raises(Conflict) as refused:
        await owner.write("running")
    assert refused.value.code == "journal_gap"
    assert (await owner.row()).status == "pending"


async def test_many_executions_share_a_round_trip_and_are_answered_in_order(repository: Repository) -> None:
    owners = [await Owner.of_new(repository) for _ in range(5)]
    stale = replace(owners[2].entry("running"), fencing_token=99)
    entries = [
        owners[4].entry("running", steps=[step("a")]),
        stale,
        owners[0].entry("running", steps=[step("a"), step("b")]),
        owners[4].entry(steps=[step("b")], log=[line("second of the same")]),
    ]
    answers = await repository.record(entries)
    assert [answer.execution_id for answer in answers] == [entry.execution_id for entry in entries]
    assert [answer.accepted for answer in answers] == [True, False, True, True]
    assert (await repository.read_steps(owners[4].execution_id)).total == 2
    assert (await owners[4].row()).journal_sequence == 2
    assert (await owners[2].row()).status == "pending"


async def test_an_entry_that_the_tables_refuse_is_refused_as_a_whole(repository: Repository) -> None:
    good, bad = await Owner.of_new(repository), await Owner.of_new(repository)
    entries = [
        good.entry("running"),
        bad.entry("running", steps=[step("a"), step("b", attempt_number=3, max_attempts=2)]),
    ]
    with pytest.raises(StorageError, match="attempt_number_within_max_attempts") as refused:
        await repository.record(entries)
    assert refused.value.code == "value_refused"
    assert (await repository.read_steps(bad.execution_id)).total == 0
    (answer,) = await repository.record(entries[:1])
    assert answer.accepted


async def test_two_batches_over_the_same_executions_do_not_block_each_other_for_good(
    repository: Repository,
) -> None:
    owners = [await Owner.of_new(repository) for _ in range(6)]

    async def write(order: int) -> None:
        for _ in range(10):
            await repository.renew([owner.held for owner in owners[::order]], lease_seconds=LEASE)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write, 1)
        tasks.start_soon(write, -1)
        for _ in range(10):
            await repository.record([owner.entry(log=[line("x")]) for owner in owners])
    assert {(await owner.row()).journal_sequence for owner in owners} == {10}


async def test_progress_never_falls_and_is_100_only_when_completed(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    seen: list[float] = []
    for progress in (40.0, 20.0, 100.0):
        await owner.write("running", progress_percentage=progress)
        seen.append((await owner.row()).progress_percentage)
    await owner.write("completed")
    seen.append((await owner.row()).progress_percentage)
    assert seen == [40.0, 40.0, 99.99, 100.0]


async def test_the_log_keeps_every_entry_in_order(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    for number in range(30):
        await owner.write(log=[line(f"{number}a"), line(f"{number}b")], log_dropped=1)
    row = await owner.row()
    assert messages(row.execution_log) == [f"{number}{half}" for number in range(30) for half in "ab"]
    assert row.log_dropped_count == 30


async def test_the_first_start_sets_the_deadline_and_a_pause_does_not_count(
    repository: Repository, sql: Sql
) -> None:
    owner = await Owner.of_new(repository, timeout_seconds=100)
    await owner.write("running")
    started = await owner.row()
    assert started.deadline_at - started.started_at == timedelta(seconds=100)
    await owner.write("paused", pause_reason="requested", wake_at=NOON)
    paused = await owner.row()
    assert (paused.status, paused.pause_reason, paused.wake_at) == ("paused", "requested", NOON)
    assert paused.paused_at is not None
    await sql.run("update public.archon_workflow_executions set paused_at = paused_at - interval '1 hour'")
    await owner.write("running")
    resumed = await owner.row()
    shift = (resumed.deadline_at - started.deadline_at).total_seconds()
    assert shift == pytest.approx(3600, abs=5)
    assert (resumed.started_at, resumed.paused_at, resumed.pause_reason, resumed.wake_at) == (
        started.started_at,
        None,
        None,
        None,
    )


async def test_what_is_not_given_stays(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    await owner.write("running", execution_context={"a": 1}, error_message="odd", error_details={"b": 2})
    await owner.write(current_step_index=3)
    row = await owner.row()
    assert (row.status, row.execution_context, row.error_message) == ("running", {"a": 1}, "odd")
    assert (row.error_details, row.current_step_index) == ({"b": 2}, 3)


async def test_an_owner_is_told_of_requests_until_it_acknowledges_them(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    await owner.write("running")
    first, second = request("pause", reason="lunch"), request("cancel")
    await repository.request_control(owner.execution_id, first)
    await repository.request_control(owner.execution_id, second)
    answer = await owner.write(log=[line("x")])
    assert [one.id for one in answer.control_requests] == [first.id, second.id]
    assert answer.control_requests[0].reason == "lunch"
    assert answer.control_requests[0].requested_at is not None
    answer = await owner.write(acknowledged=[first.id])
    assert [one.id for one in answer.control_requests] == [second.id]
    (answer,) = await repository.renew([owner.held], lease_seconds=LEASE)
    assert [one.id for one in answer.control_requests] == [second.id]


async def test_the_database_tells_its_clock(repository: Repository, sql: Sql) -> None:
    owner = await Owner.of_new(repository)
    before = await sql.value("select clock_timestamp()")
    answer = await owner.write("running")
    after = await sql.value("select clock_timestamp()")
    assert before < answer.now < after
