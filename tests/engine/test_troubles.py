"""What goes wrong around an execution: the database, tool servers, oversized values."""

import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from applications import Opener, action, calls_in, run, save, steps_of, until

from archon_workflows.bootstrap import Application, open_application
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.gateway.configuration import StdioServer
from archon_workflows.model.records import CreatedExecution, NewExecution, Taker
from archon_workflows.settings import Settings
from archon_workflows.storage.direct import DirectRepository
from archon_workflows.storage.refusals import unavailable

TOOL_SERVERS = Path(__file__).parent.parent / "tool_servers"


def ledger_process(ledger_path: Path) -> StdioServer:
    return StdioServer(
        command=sys.executable,
        args=[str(TOOL_SERVERS / "ledger.py")],
        env={"LEDGER": str(ledger_path)},
    )


def postmaster_of(home: Path) -> psutil.Process:
    (pid_file,) = home.glob("postgres/*/data/postmaster.pid")
    return psutil.Process(int(pid_file.read_text().splitlines()[0]))


async def test_a_database_that_is_killed_in_mid_run_costs_nothing(tmp_path: Path, ledger_path: Path) -> None:
    servers = {"ledger": ledger_process(ledger_path)}
    async with open_application(Settings(home=tmp_path), servers=servers) as application:
        names = [f"s{number}" for number in range(6)]
        await save(application, "six", *(action(name, "slow", seconds=0.2) for name in names))
        started = await application.executions.start(RunRequest(workflow="six"))
        await until(lambda: len(calls_in(ledger_path)) == 2)
        postmaster_of(tmp_path).kill()
        await until(lambda: len(calls_in(ledger_path)) == 6, seconds=30)
        execution = await application.executions.wait(started.execution.id, seconds=20)

        assert execution.status == "completed"
        rows = await steps_of(application, execution)
        assert {path: row.status for path, row in rows.items()} == dict.fromkeys(names, "completed")
        assert [call["tool"] for call in calls_in(ledger_path)] == ["slow"] * 6


async def test_an_answer_that_is_lost_after_a_child_was_made_for_this_process_is_given_anew(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, lost = DirectRepository.create_execution, list[UUID]()

    async def answer_lost_at_first(
        repository: DirectRepository, new: NewExecution, *, taker: Taker | None = None
    ) -> CreatedExecution:
        created = await create(repository, new, taker=taker)
        if new.parent_execution_id is not None and not lost:
            lost.append(created.id)
            raise unavailable(ConnectionResetError("the answer was lost"))
        return created

    monkeypatch.setattr(DirectRepository, "create_execution", answer_lost_at_first)
    async with opener(max_concurrent_executions=1) as application:
        await save(application, "child", action("a", "say", text="done"))
        await save(application, "parent", {"name": "down", "type": "workflow_link", "workflow_name": "child"})
        execution = await run(application, "parent")
        (child_id,) = lost
        child = await application.executions.read(child_id)
    assert (execution.status, execution.output_data) == ("completed", "done")
    assert (child.status, child.fencing_token) == ("completed", 2)


async def test_a_tool_server_that_dies_in_mid_call_is_an_outcome_and_comes_back(
    database_url: str, tmp_path: Path, ledger_path: Path
) -> None:
    settings: Any = Settings(home=tmp_path, database_url=database_url)  # type: ignore[arg-type]
    servers = {"ledger": ledger_process(ledger_path)}
    async with open_application(settings, servers=servers) as application:
        deadly = action("a", "die") | {"on_failure": "continue"}
        await save(application, "deadly", deadly, action("b", "say", text="{{ steps.a.error.code }}"))
        execution = await run(application, "deadly", seconds=30)
        assert (execution.status, execution.output_data) == ("completed", "connection")


async def test_progress_of_a_tool_reaches_its_row(application: Application) -> None:
    await save(application, "ticking", action("a", "slow", seconds=0.5, ticks=5))
    execution = await run(application, "ticking")
    progress = (await steps_of(application, execution))["a"].progress
    assert progress is not None
    assert progress["total"] == 5
    assert "tick" in progress["message"]


async def test_a_value_over_the_limit_is_stored_short_and_cannot_be_used(application: Application) -> None:
    big: dict[str, Any] = {
        "name": "big",
        "type": "loop",
        "collection": "{{ steps.n.output }}",
        "max_iterations": 2000,
    }
    big["steps"] = [action("a", "say", text="x" * 1000)]
    use = action("use", "echo", value="{{ steps.big.output }}")
    await save(application, "large", action("n", "numbers", count=1200), big, use)
    execution = await run(application, "large", seconds=60)

    assert execution.status == "failed"
    assert execution.error_details is not None
    assert execution.error_details["code"] == "payload_too_large"
    row = (await steps_of(application, execution))["big"]
    assert row.output_truncated
    marker = row.output_data["$truncated"]
    assert marker["size"] > 1_048_576
    assert len(marker["sha256"]) == 64


@pytest.mark.parametrize("parameters", [{}, {"servers": "one"}, {"servers": 3}])
async def test_a_loop_over_what_is_no_list_fails_before_its_first_item(
    application: Application, ledger_path: Path, parameters: dict[str, Any]
) -> None:
    loop: dict[str, Any] = {"name": "l", "type": "loop", "collection": "{{ workflow.parameters.servers }}"}
    loop["steps"] = [action("a", "say", text="x")]
    await save(application, "looping", loop, parameters={"servers": {"default": "text"}})
    execution = await run(application, "looping", parameters=parameters)
    assert execution.error_details is not None
    assert execution.error_details["code"] == "collection_invalid"
    assert calls_in(ledger_path) == []


async def test_a_run_over_its_time_is_failed_and_its_call_cancelled(
    application: Application, ledger_path: Path
) -> None:
    await save(application, "late", action("a", "slow", seconds=60), timeout_minutes=0.005)
    execution = await run(application, "late")
    assert execution.error_details is not None
    assert (execution.status, execution.error_details["code"]) == ("failed", "execution_timeout")
    await until(lambda: [call["tool"] for call in calls_in(ledger_path)] == ["slow", "slow_cancelled"])


async def test_other_executions_go_on_while_one_tool_hangs(opener: Opener) -> None:
    async with opener(max_concurrent_executions=10) as application:
        await save(application, "hanging", action("a", "slow", seconds=60))
        await save(application, "quick", action("a", "say", text="done"))
        for _ in range(3):
            await application.executions.start(RunRequest(workflow="hanging"))
        assert (await run(application, "quick")).status == "completed"
