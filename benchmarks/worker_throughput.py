"""How many executions a second one, two and four workers advance, with 64 in flight.

    python benchmarks/worker_throughput.py

Each execution has ten steps. ``busy``: the steps do nothing, so processors are what there is to share, with
Postgres and the one who asks on the same machine. ``waiting``: each step waits 50 ms for its tool server, and
a worker advances 16 executions at once, as where tools are slow and a worker's memory or licences are not
endless. The rounds of all sizes are interleaved; figures are medians with the lowest and the highest.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import anyio
from pydantic import SecretStr

from archon_workflows.bootstrap import Application, open_application
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.settings import Settings
from archon_workflows.storage.embedded.user import EmbeddedPostgres
from archon_workflows.storage.migrations import apply_migration

ROOT = Path(__file__).parents[1]
LEDGER = ROOT / "tests" / "tool_servers" / "ledger.py"
CREWS = (1, 2, 4)
ROUNDS = 3
IN_FLIGHT = 64
STEPS = 10
WORKLOADS: dict[str, tuple[dict[str, Any], int, int]] = {
    "busy": ({"type": "condition", "condition": True}, 640, 100),
    "waiting": ({"type": "action", "tool_name": "slow", "parameters": {"seconds": 0.05}}, 256, 16),
}
"""The step, how many executions, and how many a worker advances at once."""


@asynccontextmanager
async def working(crew: int, at_once: int, settings: Settings, desk: Application) -> AsyncGenerator[None]:
    """Have so many workers, each with a tool server of its own."""
    url = settings.database_url
    assert url is not None
    tools = settings.home / "tools.json"
    tools.write_text(
        json.dumps({"mcpServers": {"ledger": {"command": sys.executable, "args": [str(LEDGER)]}}})
    )
    environment = {
        **os.environ,
        "ARCHON_WORKFLOWS_DATABASE_URL": url.get_secret_value(),
        "ARCHON_WORKFLOWS_HOME": str(settings.home),
        "ARCHON_WORKFLOWS_MAX_CONCURRENT_EXECUTIONS": str(at_once),
    }
    command = [sys.executable, "-m", "archon_workflows", "worker", "--tools", str(tools)]
    workers = [subprocess.Popen(command, env=environment) for _ in range(crew)]  # noqa: ASYNC220 - before anything is timed
    try:
        while len(await desk.repository.list_workers()) != crew:  # noqa: ASYNC110 - other processes
            await anyio.sleep(0.05)
        yield
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()


async def executions_a_second(desk: Application, workflow: str, count: int) -> float:
    places = anyio.Semaphore(IN_FLIGHT)

    async def run_one() -> None:
        async with places:
            started = await desk.executions.start(RunRequest(workflow=workflow))
            ended = await desk.executions.wait(started.execution.id, seconds=600)
            assert ended.status == "completed", ended.error_message

    began = perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(run_one)
    return count / (perf_counter() - began)


async def measured(desk: Application, settings: Settings) -> dict[tuple[str, int], list[float]]:
    figures: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for crew in CREWS:
            for name, (_, count, at_once) in WORKLOADS.items():
                async with working(crew, at_once, settings, desk):
                    await executions_a_second(desk, name, IN_FLIGHT)  # lists tools, fills caches
                    figures.setdefault((name, crew), []).append(await executions_a_second(desk, name, count))
    return figures


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "server", linger_seconds=0.5)
        url = server.acquire()
        await apply_migration(url)
        settings = Settings(home=Path(folder), database_url=SecretStr(url))
        async with open_application(settings, execute=False) as desk:
            for name, (step, _, _) in WORKLOADS.items():
                steps = [{"name": f"s{number}", **step} for number in range(STEPS)]
                await desk.templates.create({"name": name, "steps": steps})
            figures = await measured(desk, settings)
        server.release()
    print("| workers | " + " | ".join(f"{name}, executions/s | ratio" for name in WORKLOADS) + " |")
    print("|---|" + "---|---|" * len(WORKLOADS))
    for crew in CREWS:
        cells: list[str] = []
        for name in WORKLOADS:
            found, alone = figures[name, crew], median(figures[name, CREWS[0]])
            cells.append(f"{median(found):.0f} ({min(found):.0f} to {max(found):.0f})")
            cells.append(f"{median(found) / alone:.2f}")
        print(f"| {crew} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    anyio.run(main)
