"""Schedules: written, found, and each due time acted on once, whoever is first."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import anyio
import pytest
from samples import LEASE, NOON, Sql, created, new, saved

from archon_workflows.errors import Conflict, NotFound
from archon_workflows.model.records import TemplateRecord
from archon_workflows.model.schedules import (
    Fired,
    Firing,
    NewSchedule,
    OnOverlap,
    ScheduleFilter,
    ScheduleRecord,
)
from archon_workflows.storage.repository import Repository

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def schedule(template: TemplateRecord, **changes: Any) -> NewSchedule:
    one = NewSchedule(
        name="nightly",
        workflow_template_id=template.id,
        cron="0 3 * * *",
        time_zone="Europe/Berlin",
        on_missed="run_once",
        on_overlap="skip",
        next_due_at=LONG_AGO,
    )
    return replace(one, **changes)


def firing(record: ScheduleRecord, template: TemplateRecord, **changes: Any) -> Firing:
    one = Firing(
        schedule_id=record.id,
        expected_due_at=record.next_due_at,
        due_at=record.next_due_at,
        next_due_at=record.next_due_at + timedelta(days=1),
        outcome="started",
        execution=new(template, triggered_by="schedule:nightly"),
    )
    return replace(one, **changes)


async def only(repository: Repository) -> ScheduleRecord:
    (found,) = (await repository.list_schedules(ScheduleFilter(), offset=0, limit=10)).records
    return found


async def test_what_is_written_is_what_is_read(repository: Repository) -> None:
    template = await saved(repository)
    new_one = schedule(
        template,
        version_tag="1.0.0",
        parameters={"a": [1, None]},
        priority=7,
        created_by="anna",
        caller="anna",
    )
    record = await repository.save_schedule(new_one)
    assert record == await only(repository)
    assert record.workflow_name == template.name
    for name in (
        "name",
        "version_tag",
        "cron",
        "time_zone",
        "parameters",
        "priority",
        "created_by",
        "caller",
    ):
        assert getattr(record, name) == getattr(new_one, name), name


async def test_a_schedule_of_the_same_name_and_caller_is_changed(repository: Repository) -> None:
    template = await saved(repository)
    first = await repository.save_schedule(schedule(template))
    second = await repository.save_schedule(schedule(template, cron="0 4 * * *", is_paused=True))
    assert (second.id, second.cron, second.is_paused) == (first.id, "0 4 * * *", True)
    other = await repository.save_schedule(schedule(template, caller="anna"))
    assert other.id != first.id


async def test_schedules_are_listed_by_name_and_narrowed(repository: Repository) -> None:
    deploy, backup = await saved(repository), await saved(repository, "backup")
    for template, name, caller in ((deploy, "b", None), (deploy, "a", "anna"), (backup, "c", None)):
        await repository.save_schedule(schedule(template, name=name, caller=caller))

    async def names(**which: Any) -> list[str]:
        page = await repository.list_schedules(ScheduleFilter(**which), offset=0, limit=10)
        assert page.total == len(page.records)
        return [one.name for one in page.records]

    assert await names() == ["a", "b", "c"]
    assert await names(workflow_name="deploy") == ["a", "b"]
    assert await names(caller="anna") == ["a"]
    assert await names(name="c") == ["c"]
    assert await names(schedule_id=uuid4()) == []
    page = await repository.list_schedules(ScheduleFilter(), offset=1, limit=1)
    assert ([one.name for one in page.records], page.total) == (["b"], 3)


async def test_a_schedule_is_removed_once_and_goes_with_its_template(repository: Repository) -> None:
    template = await saved(repository)
    record = await repository.save_schedule(schedule(template))
    await repository.delete_schedule(record.id)
    with pytest.raises(NotFound) as gone:
        await repository.delete_schedule(record.id)
    assert gone.value.code == "schedule_not_found"
    await repository.save_schedule(schedule(template))
    await repository.delete_template(template.id)
    assert (await repository.list_schedules(ScheduleFilter(), offset=0, limit=10)).total == 0
    with pytest.raises(NotFound):
        await repository.save_schedule(schedule(template))


async def test_what_is_due_is_told_with_the_databases_clock(repository: Repository) -> None:
    template = await saved(repository)
    assert (await repository.read_due_schedules(limit=10)).due == ()
    soon = datetime.now(UTC) + timedelta(hours=1)
    for name, at, is_paused in (
        ("late", LONG_AGO, False),
        ("later", NOON - timedelta(days=999), False),
        ("paused", LONG_AGO, True),
        ("coming", soon, False),
    ):
        await repository.save_schedule(schedule(template, name=name, next_due_at=at, is_paused=is_paused))
    waiting = await repository.read_due_schedules(limit=10)
    assert [one.name for one in waiting.due] == ["late", "later"]
    assert waiting.next_due_at == soon
    assert abs(waiting.now - datetime.now(UTC)) < timedelta(minutes=1)
    assert len((await repository.read_due_schedules(limit=1)).due) == 1


async def test_of_many_who_fire_a_due_time_one_starts_an_execution(repository: Repository) -> None:
    template = await saved(repository)
    record = await repository.save_schedule(schedule(template))
    answers: list[Fired | None] = []

    async def fire() -> None:
        answers.append(await repository.fire_schedule(firing(record, template)))

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(fire)
    (fired,) = [one for one in answers if one is not None]
    assert fired.outcome == "started"
    assert fired.execution_id is not None
    assert (await repository.read_execution(fired.execution_id)).triggered_by == "schedule:nightly"
    after = await only(repository)
    assert (after.last_outcome, after.last_execution_id) == ("started", fired.execution_id)
    assert (after.last_due_at, after.next_due_at) == (LONG_AGO, LONG_AGO + timedelta(days=1))
    assert after.started_count == 1


@pytest.mark.parametrize("change", ["paused", "moved", "removed"])
async def test_a_schedule_that_somebody_changed_meanwhile_does_not_fire(
    repository: Repository, sql: Sql, change: str
) -> None:
    template = await saved(repository)
    record = await repository.save_schedule(schedule(template))
    match change:
        case "paused":
            await repository.save_schedule(schedule(template, is_paused=True))
        case "moved":
            await repository.save_schedule(schedule(template, next_due_at=NOON))
        case _:
            await repository.delete_schedule(record.id)
    assert await repository.fire_schedule(firing(record, template)) is None
    assert await sql.value("select count(*) from public.archon_workflow_executions") == 0


@pytest.mark.parametrize(
    ("on_overlap", "outcome", "is_cancelled"),
    [("skip", "overlapped", False), ("allow", "started", False), ("cancel_previous", "started", True)],
)
async def test_what_happens_while_the_execution_before_goes_on(
    repository: Repository, on_overlap: OnOverlap, outcome: str, *, is_cancelled: bool
) -> None:
    template = await saved(repository)
    record = await repository.save_schedule(schedule(template, on_overlap=on_overlap))
    before = await repository.fire_schedule(firing(record, template))
    assert before is not None
    assert before.execution_id is not None
    fired = await repository.fire_schedule(firing(await only(repository), template))
    assert fired is not None
    assert fired.outcome == outcome
    requests = (await repository.read_execution(before.execution_id)).control_requests
    assert [one.action for one in requests] == (["cancel"] if is_cancelled else [])
    after = await only(repository)
    assert after.last_outcome == outcome
    assert after.last_execution_id == (fired.execution_id or before.execution_id)


async def test_an_execution_that_has_ended_overlaps_with_nothing(repository: Repository, sql: Sql) -> None:
    template = await saved(repository)
    record = await repository.save_schedule(schedule(template))
    await repository.fire_schedule(firing(record, template))
    await sql.run("update public.archon_workflow_executions set status = 'failed', error_message = 'no'")
    fired = await repository.fire_schedule(firing(await only(repository), template))
    assert fired is not None
    assert fired.outcome == "started"


async def test_why_nothing_was_started_is_noted(repository: Repository) -> None:
    template = await saved(repository)
    record = await repository.save_schedule(schedule(template))
    error = {"code": "template_archived", "message": "It is archived."}
    refused = firing(record, template, outcome="refused", execution=None, error=error)
    assert await repository.fire_schedule(refused) == Fired(outcome="refused", execution_id=None)
    record = await only(repository)
    assert (record.last_outcome, record.last_error, record.refused_count) == ("refused", error, 1)
    missed = firing(record, template, outcome="missed", execution=None, missed=3)
    await repository.fire_schedule(missed)
    record = await only(repository)
    assert (record.last_outcome, record.last_error, record.missed_count) == ("missed", None, 3)


async def test_a_limit_that_rejects_leaves_the_schedule_as_it_is(repository: Repository) -> None:
    template = await saved(repository, max_concurrent_executions=1, on_limit="reject")
    await repository.create_execution(new(template))
    record = await repository.save_schedule(schedule(template))
    with pytest.raises(Conflict) as full:
        await repository.fire_schedule(firing(record, template))
    assert full.value.code == "too_many_executions"
    assert await only(repository) == record


async def test_an_execution_of_a_schedule_is_claimed_like_any_other(repository: Repository) -> None:
    await created(repository, "another")
    template = await saved(repository)
    record = await repository.save_schedule(schedule(template))
    fired = await repository.fire_schedule(firing(record, template, execution=new(template, priority=50)))
    assert fired is not None
    (claim,) = await repository.claim("one", lease_seconds=LEASE)
    assert claim.execution.id == fired.execution_id
