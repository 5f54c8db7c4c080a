"""Schedules by the whole application: what is due starts by itself, once, and says where it came from."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from applications import Opener, action, save

from archon_workflows.bootstrap import Application
from archon_workflows.engine.schedules import ScheduleRequest
from archon_workflows.errors import Conflict, InvalidParameters, InvalidRequest, NotFound, WorkflowError
from archon_workflows.model.records import ExecutionFilter, ExecutionRecord
from archon_workflows.model.schedules import ScheduleFilter, ScheduleRecord
from archon_workflows.storage.callers import CallersRepository
from archon_workflows.storage.sessions import SessionLimits, open_session

GREETING = {"text": {"type": "string", "default": "hello"}}


async def greets(application: Application, **fields: Any) -> None:
    await save(
        application,
        "greets",
        action("greet", "echo", value="{{ workflow.parameters.text }} {{ context.schedule.name }}"),
        parameters=GREETING,
        **fields,
    )


async def scheduled(application: Application, **request: Any) -> ScheduleRecord:
    chosen: dict[str, Any] = {"workflow": "greets", "cron": "0 3 * * *", **request}
    return (await application.schedules.save(ScheduleRequest(**chosen))).record


async def due(application: Application, record: ScheduleRecord, ago: timedelta = timedelta()) -> datetime:
    """Turn the schedule's clock: what comes next was due a while ago."""
    at = datetime.now(UTC) - ago
    await application.repository.save_schedule(replace(record, next_due_at=at))
    return at


async def fired(application: Application, count: int = 1) -> ScheduleRecord:
    """Return the schedule once that many of its due times are over, whatever became of them."""
    with anyio.fail_after(30):
        while True:
            record = await read(application)
            acted = record.started_count + record.overlapped_count + record.refused_count
            if acted + (record.last_outcome == "missed") >= count:
                return record
            await anyio.sleep(0.05)


async def read(application: Application) -> ScheduleRecord:
    page = await application.repository.list_schedules(ScheduleFilter(), offset=0, limit=10)
    return page.records[0]


async def executions(application: Application) -> tuple[ExecutionRecord, ...]:
    return (await application.executions.list(ExecutionFilter(), offset=0, limit=100)).records


async def test_a_due_schedule_starts_an_execution_that_says_where_it_came_from(
    application: Application,
) -> None:
    await greets(application)
    record = await scheduled(application, name="mornings", time_zone="Asia/Tokyo", parameters={"text": "hi"})
    at = await due(application, record)
    record = await fired(application)
    assert record.last_execution_id is not None
    execution = await application.executions.wait(record.last_execution_id, seconds=20)
    assert (execution.status, execution.output_data) == ("completed", {"value": "hi mornings"})
    assert execution.triggered_by == "schedule:mornings"
    assert execution.trigger_context == {
        "schedule": {
            "id": str(record.id),
            "name": "mornings",
            "cron": "0 3 * * *",
            "time_zone": "Asia/Tokyo",
            "due_at": at.isoformat(),
            "missed": 0,
        }
    }
    assert record.next_due_at > datetime.now(UTC)
    assert record.next_due_at.hour == 18  # three o'clock in Tokyo


async def test_two_applications_start_a_due_time_once(opener: Opener) -> None:
    async with opener() as one, opener() as two:
        await greets(one)
        record = await scheduled(one)
        for count in range(1, 6):
            await due(one, record, timedelta(seconds=1))
            after = await fired(two, count)
            assert after.last_execution_id is not None
            await two.executions.wait(after.last_execution_id, seconds=20)
        found = await executions(two)
    assert len(found) == len({one.idempotency_key for one in found}) == 5


@pytest.mark.parametrize(
    ("on_missed", "started", "missed"), [("skip", 0, 3), ("run_once", 1, 2), ("run_all", 3, 0)]
)
async def test_what_was_missed_while_nobody_was_there(
    opener: Opener, on_missed: str, started: int, missed: int
) -> None:
    async with opener(execute=False) as desk:
        await greets(desk)
        record = await scheduled(desk, cron="0 0 1 1 *", on_missed=on_missed, on_overlap="allow")
        this_year = record.next_due_at.replace(year=record.next_due_at.year - 1)
        before = this_year.replace(year=this_year.year - 2)
        await desk.repository.save_schedule(replace(record, next_due_at=before))
        async with opener():
            record = await fired(desk, max(started, 1))
        assert (record.started_count, record.missed_count) == (started, missed)
        assert record.next_due_at.year == this_year.year + 1
        assert len(await executions(desk)) == started


async def test_a_paused_schedule_starts_nothing_and_makes_up_for_nothing(application: Application) -> None:
    await greets(application)
    record = await scheduled(application)
    paused = await application.schedules.pause("greets")
    assert (paused.record.is_paused, paused.coming) == (True, ())
    await due(application, paused.record, timedelta(days=3))
    assert (await application.repository.read_due_schedules(limit=10)).due == ()
    resumed = await application.schedules.resume(str(record.id))
    assert resumed.record.next_due_at > datetime.now(UTC)
    assert len(resumed.coming) == 3
    assert await executions(application) == ()


async def test_a_template_that_cannot_be_run_any_more_is_said_and_does_not_stop_the_schedule(
    application: Application,
) -> None:
    await greets(application)
    record = await scheduled(application, parameters={"text": "hi"})
    await application.templates.update({"parameters": {"text": {"type": "integer"}}}, name="greets")
    await due(application, record)
    refused = await fired(application)
    assert refused.last_outcome == "refused"
    assert refused.last_error is not None
    assert refused.last_error["code"] == "invalid_parameters"
    assert refused.next_due_at > datetime.now(UTC)
    await application.templates.update({"parameters": GREETING}, name="greets")
    await due(application, record)
    assert (await fired(application, 2)).last_outcome == "started"


async def test_a_full_template_refuses_its_schedule_too(application: Application) -> None:
    step = action("greet", "slow", seconds=600)
    await save(application, "greets", step, max_concurrent_executions=1, on_limit="reject")
    record = await scheduled(application, on_overlap="allow")
    await due(application, record)
    await fired(application)
    await due(application, record)
    refused = await fired(application, 2)
    assert refused.last_error is not None
    assert refused.last_error["code"] == "too_many_executions"
    assert len(await executions(application)) == 1


@pytest.mark.parametrize(
    ("request_", "error", "code"),
    [
        ({"workflow": "greet"}, NotFound, "template_not_found"),
        ({"version": "9.9.9"}, NotFound, "version_not_found"),
        ({"parameters": {"text": 3}}, InvalidParameters, "invalid_parameters"),
        ({"parameters": {"txt": "x"}}, InvalidParameters, "invalid_parameters"),
        ({"cron": "every day"}, InvalidRequest, "invalid_cron"),
        ({"time_zone": "Mars"}, InvalidRequest, "invalid_time_zone"),
        ({"workflow": "sketch"}, Conflict, "draft_not_allowed"),
        (
            {"workflow": "login", "parameters": {"password": "hunter2"}},
            InvalidParameters,
            "secret_in_schedule",
        ),
    ],
)
async def test_what_could_not_run_is_not_scheduled(
    application: Application, request_: dict[str, Any], error: type[WorkflowError], code: str
) -> None:
    await greets(application)
    await save(application, "sketch", action("greet", "echo", value="x"), status="draft")
    secret = {"password": {"type": "string", "secret": True, "required": False}}
    await save(application, "login", action("greet", "echo", value="x"), parameters=secret)
    with pytest.raises(error) as refused:
        await scheduled(application, **request_)
    assert refused.value.code == code
    assert "hunter2" not in str(refused.value.as_json())
    assert (await application.schedules.list(ScheduleFilter(), offset=0, limit=10)).total == 0


async def test_a_schedule_is_its_callers_own_and_runs_in_their_name(application: Application) -> None:
    anna, bert = application.seen_by("anna"), application.seen_by("bert")
    await anna.templates.create(
        {"name": "greets", "is_public": False, "steps": [action("greet", "echo", value="x")]}
    )
    record = await scheduled(anna)
    assert (record.caller, record.created_by) == ("anna", "anna")
    assert (await bert.schedules.list(ScheduleFilter(), offset=0, limit=10)).total == 0
    for verb in (bert.schedules.read, bert.schedules.pause, bert.schedules.resume, bert.schedules.remove):
        for which in ("greets", str(record.id)):
            with pytest.raises(NotFound) as unknown:
                await verb(which)
            assert unknown.value.code == "schedule_not_found"
            assert "anna" not in str(unknown.value.as_json())
    with pytest.raises(NotFound):
        await CallersRepository(application.repository, "bert").delete_schedule(record.id)
    with pytest.raises(NotFound):
        await scheduled(bert)
    await due(application, record)
    started = (await fired(application)).last_execution_id
    assert started is not None
    execution = await anna.executions.wait(started, seconds=20)
    assert (execution.status, execution.caller, execution.triggered_by) == (
        "completed",
        "anna",
        "schedule:greets",
    )
    with pytest.raises(NotFound):
        await bert.executions.read(started)
    await anna.schedules.remove("greets")


async def test_a_name_that_several_callers_use_is_asked_for_by_id(application: Application) -> None:
    await greets(application)
    for caller in ("anna", "bert"):
        await scheduled(application.seen_by(caller))
    with pytest.raises(Conflict) as several:
        await application.schedules.pause("greets")
    assert several.value.code == "several_schedules"
    record = await read(application)
    assert (await application.schedules.pause(str(record.id))).record.id == record.id


async def test_schedules_go_on_after_the_database_was_away(
    application: Application, database_url: str
) -> None:
    await greets(application)
    await scheduled(application)
    session = await open_session(database_url, SessionLimits(application_name="saboteur"))
    await session.execute("update public.archon_workflow_schedules set next_due_at = clock_timestamp()")
    await session.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )
    with anyio.fail_after(30):
        while not await session.fetchval("select started_count from public.archon_workflow_schedules"):  # noqa: ASYNC110 - another session
            await anyio.sleep(0.05)
    session.terminate()
