"""Workers as processes: they share the work, take over from dead ones, and take only what they can call."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import anyio
import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none
import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from pydantic import SecretStr

from archon_workflows.bootstrap import Application, open_application
from archon_workflows.engine.schedules import ScheduleRequest
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.model.records import ExecutionRecord, WorkerRecord
from archon_workflows.settings import Settings
from archon_workflows.storage.dispatch import SCHEMA, install_dispatch
from archon_workflows.storage.migrations import roll_back
from archon_workflows.storage.sessions import SessionLimits, open_session

ROOT = Path(__file__).parents[2]
LEDGER = ROOT / "tests" / "tool_servers" / "ledger.py"
LEASE_SECONDS = 3.0
SECONDS = 60

_driver: Any = asyncpg

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals that could be sent")


def slow(seconds: float) -> dict[str, Any]:
    return {"name": "hold", "type": "action", "tool_name": "slow", "parameters": {"seconds": seconds}}


def echo(step: str) -> dict[str, Any]:
    return {"name": step, "type": "action", "tool_name": "echo", "parameters": {"value": step}}


class Crew:
    """Starts workers on the test's database, and ends what is left of them."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._folder = folder
        self.url = database_url
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *, ledger: bool = True, **settings: str) -> subprocess.Popen[bytes]:
        servers: dict[str, Any] = {}
        if ledger:
            log = {"LEDGER": str(self._folder / "calls.jsonl")}
            servers["ledger"] = {"command": sys.executable, "args": [str(LEDGER)], "env": log}
        tools = self._folder / f"tools-{len(self._started)}.json"
        tools.write_text(json.dumps({"mcpServers": servers}))
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "ARCHON_WORKFLOWS_DATABASE_URL": self.url,
            "ARCHON_WORKFLOWS_HOME": str(self._folder),
            "ARCHON_WORKFLOWS_LEASE_SECONDS": str(LEASE_SECONDS),
            "ARCHON_WORKFLOWS_SHUTDOWN_GRACE_SECONDS": "1",
            **settings,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "archon_workflows", "worker", "--tools", str(tools)], env=environment
        )
        self._started.append(process)
        return process

    def calls(self) -> list[dict[str, Any]]:
        log = self._folder / "calls.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


@pytest.fixture
def crew(tmp_path: Path, database_url: str) -> Iterator[Crew]:
    crew = Crew(tmp_path, database_url)
    yield crew
    crew.end()


@pytest.fixture
async def desk(tmp_path: Path, database_url: str) -> AsyncGenerator[Application]:
    """An application that accepts and watches, as ``serve --no-execute`` has it."""
    settings = Settings(home=tmp_path, database_url=SecretStr(database_url))
    async with open_application(settings, execute=False) as opened:
        yield opened


async def saved(desk: Application, name: str, *steps: dict[str, Any]) -> str:
    await desk.templates.create({"name": name, "steps": list(steps)})
    return name


async def submitted(desk: Application, workflow: str) -> ExecutionRecord:
    return (await desk.executions.start(RunRequest(workflow=workflow))).execution


async def ended(desk: Application, execution: ExecutionRecord) -> ExecutionRecord:
    return await desk.executions.wait(execution.id, seconds=SECONDS)


async def living(desk: Application, count: int) -> tuple[WorkerRecord, ...]:
    with anyio.fail_after(SECONDS):
        while len(workers := await desk.repository.list_workers()) != count:  # noqa: ASYNC110 - other processes
            await anyio.sleep(0.05)
    return workers


async def owner_of(desk: Application, execution: ExecutionRecord, *, but: str | None = None) -> str:
    """Return who advances the execution, once it has come to its first call."""
    with anyio.fail_after(SECONDS):
        while True:
            row = await desk.executions.read(execution.id)
            if row.status == "running" and row.owner_id not in (None, but):
                assert row.owner_id is not None
                return row.owner_id
            await anyio.sleep(0.02)


async def at_step(desk: Application, execution: ExecutionRecord, index: int) -> None:
    """Return once everything before the top-level step of that index is recorded."""
    with anyio.fail_after(SECONDS):
        while (await desk.executions.read(execution.id)).current_step_index < index:  # noqa: ASYNC110 - other processes
            await anyio.sleep(0.02)


def process_of(owner_id: str) -> int:
    return int(owner_id.split(":")[1])


async def test_workers_share_what_a_desk_accepts(crew: Crew, desk: Application) -> None:
    crew.start(ARCHON_WORKFLOWS_MAX_CONCURRENT_EXECUTIONS="6")
    crew.start(ARCHON_WORKFLOWS_MAX_CONCURRENT_EXECUTIONS="6")
    await living(desk, 2)
    workflow = await saved(desk, "holds", slow(3))
    started = [await submitted(desk, workflow) for _ in range(12)]
    owners = {await owner_of(desk, one) for one in started}
    results = [await ended(desk, one) for one in started]
    assert {one.status for one in results} == {"completed"}
    assert len(crew.calls()) == 12
    assert len(owners) == 2


async def test_a_killed_workers_execution_is_taken_over_within_the_lease(
    crew: Crew, desk: Application
) -> None:
    crew.start()
    crew.start()
    await living(desk, 2)
    execution = await submitted(desk, await saved(desk, "holds", echo("first"), slow(4)))
    await at_step(desk, execution, 1)
    victim = await owner_of(desk, execution)
    os.kill(process_of(victim), signal.SIGKILL)
    with anyio.fail_after(SECONDS):
        killed_at = anyio.current_time()
        await owner_of(desk, execution, but=victim)
        took = anyio.current_time() - killed_at
    print(f"taken over after {took:.2f} s with a lease of {LEASE_SECONDS} s")  # noqa: T201 - a figure to read
    done = await ended(desk, execution)
    assert done.status == "completed"
    assert [call["tool"] for call in crew.calls()].count("echo") == 1


async def test_a_frozen_worker_that_wakes_changes_nothing(crew: Crew, desk: Application) -> None:
    crew.start()
    crew.start()
    await living(desk, 2)
    execution = await submitted(desk, await saved(desk, "holds", slow(2), echo("last")))
    frozen = await owner_of(desk, execution)
    os.kill(process_of(frozen), signal.SIGSTOP)
    other = await owner_of(desk, execution, but=frozen)
    os.kill(process_of(frozen), signal.SIGCONT)
    done = await ended(desk, execution)
    assert (done.status, done.fencing_token) == ("completed", 2)
    assert process_of(other) != process_of(frozen)
    assert [call["tool"] for call in crew.calls()].count("echo") == 1


async def test_a_worker_that_is_told_to_stop_hands_over_at_once(crew: Crew, desk: Application) -> None:
    crew.start(ARCHON_WORKFLOWS_LEASE_SECONDS="120")
    execution = await submitted(desk, await saved(desk, "holds", slow(6)))
    owner = await owner_of(desk, execution)
    crew.start(ARCHON_WORKFLOWS_LEASE_SECONDS="120")
    await living(desk, 2)
    os.kill(process_of(owner), signal.SIGTERM)
    await owner_of(desk, execution, but=owner)
    assert (await ended(desk, execution)).status == "completed"
    await living(desk, 1)


async def test_an_execution_goes_to_the_worker_that_has_its_tools(crew: Crew, desk: Application) -> None:
    crew.start(ledger=False)
    await living(desk, 1)
    execution = await submitted(desk, await saved(desk, "calls", echo("only")))
    prospect = await desk.executions.read_prospect(execution.id)
    assert prospect.obstacle is not None
    assert "No worker offers 'echo'" in prospect.obstacle
    crew.start()
    assert (await ended(desk, execution)).status == "completed"


async def test_a_worker_takes_no_more_than_its_share(crew: Crew, desk: Application) -> None:
    crew.start(ARCHON_WORKFLOWS_MAX_CONCURRENT_EXECUTIONS="2")
    workflow = await saved(desk, "holds", slow(0.3))
    started = [await submitted(desk, workflow) for _ in range(8)]
    results = [await ended(desk, one) for one in started]
    assert {one.status for one in results} == {"completed"}
    spans = [(one.started_at, one.completed_at) for one in results if one.started_at and one.completed_at]
    at_once = max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans)
    assert at_once <= 2


async def test_a_worker_takes_no_more_in_a_second_than_it_may(crew: Crew, desk: Application) -> None:
    workflow = await saved(desk, "calls", echo("only"))
    waiting = [await submitted(desk, workflow) for _ in range(9)]
    crew.start(ARCHON_WORKFLOWS_MAX_STARTS_PER_SECOND="4")
    results = [await ended(desk, one) for one in waiting]
    assert {one.status for one in results} == {"completed"}
    begun = sorted(one.started_at for one in results if one.started_at is not None)
    took = (begun[-1] - begun[0]).total_seconds()
    assert took > 1.5  # eight more after the first, a quarter of a second each


async def test_urgent_executions_are_taken_first(crew: Crew, desk: Application) -> None:
    workflow = await saved(desk, "calls", echo("only"))
    requests = [RunRequest(workflow=workflow, priority=priority) for priority in (0, 0, 5, 0, 9)]
    waiting = [(await desk.executions.start(one)).execution for one in requests]
    crew.start(ARCHON_WORKFLOWS_MAX_CONCURRENT_EXECUTIONS="2")
    results = [await ended(desk, one) for one in waiting]
    begun = sorted(results, key=lambda one: str(one.started_at))
    assert {one.priority for one in begun[:2]} == {9, 5}


async def test_a_due_schedule_is_a_job_that_one_worker_does(crew: Crew, desk: Application) -> None:
    crew.start()
    crew.start()
    await living(desk, 2)
    request = ScheduleRequest(workflow=await saved(desk, "calls", echo("only")), cron="0 3 * * *")
    made = (await desk.schedules.save(request)).record
    for count in range(1, 4):
        await desk.repository.save_schedule(replace(made, next_due_at=datetime.now(UTC)))
        with anyio.fail_after(SECONDS):
            while (acted := (await desk.schedules.read("calls")).record).started_count < count:  # noqa: ASYNC110 - other processes
                await anyio.sleep(0.05)
        execution = await desk.executions.wait(acted.last_execution_id or UUID(int=0), seconds=SECONDS)
        assert (execution.status, execution.triggered_by) == ("completed", "schedule:calls")
    assert len(crew.calls()) == 3
    session = await open_session(crew.url, SessionLimits(application_name="onlooker"))
    query = "select count(*) from archon_workflow_dispatch.pgqueuer_log where entrypoint = 'schedule'"
    assert await session.fetchval(query) >= 3
    session.terminate()


async def test_children_run_on_the_workers_too(crew: Crew, desk: Application) -> None:
    crew.start(ARCHON_WORKFLOWS_MAX_CONCURRENT_EXECUTIONS="2")
    await saved(desk, "child", echo("inner"))
    link = {"name": "link", "type": "workflow_link", "workflow_name": "child"}
    started = [await submitted(desk, await saved(desk, f"parent_{n}", link)) for n in range(4)]
    assert {(await ended(desk, one)).status for one in started} == {"completed"}


async def test_what_is_accepted_starts_within_milliseconds(crew: Crew, desk: Application) -> None:
    crew.start()
    workflow = await saved(desk, "calls", {"name": "a", "type": "condition", "condition": True})
    await ended(desk, await submitted(desk, workflow))
    waits = [await ended(desk, await submitted(desk, workflow)) for _ in range(20)]
    assert {one.status for one in waits} == {"completed"}
    delays = [(one.completed_at - one.created_at).total_seconds() for one in waits if one.completed_at]
    figures = f"median {median(delays) * 1000:.1f} ms, worst {max(delays) * 1000:.1f} ms"
    print(f"from accepted to done: {figures}")  # noqa: T201 - a figure to read
    assert len(delays) == 20


async def test_a_worker_comes_back_when_its_dispatch_is_cut(
    crew: Crew, desk: Application, database_url: str
) -> None:
    crew.start()
    under_way = await submitted(desk, await saved(desk, "holds", slow(2), echo("last")))
    await owner_of(desk, under_way)
    connection = await _driver.connect(database_url)
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and application_name = 'archon-workflows dispatch'"
    )
    await connection.close()
    later = await submitted(desk, "holds")
    assert [(await ended(desk, one)).status for one in (under_way, later)] == ["completed", "completed"]
    assert [call["tool"] for call in crew.calls()].count("slow") == 2


async def test_a_server_that_does_not_execute_answers_with_what_a_worker_did(
    crew: Crew, desk: Application, database_url: str, tmp_path: Path
) -> None:
    await saved(desk, "calls", echo("only"))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "ARCHON_WORKFLOWS_DATABASE_URL": database_url,
        "ARCHON_WORKFLOWS_HOME": str(tmp_path),
    }
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "archon_workflows", "serve", "--no-execute"], env=environment
    )
    async with Client(server) as client:
        alone = await client.call_tool("run_workflow", {"workflow": "calls", "wait_seconds": 0.5})
        assert "No process that advances executions is alive" in str(alone.structured_content)
        crew.start()
        answer = await client.call_tool("run_workflow", {"workflow": "calls", "wait_seconds": 45})
    assert answer.structured_content is not None
    assert answer.structured_content["status"] == "completed"


async def test_the_tables_of_the_dispatch_are_made_by_many_at_once_and_rolled_back(database_url: str) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(install_dispatch, database_url)
    connection = await _driver.connect(database_url)
    try:
        exists = "select to_regnamespace($1) is not null"
        assert await connection.fetchval(exists, SCHEMA)
        await roll_back(database_url)
        assert not await connection.fetchval(exists, SCHEMA)
    finally:
        await connection.close()


def test_a_worker_on_an_api_alone_says_what_it_needs(tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "ARCHON_WORKFLOWS_HOME": str(tmp_path),
        "SUPABASE_URL": "http://127.0.0.1:9",
        "SUPABASE_SERVICE_KEY": "sb_secret_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    }
    done = subprocess.run(
        [sys.executable, "-m", "archon_workflows", "worker"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 3
    assert "ARCHON_WORKFLOWS_DATABASE_URL" in done.stderr
