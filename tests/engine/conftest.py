"""The wired application on a database of the test's own, with a tool server in the process."""

import json
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest

from archon_workflows.bootstrap import Application, open_application
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.model.records import ExecutionRecord, StepRecord
from archon_workflows.settings import Settings

sys.path.insert(0, str(Path(__file__).parent.parent / "tool_servers"))

from ledger import build

Opener = Callable[..., AbstractAsyncContextManager[Application]]


@pytest.fixture
def ledger_path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


@pytest.fixture
def opener(database_url: str, tmp_path: Path, ledger_path: Path) -> Opener:
    """Opens applications, as many as a test wants, on one database and one ledger."""

    def open_one(*, execute: bool = True, **settings: Any) -> AbstractAsyncContextManager[Application]:
        chosen = {"home": tmp_path, "database_url": database_url, "shutdown_grace_seconds": 1, **settings}
        return open_application(
            Settings(**chosen), execute=execute, servers={"ledger": build(ledger_path)}
        )

    return open_one


@pytest.fixture
async def application(opener: Opener) -> AsyncGenerator[Application]:
    async with opener() as opened:
        yield opened


def action(step: str, tool: str, /, **parameters: Any) -> dict[str, Any]:
    return {"name": step, "type": "action", "tool_name": tool, "parameters": parameters}


async def save(application: Application, name: str, *steps: dict[str, Any], **fields: Any) -> None:
    await application.templates.create({"name": name, "steps": list(steps), **fields})


async def run(application: Application, workflow: str, seconds: float = 20, **request: Any) -> ExecutionRecord:
    started = await application.executions.start(RunRequest(workflow=workflow, **request))
    return await application.executions.wait(started.execution.id, seconds=seconds)


async def steps_of(application: Application, execution: ExecutionRecord) -> dict[str, StepRecord]:
    page = await application.executions.read_steps(execution.id)
    return {step.step_path: step for step in page.records}


def calls_in(ledger_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ledger_path.read_text().splitlines()] if ledger_path.exists() else []


async def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    with anyio.fail_after(seconds):
        while not holds():
            await anyio.sleep(0.01)
