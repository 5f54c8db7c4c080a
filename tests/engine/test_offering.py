"""An execution goes to a process that has its tools; tool servers are asked only when that matters."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
from applications import Opener, action, run, save

from archon_workflows.bootstrap import Application, open_application
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.model.records import ControlRequest, ExecutionRecord
from archon_workflows.settings import Settings

SECONDS = 30


def opened_without_tools(database_url: str, tmp_path: Path, *, execute: bool = True) -> Any:
    settings = Settings(home=tmp_path, database_url=database_url, shutdown_grace_seconds=1)  # pyright: ignore[reportArgumentType] - pydantic reads the text
    return open_application(settings, execute=execute)


async def submitted(application: Application, workflow: str) -> ExecutionRecord:
    return (await application.executions.start(RunRequest(workflow=workflow))).execution


async def test_what_was_left_to_others_goes_to_the_one_with_the_tools(
    opener: Opener, database_url: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        watcher = await stack.enter_async_context(opener(execute=False))
        await stack.enter_async_context(opened_without_tools(database_url, tmp_path))
        await save(watcher, "calls", action("one", "echo", value=1))
        waiting = await submitted(watcher, "calls")
        with anyio.fail_after(SECONDS):
            while (prospect := await watcher.executions.read_prospect(waiting.id)).workers != 1:  # noqa: ASYNC110 - no event reaches a watcher
                await anyio.sleep(0.02)
        assert prospect.missing_tools == ("echo",)
        assert (await watcher.executions.wait(waiting.id, seconds=2)).status == "pending"
        await stack.enter_async_context(opener())
        done = await watcher.executions.wait(waiting.id, seconds=SECONDS)
        assert done.status == "completed"


async def test_who_starts_a_run_itself_fails_it_at_an_unknown_tool(
    opener: Opener, database_url: str, tmp_path: Path
) -> None:
    async with opener(execute=False) as watcher, opened_without_tools(database_url, tmp_path) as without:
        await save(watcher, "calls", action("one", "echo", value=1))
        failed = await run(without, "calls")
        assert (failed.status, (failed.error_details or {})["code"]) == ("failed", "unknown_tool")


async def test_tool_servers_are_not_asked_while_nothing_free_needs_them(opener: Opener) -> None:
    async with opener() as application:
        await save(application, "nothing", {"name": "a", "type": "condition", "condition": True})
        assert (await run(application, "nothing")).status == "completed"
        await anyio.sleep(1.5)
        (state,) = await application.gateway.servers()
        assert (state.state, state.tool_count) == ("idle", None)


async def test_anyone_cancels_what_nobody_can_run(opener: Opener, database_url: str, tmp_path: Path) -> None:
    async with opener(execute=False) as watcher, opened_without_tools(database_url, tmp_path) as other:
        await save(watcher, "calls", action("one", "echo", value=1))
        waiting = await submitted(watcher, "calls")
        await other.executions.control(waiting.id, ControlRequest(id=uuid4(), action="cancel"))
        assert (await watcher.executions.wait(waiting.id, seconds=SECONDS)).status == "cancelled"
