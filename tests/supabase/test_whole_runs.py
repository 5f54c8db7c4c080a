"""Whole executions of the wired application on a project that is reached by URL and key alone."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from applications import action, calls_in, run, save, steps_of, until
from gateway import Cut, Mood
from ledger import build
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from supabase_projects import ANON_KEY, SECRET_KEY, Project, headers_of

from archon_workflows.bootstrap import Application, open_application
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.errors import StorageError
from archon_workflows.model.records import ControlRequest, ExecutionFilter, TemplateFilter
from archon_workflows.settings import Settings
from archon_workflows.storage.supabase import SupabaseRepository

Opener = Callable[..., AbstractAsyncContextManager[Application]]


@pytest.fixture
def ledger_path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


@pytest.fixture
def opener(project: Project, tmp_path: Path, ledger_path: Path) -> Opener:
    """Opens applications on one project and one ledger."""

    def open_one(**settings: Any) -> AbstractAsyncContextManager[Application]:
        chosen: dict[str, Any] = {
            "home": tmp_path,
            "supabase_url": project.url,
            "supabase_service_key": SecretStr(SECRET_KEY),
            "shutdown_grace_seconds": 1,
            **settings,
        }
        return open_application(Settings(**chosen), servers={"ledger": build(ledger_path)})

    return open_one


@pytest.fixture
async def application(opener: Opener) -> AsyncIterator[Application]:
    async with opener() as opened:
        yield opened


async def save_fifty(application: Application, seconds: float) -> None:
    """Save a template whose execution has 50 steps: five times an action, then four branches of two."""
    steps: list[dict[str, Any]] = []
    for group in range(5):
        branches = [
            [action(f"g{group}_b{branch}_{turn}", "slow", seconds=seconds) for turn in range(2)]
            for branch in range(4)
        ]
        steps += [
            action(f"g{group}", "slow", seconds=seconds),
            {"name": f"g{group}_all", "type": "parallel", "steps": branches},
        ]
    await save(application, "fifty", *steps)


async def assert_fifty_once(application: Application, execution_id: Any, ledger_path: Path) -> None:
    execution = await application.executions.wait(execution_id, seconds=60)
    assert execution.status == "completed", execution.error_message
    rows = await steps_of(application, execution)
    assert len(rows) == 50
    assert {row.status for row in rows.values()} == {"completed"}
    assert {row.attempt_number for row in rows.values()} == {1}
    called = Counter(call["key"] for call in calls_in(ledger_path))
    assert len(called) == 45
    assert set(called.values()) == {1}


async def test_the_repository_is_supabases_unless_a_database_url_is_set(
    opener: Opener, database_url: str
) -> None:
    async with opener() as application:
        assert isinstance(application.repository, SupabaseRepository)
    async with opener(database_url=SecretStr(database_url)) as application:
        assert not isinstance(application.repository, SupabaseRepository)


async def test_templates_runs_and_lists_work_with_url_and_key_alone(
    application: Application, ledger_path: Path
) -> None:
    await save(application, "child", action("greet", "say", text="hello"))
    link = {"name": "linked", "type": "workflow_link", "workflow_name": "child"}
    loop = {"name": "each", "type": "loop", "collection": [1, 2], "steps": [action("a", "echo", value=1)]}
    both = {"name": "both", "type": "parallel", "steps": [action("l", "say", text="l"), loop]}
    when = {"name": "when", "type": "condition", "condition": "{{ true }}", "on_true": link}
    again = {"retry_count": 1, "retry_delay_seconds": 0.01}
    await save(application, "parent", both, when, {**action("flaky", "flaky", name="x", failures=1), **again})
    execution = await run(application, "parent", triggered_by="anna")
    assert execution.status == "completed", execution.error_message
    rows = await steps_of(application, execution)
    assert rows["flaky"].attempt_number == 2
    assert rows["when.linked"].sub_workflow_execution_id is not None
    listed = await application.executions.list(ExecutionFilter(triggered_by="anna"), offset=0, limit=10)
    assert {one.workflow_name for one in listed.records} == {"parent", "child"}
    page = await application.repository.list_templates(TemplateFilter(text="parent"), offset=0, limit=10)
    assert page.total == 1
    assert len(calls_in(ledger_path)) == 6


async def test_pause_approve_cancel_and_retry_work(application: Application) -> None:
    await save(application, "waits", {**action("a", "say", text="x"), "approval": True})
    paused = await run(application, "waits")
    assert (paused.status, paused.pause_reason) == ("paused", "approval")
    approve = ControlRequest(id=uuid4(), action="approve")
    await application.executions.control(paused.id, approve)
    assert (await application.executions.wait(paused.id, seconds=10)).status == "completed"

    await save(application, "long", action("a", "slow", seconds=30))
    started = await application.executions.start(RunRequest(workflow="long"))
    cancelled = await application.executions.control(
        started.execution.id, ControlRequest(id=uuid4(), action="cancel")
    )
    assert cancelled.status == "cancelled"


async def test_another_process_takes_over_by_polling(opener: Opener, ledger_path: Path) -> None:
    async with opener(lease_seconds=1) as first:
        await save(first, "two", action("a", "slow", seconds=0.5), action("b", "say", text="b"))
        started = await first.executions.start(RunRequest(workflow="two"))
        await until(lambda: len(calls_in(ledger_path)) == 1)
    async with opener(lease_seconds=1) as second:
        ended = await second.executions.wait(started.execution.id, seconds=60)
    assert ended.status == "completed", ended.error_message


async def test_secrets_never_reach_a_row_that_everyone_reads(
    opener: Opener, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT_SECRET", "s3cret-of-the-environment")
    async with opener(secrets=("ENVIRONMENT_SECRET",)) as application:
        await save(
            application,
            "secretive",
            action("a", "say", text="{{ secrets.ENVIRONMENT_SECRET }}"),
            action("b", "echo", value="{{ workflow.parameters.password }} {{ steps.a.output }}"),
            action("c", "fail", reason="{{ workflow.parameters.password }}"),
            parameters={"password": {"type": "string", "secret": True}},
        )
        execution = await run(application, "secretive", parameters={"password": "s3cret-of-the-caller"})
    assert execution.status == "failed"
    headers = headers_of(ANON_KEY)
    for table in ("templates", "template_versions", "executions", "step_executions"):
        answer = project.http.get(project.rest(f"archon_workflow_{table}"), headers=headers)
        assert len(answer.json()) >= 1
        assert "s3cret-of" not in answer.text
    assert "***" in answer.text


async def test_a_ten_second_outage_in_the_middle_loses_and_doubles_nothing(
    application: Application, project: Project, ledger_path: Path
) -> None:
    await save_fifty(application, seconds=0.05)
    started = await application.executions.start(RunRequest(workflow="fifty"))
    await until(lambda: len(calls_in(ledger_path)) >= 15)
    project.stop_postgrest()
    await anyio.sleep(10)
    await anyio.to_thread.run_sync(project.start_postgrest)
    assert len(calls_in(ledger_path)) < 45
    await assert_fifty_once(application, started.execution.id, ledger_path)


async def test_an_outage_that_outlives_the_lease_loses_and_doubles_nothing(
    opener: Opener, project: Project, ledger_path: Path
) -> None:
    async with opener(lease_seconds=0.5) as application:
        await save_fifty(application, seconds=0.02)
        started = await application.executions.start(RunRequest(workflow="fifty"))
        await until(lambda: len(calls_in(ledger_path)) >= 15)
        project.stop_postgrest()
        await anyio.sleep(2)
        await anyio.to_thread.run_sync(project.start_postgrest)
        await assert_fifty_once(application, started.execution.id, ledger_path)


async def test_after_an_outage_owners_come_before_those_who_would_take_over(
    opener: Opener, project: Project, ledger_path: Path
) -> None:
    async with opener(lease_seconds=4) as one, opener(lease_seconds=4):
        await save_fifty(one, seconds=0.02)
        started = await one.executions.start(RunRequest(workflow="fifty"))
        await until(lambda: len(calls_in(ledger_path)) >= 15)
        project.stop_postgrest()
        await anyio.sleep(4.5)
        await anyio.to_thread.run_sync(project.start_postgrest)
        await assert_fifty_once(one, started.execution.id, ledger_path)


PAGE = "<html><h1>It is broken</h1></html>"
MOODS: dict[str, Response | Cut] = {
    "refuses the key": JSONResponse({"message": "Invalid API key"}, 401),
    "knows no function": JSONResponse({"code": "PGRST202", "message": "Could not find the function"}, 404),
    "is not allowed to": JSONResponse({"code": "42501", "message": "permission denied"}, 403),
    "is paused": HTMLResponse(PAGE, 540),
    "is asked too often": JSONResponse({"message": "slow down"}, 429, headers={"retry-after": "1"}),
    "is overloaded": HTMLResponse(PAGE, 503),
    "answers in half": Cut(),
    "answers in half as if it were all": Cut(is_framed=True),
}


class Moody:
    """Answers everything in one way, until that was done some times."""

    def __init__(self, answer: Response | Cut, times: int) -> None:
        self.answer = answer
        self.left = times

    def __call__(self, _: Request) -> Response | Cut | None:
        self.left -= 1
        return self.answer if self.left >= 0 else None


@pytest.mark.parametrize("answer", [pytest.param(answer, id=name) for name, answer in MOODS.items()])
async def test_an_execution_goes_on_when_what_was_wrong_is_mended(
    opener: Opener, project: Project, ledger_path: Path, answer: Response | Cut
) -> None:
    async with opener(lease_seconds=2) as application:
        await save_fifty(application, seconds=0.01)
        started = await application.executions.start(RunRequest(workflow="fifty"))
        await until(lambda: len(calls_in(ledger_path)) >= 10)
        mood: Mood = Moody(answer, times=6)
        project.gateway.mood = mood
        await until(partial(is_over, mood))
        await assert_fifty_once(application, started.execution.id, ledger_path)


def is_over(mood: Mood) -> bool:
    assert isinstance(mood, Moody)
    return mood.left <= 0


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"supabase_service_key": None}, "supabase_incomplete"),
        ({"supabase_url": None}, "supabase_incomplete"),
        ({"supabase_url": "http://127.0.0.1:9"}, "database_unavailable"),
        ({"supabase_service_key": SecretStr("sb_secret_of_somebody_else")}, "login_refused"),
        ({"supabase_service_key": SecretStr(ANON_KEY)}, "supabase_key_invalid"),
    ],
)
async def test_a_program_that_cannot_use_the_project_says_why_at_once(
    opener: Opener, settings: dict[str, Any], code: str
) -> None:
    with pytest.raises(StorageError) as refused:
        async with opener(**settings):
            pass
    assert refused.value.code == code
    assert refused.value.suggestion


async def test_a_project_without_the_migration_is_refused_with_the_way_to_it(
    empty_project: Project, tmp_path: Path
) -> None:
    settings = Settings(
        home=tmp_path, supabase_url=empty_project.url, supabase_service_key=SecretStr(SECRET_KEY)
    )
    with pytest.raises(StorageError, match="missing") as refused:
        async with open_application(settings):
            pass
    assert refused.value.code == "migration_missing"
    assert "SQL editor" in (refused.value.suggestion or "")
