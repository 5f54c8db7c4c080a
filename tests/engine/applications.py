"""What tests of the engine say to an application and ask of it."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio

from archon_workflows.bootstrap import Application
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.model.records import ExecutionRecord, StepRecord

Opener = Callable[..., AbstractAsyncContextManager[Application]]


def action(step: str, tool: str, /, **parameters: Any) -> dict[str, Any]:
    return {"name": step, "type": "action", "tool_name": tool, "parameters": parameters}


async def save(application: Application, name: str, *steps: dict[str, Any], **fields: Any) -> None:
    await application.templates.create({"name": name, "steps": list(steps), **fields})


async def run(
    application: Application, workflow: str, seconds: float = 20, **request: Any
) -> ExecutionRecord:
    started = await application.executions.start(RunRequest(workflow=workflow, **request))
    return await application.executions.wait(started.execution.id, seconds=seconds)


async def steps_of(application: Application, execution: ExecutionRecord) -> dict[str, StepRecord]:
    page = await application.executions.read_steps(execution.id)
    return {step.step_path: step for step in page.records}


def calls_in(ledger_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ledger_path.read_text().splitlines()] if ledger_path.exists() else []


async def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Look again and again: what is waited for happens in another process."""
    with anyio.fail_after(seconds):
        while not holds():  # noqa: ASYNC110 - no event reaches this process
            await anyio.sleep(0.01)
