"""Owners come and go: killed, frozen, stopped, replaced; the execution goes on from what is recorded."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import psutil
import pytest
from applications import Opener, action, calls_in, save, steps_of, until

from archon_workflows.bootstrap import Application
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.model.records import Claim, ControlRequest, ExecutionFilter, ExecutionRecord
from archon_workflows.storage.direct import DirectRepository

LEASE_SECONDS = 0.5
HERE = Path(__file__).parent


class Processes:
    """Starts engine processes on the test's database; kills what is left of them at the end."""

    def __init__(self, folder: Path, database_url: str, ledger_path: Path) -> None:
        self._folder = folder
        self._environment = {
            **os.environ,
            "ARCHON_WORKFLOWS_DATABASE_URL": database_url,
            "ARCHON_WORKFLOWS_LEASE_SECONDS": str(LEASE_SECONDS),
            "ARCHON_WORKFLOWS_SHUTDOWN_GRACE_SECONDS": "2",
        }
        self._started: list[subprocess.Popen[str]] = []
        ledger = {
            "command": sys.executable,
            "args": [str(HERE.parent / "tool_servers" / "ledger.py")],
            "env": {"LEDGER": str(ledger_path)},
        }
        self._tools = folder / "tools.json"
        self._tools.write_text(json.dumps({"mcpServers": {"ledger": ledger}}))

    def start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "engine_process.py"), str(self._folder), str(self._tools)],
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def processes(tmp_path: Path, database_url: str, ledger_path: Path) -> Iterator[Processes]:
    started = Processes(tmp_path, database_url, ledger_path)
    yield started
    started.end()


@pytest.fixture
async def watching(opener: Opener) -> AsyncGenerator[Application]:
    """An application that stores and watches executions and leaves them to others."""
    async with opener(execute=False) as opened:
        yield opened


async def ended(application: Application, execution_id: UUID, seconds: float = 30) -> ExecutionRecord:
    return await application.executions.wait(execution_id, seconds=seconds)


async def test_killed_ten_times_in_a_row_each_result_is_recorded_once(
    processes: Processes, watching: Application, ledger_path: Path
) -> None:
    names = [f"s{number}" for number in range(20)]
    await save(watching, "twenty", *(action(name, "slow", seconds=0.05) for name in names))
    started = await watching.executions.start(RunRequest(workflow="twenty"))

    for kill in range(10):
        process = processes.start()
        seen = len(calls_in(ledger_path))
        await until(lambda seen=seen: len(calls_in(ledger_path)) >= seen + 2)
        process.kill()
        process.wait()
        assert (await watching.executions.read(started.execution.id)).status == "running", f"kill {kill}"
    processes.start()
    execution = await ended(watching, started.execution.id)

    assert execution.status == "completed", execution.error_message
    rows = await steps_of(watching, execution)
    assert {name: row.status for name, row in rows.items()} == dict.fromkeys(names, "completed")
    assert all(row.attempt_number == 1 for row in rows.values())
    calls = Counter(call["key"] for call in calls_in(ledger_path) if call["tool"] == "slow")
    reruns = {key: count - 1 for key, count in calls.items() if count > 1}
    assert set(calls) == {f"{execution.id}/{name}" for name in names}
    assert sum(reruns.values()) == sum(row.interruptions for row in rows.values()) <= 10


async def test_a_killed_owner_leaves_no_tool_server_behind(
    processes: Processes, watching: Application, ledger_path: Path
) -> None:
    await save(watching, "slow", action("a", "slow", seconds=60))
    await watching.executions.start(RunRequest(workflow="slow"))
    process = processes.start()
    await until(lambda: len(calls_in(ledger_path)) == 1)
    tool_server = psutil.Process(calls_in(ledger_path)[0]["pid"])
    process.kill()
    process.wait()
    await until(lambda: not tool_server.is_running() or tool_server.status() == psutil.STATUS_ZOMBIE)


async def test_a_frozen_owner_is_replaced_and_its_late_write_is_refused(
    processes: Processes, watching: Application, ledger_path: Path
) -> None:
    await save(watching, "steps", action("a", "slow", seconds=0.5), action("b", "say", text="done"))
    started = await watching.executions.start(RunRequest(workflow="steps"))
    frozen = processes.start()
    await until(lambda: len(calls_in(ledger_path)) == 1)
    frozen.send_signal(signal.SIGSTOP)
    processes.start()
    execution = await ended(watching, started.execution.id)
    written = await steps_of(watching, execution)

    frozen.send_signal(signal.SIGCONT)
    frozen.send_signal(signal.SIGTERM)
    frozen.wait(timeout=20)
    assert execution.status == "completed"
    assert await steps_of(watching, execution) == written
    assert [call["tool"] for call in calls_in(ledger_path)].count("say") == 1


async def test_a_clean_stop_lets_the_running_call_finish_and_hands_over_at_once(
    opener: Opener, ledger_path: Path
) -> None:
    async with opener(lease_seconds=300) as first:
        await save(first, "steps", action("a", "slow", seconds=0.5), action("b", "say", text="done"))
        started = await first.executions.start(RunRequest(workflow="steps"))
        await until(lambda: len(calls_in(ledger_path)) == 1)
    async with opener(lease_seconds=300) as second:
        execution = await ended(second, started.execution.id, seconds=10)
    assert execution.status == "completed"
    assert [call["tool"] for call in calls_in(ledger_path)] == ["slow", "say"]


async def test_a_child_whose_owner_died_is_taken_over_by_its_parents_owner_though_it_has_no_room(
    opener: Opener, watching: Application
) -> None:
    async with opener(shutdown_grace_seconds=0) as first:
        await save(first, "child", action("a", "slow", seconds=0.5))
        link = {"name": "down", "type": "workflow_link", "workflow_name": "child"}
        await save(first, "parent", link)
        parent = (await first.executions.start(RunRequest(workflow="parent"))).execution
        children = ExecutionFilter(parent_execution_id=parent.id, statuses=("running",))
        while not (found := await first.executions.list(children, offset=0, limit=1)).records:
            await first.executions.wait(parent.id, seconds=0.1)
    [child] = found.records
    assert await watching.repository.claim("a dying one", lease_seconds=1, execution_id=child.id)
    async with opener(max_concurrent_executions=1) as second:
        assert (await ended(second, parent.id)).status == "completed"


async def test_a_destructive_call_in_doubt_waits_for_a_word_across_restarts(
    opener: Opener, ledger_path: Path
) -> None:
    @asynccontextmanager
    async def interrupted() -> AsyncGenerator[UUID]:
        async with opener(shutdown_grace_seconds=0) as first:
            steps = (
                action("a", "destroy_slowly", target="disk", seconds=60),
                action("b", "say", text="done"),
            )
            await save(first, "risky", *steps)
            started = await first.executions.start(RunRequest(workflow="risky"))
            await until(lambda: len(calls_in(ledger_path)) == 1)
            yield started.execution.id

    async with interrupted() as execution_id:
        pass
    async with opener() as second:
        execution = await ended(second, execution_id)
        assert (execution.status, execution.pause_reason) == ("paused", "in_doubt")
        assert (await steps_of(second, execution))["a"].awaiting == "resolution"
    async with opener() as third:
        word: dict[str, Any] = {"resolution": "succeeded", "output": {"destroyed": "disk"}}
        await third.executions.control(execution_id, ControlRequest(id=uuid4(), action="resolve", **word))
        execution = await ended(third, execution_id)
    assert (execution.status, execution.output_data) == ("completed", "done")
    assert [call["tool"] for call in calls_in(ledger_path)] == ["destroy_slowly", "say"]


async def test_an_approval_waits_across_restarts(opener: Opener) -> None:
    async with opener() as first:
        await save(first, "guarded", action("a", "say", text="done") | {"approval": {"message": "Go?"}})
        started = await first.executions.start(RunRequest(workflow="guarded"))
        execution = await ended(first, started.execution.id)
        assert (execution.status, execution.pause_reason, execution.owner_id) == ("paused", "approval", None)
    async with opener() as second:
        approval = ControlRequest(id=uuid4(), action="approve", requested_by="anna")
        await second.executions.control(execution.id, approval)
        assert (await ended(second, execution.id)).status == "completed"


async def test_a_long_timer_goes_on_after_a_restart(opener: Opener) -> None:
    async with opener() as first:
        step = action("a", "say", text="done") | {"delay_seconds": 24 * 3600}
        await save(first, "tomorrow", step, timeout_minutes=2 * 24 * 60)
        started = await first.executions.start(RunRequest(workflow="tomorrow"))
        due = None
        while due is None:
            rows = await steps_of(first, started.execution)
            due = rows["a"].wake_at if rows else None
    async with opener() as second:
        await second.repository.read_execution(started.execution.id)
        row = (await steps_of(second, started.execution))["a"]
        assert (row.status, row.wake_at) == ("pending", due)


@pytest.mark.parametrize("restart", [False, True], ids=["same process", "after a restart"])
async def test_pause_resume_retry_work_at_any_time(
    opener: Opener, ledger_path: Path, *, restart: bool
) -> None:
    async def control(
        application: Application, execution_id: UUID, action: Any, **fields: Any
    ) -> ExecutionRecord:
        request = ControlRequest(id=uuid4(), action=action, **fields)
        return await application.executions.control(execution_id, request)

    first = opener()
    application = await first.__aenter__()
    steps = (action("a", "slow", seconds=0.3), action("b", "flaky", name="x", failures=1))
    await save(application, "steps", *steps)
    started = await application.executions.start(RunRequest(workflow="steps"))
    await until(lambda: len(calls_in(ledger_path)) == 1)
    await control(application, started.execution.id, "pause", requested_by="anna")
    execution = await ended(application, started.execution.id)
    assert (execution.status, execution.pause_reason) == ("paused", "requested")
    if restart:
        await first.__aexit__(None, None, None)
        first = opener()
        application = await first.__aenter__()
    await control(application, execution.id, "resume")
    execution = await ended(application, execution.id)
    assert execution.status == "failed"

    await control(application, execution.id, "retry", requested_by="ben")
    execution = await ended(application, execution.id)
    assert execution.status == "completed" or restart
    await first.__aexit__(None, None, None)
    assert [call["tool"] for call in calls_in(ledger_path)] == ["slow", "flaky", "flaky"]


async def test_a_claim_whose_answer_comes_after_the_hand_over_is_given_back(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, answered = DirectRepository.claim, anyio.Event()

    async def answers_late(repository: DirectRepository, owner_id: str, **which: Any) -> tuple[Claim, ...]:
        claims = await claim(repository, owner_id, **which)
        if claims:
            answered.set()
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                return claims  # what was on its way arrives just then
        return claims

    async with opener(execute=False) as desk:
        await save(desk, "says", action("a", "say", text="x"))
        started = await desk.executions.start(RunRequest(workflow="says"))
        monkeypatch.setattr(DirectRepository, "claim", answers_late)
        with anyio.fail_after(30):
            async with opener():
                await answered.wait()
        execution = await desk.executions.read(started.execution.id)
        assert (execution.status, execution.owner_id, execution.fencing_token) == ("pending", None, 1)
