"""How fast executions advance on the two tenants, and how many round trips a step takes.

    PYTHONPATH=.:tests/tool_servers python benchmarks/supabase_throughput.py

Both tenants work on the same database, on this machine, with durable commits; the API is PostgREST behind the
tests' gateway, in a process of its own. Executions are of 20 actions one after the other, which call a tool
in this process. Each number is the best of three rounds.
"""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import anyio
from ledger import build
from pydantic import SecretStr

from archon_workflows.bootstrap import Application, open_application
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.settings import Settings
from benchmarks.project import ProjectProcess, running_project

STEPS = 20
ROUNDS = 3
SIZES = (1, 64)
JOURNAL = "/rest/v1/rpc/archon_workflow_record"


@dataclass(frozen=True, slots=True)
class Measured:
    """One tenant with so many executions at once."""

    steps_a_second: float
    calls_a_step: float = 0.0
    journal_calls_a_step: float = 0.0


async def measure(settings: Settings, project: ProjectProcess, size: int) -> Measured:
    async with open_application(settings, servers={"ledger": build(None)}) as application:
        rounds = [await _round(application, project, size) for _ in range(ROUNDS)]
    return max(rounds, key=lambda measured: measured.steps_a_second)


async def _round(application: Application, project: ProjectProcess, size: int) -> Measured:
    await anyio.to_thread.run_sync(project.calls)
    began = perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(size):
            tasks.start_soon(_run_one, application)
    seconds = perf_counter() - began
    calls = await anyio.to_thread.run_sync(project.calls)
    steps = size * STEPS
    return Measured(steps / seconds, sum(calls.values()) / steps, calls.get(JOURNAL, 0) / steps)


async def _run_one(application: Application) -> None:
    started = await application.executions.start(RunRequest(workflow="twenty"))
    ended = await application.executions.wait(started.execution.id, seconds=300)
    assert ended.status == "completed", ended.error_message


async def save_twenty(settings: Settings) -> None:
    steps = [{"name": f"s{number}", "type": "action", "tool_name": "echo"} for number in range(STEPS)]
    async with open_application(settings, servers={"ledger": build(None)}) as application:
        await application.templates.create({"name": "twenty", "steps": steps})


async def main() -> None:
    with tempfile.TemporaryDirectory() as home, running_project(Path(home) / "server") as project:
        own = Path(home)
        direct = Settings(home=own, database_url=SecretStr(project.addresses["database_url"]))
        api = Settings(
            home=own,
            supabase_url=project.addresses["url"],
            supabase_service_key=SecretStr(project.addresses["key"]),
        )
        await save_twenty(direct)
        print("| executions at once | direct | API | ratio | round trips a step | of these the journal's |")
        print("|---|---|---|---|---|---|")
        for size in SIZES:
            fast, slow = await measure(direct, project, size), await measure(api, project, size)
            cells = (
                f"{fast.steps_a_second:.0f} steps/s",
                f"{slow.steps_a_second:.0f} steps/s",
                f"{fast.steps_a_second / slow.steps_a_second:.1f}",
                f"{slow.calls_a_step:.2f}",
                f"{slow.journal_calls_a_step:.2f}",
            )
            print(f"| {size} | {' | '.join(cells)} |")


if __name__ == "__main__":
    logging.getLogger("httpx").setLevel(logging.WARNING)
    anyio.run(main)
