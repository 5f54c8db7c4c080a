"""Archon Workflows, wired as it is for its users: ``archon.py URL TOOLS [API_URL API_KEY]``.

With ``none`` for TOOLS steps call a gateway in this process that answers at once; with ``memory``, or the
path of a tool server file, they go through the product's own gateway to a tool server. With an API it works
through that of a Supabase project, which has the migration already.
"""

import asyncio
import gc
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import psutil
from protocol import serve, timed
from tool_server import build

from archon_workflows import bootstrap
from archon_workflows.bootstrap import Application
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.gateway.port import ToolCall, ToolEntry, ToolOffer
from archon_workflows.model.outcomes import Outcome, Succeeded
from archon_workflows.model.records import ControlRequest, ExecutionFilter, TemplateFilter
from archon_workflows.settings import Settings
from archon_workflows.storage.migrations import apply_migration

WORKS = ("steps", "items", "branches", "levels", "payload", "resume", "memory", "fill", "read")
TOOL = {"type": "action", "tool_name": "noop"}
PATIENCE_SECONDS = 900
FILL = """
with one as (
  select * from public.archon_workflow_executions where status = 'completed' order by created_at limit 1
), made as (
  insert into public.archon_workflow_executions (
    id, workflow_template_id, workflow_version_id, status, started_at, completed_at, total_steps,
    current_step_index, progress_percentage, timeout_seconds, root_execution_id, link_depth
  )
  select n.id, one.workflow_template_id, one.workflow_version_id, 'completed', now(), now(), 10, 10, 100,
    3600, n.id, 0
  from one, lateral (select gen_random_uuid() as id from generate_series(1, $1)) as n
  returning id
)
insert into public.archon_workflow_step_executions (
  workflow_execution_id, position, step_path, step_index, step_name, step_type, step_config, status,
  started_at, completed_at, tool_name, output_data
)
select made.id, s, 's' || s, s, 's' || s, 'action', '{}', 'completed', now(), now(), 'noop', '{"ok": true}'
from made, generate_series(0, 9) as s
"""


class NoTransport:
    """A gateway whose one tool answers at once."""

    async def tools(self) -> tuple[ToolEntry, ...]:
        return (ToolEntry(server="here", name="noop", input_schema={"type": "object"}),)

    def offer(self) -> ToolOffer:
        return ToolOffer(names=frozenset({"noop", "here/noop", "noop_here"}), is_complete=True)

    async def servers(self) -> tuple[()]:
        return ()

    async def resolve(self, tool_name: str) -> ToolEntry:
        del tool_name
        return (await self.tools())[0]

    async def call(self, call: ToolCall) -> Outcome:
        return Succeeded(call.arguments.get("answer", {"ok": True}))


@asynccontextmanager
async def no_transport(_settings: Settings, _servers: object = None) -> AsyncGenerator[NoTransport]:
    yield NoTransport()


class Works:
    """What can be asked for of one application."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._executions = application.executions

    async def steps(self, executions: int, in_flight: int, steps: int) -> dict[str, float]:
        chain = [{"name": f"s{number}", **TOOL, "parameters": {"n": number}} for number in range(steps)]
        await self._save(f"chain_{steps}", chain)

        async def one() -> None:
            await self._run(f"chain_{steps}")

        return await timed(one, executions=executions, in_flight=in_flight)

    async def items(self, items: int, at_once: int) -> dict[str, float]:
        loop = {"type": "loop", "collection": "{{ workflow.parameters.items }}", "max_iterations": items,
                "max_concurrency": at_once, "steps": [{"name": "one", **TOOL}]}  # fmt: skip
        parameters = {"items": {"type": "array", "required": True}}
        await self._save(f"loop_{items}_{at_once}", [{"name": "each", **loop}], parameters=parameters)
        memory = psutil.Process().memory_info().rss
        seconds = await self._run(f"loop_{items}_{at_once}", {"items": list(range(items))})
        grown = psutil.Process().memory_info().rss - memory
        return {"seconds": seconds, "megabytes": grown / 2**20}

    async def branches(self, branches: int) -> dict[str, float]:
        inside = [{"name": f"b{number}", **TOOL} for number in range(branches)]
        await self._save("branches", [{"name": "all", "type": "parallel", "steps": inside}])
        return {"seconds": await self._run("branches")}

    async def levels(self, levels: int) -> dict[str, float]:
        await self._save("level_0", [{"name": "bottom", **TOOL}])
        for level in range(1, levels):
            link = {"name": "down", "type": "workflow_link", "workflow_name": f"level_{level - 1}"}
            await self._save(f"level_{level}", [link])
        return {"seconds": await self._run(f"level_{levels - 1}")}

    async def payload(self, size: int) -> dict[str, float]:
        text = "x" * (size - 40)
        parameters = {"text": {"type": "string", "required": True}}
        argument = {"answer": "{{ workflow.parameters.text }}"}
        steps = [{"name": f"s{number}", **TOOL, "parameters": argument} for number in range(10)]
        await self._save("payload", steps, parameters=parameters)
        return {"seconds": await self._run("payload", {"text": text})}

    async def resume(self, steps: int) -> dict[str, float]:
        """Let an execution with so many recorded steps wait for a word; see how long it takes to go on."""
        loop = {"type": "loop", "collection": "{{ workflow.parameters.items }}", "max_iterations": steps,
                "max_concurrency": 32, "steps": [{"name": "one", **TOOL}]}  # fmt: skip
        last = {"name": "last", **TOOL, "approval": {"message": "Go on?"}}
        parameters = {"items": {"type": "array", "required": True}}
        await self._save(f"resume_{steps}", [{"name": "each", **loop}, last], parameters=parameters)
        request = RunRequest(workflow=f"resume_{steps}", parameters={"items": list(range(steps))})
        started = await self._executions.start(request)
        await self._executions.wait(started.execution.id, seconds=PATIENCE_SECONDS)
        began = perf_counter()
        word = ControlRequest(id=uuid4(), action="approve")
        await self._executions.control(started.execution.id, word, wait_seconds=0)
        ended = await self._executions.wait(started.execution.id, seconds=PATIENCE_SECONDS)
        assert ended.status == "completed", ended.error_message
        return {"seconds": perf_counter() - began}

    async def memory(self, executions: int) -> dict[str, float]:
        """Have so many executions in this process whose step waits for an hour."""
        again = {"condition": "false", "interval_seconds": 3600, "max_attempts": 2}
        await self._save("timer", [{"name": "wait", **TOOL, "repeat_until": again}])
        gc.collect()
        memory = psutil.Process().memory_info().rss
        started = [await self._executions.start(RunRequest(workflow="timer")) for _ in range(executions)]
        ids = {one.execution.id for one in started}
        while len(await self._waiting(ids)) < len(ids):  # noqa: ASYNC110 - no single event says so
            await asyncio.sleep(0.2)
        gc.collect()
        grown = psutil.Process().memory_info().rss - memory
        for one in ids:
            await self._executions.control(one, ControlRequest(id=uuid4(), action="cancel"), wait_seconds=0)
        for one in ids:
            await self._executions.wait(one, seconds=PATIENCE_SECONDS)
        return {"kilobytes": grown / 1024 / executions}

    async def fill(self, executions: int) -> dict[str, float]:
        """Add so many executions of ten steps to the tables."""
        repository: Any = self._application.repository
        session = await repository._open_session()
        await session.execute("set statement_timeout = 0")
        began = perf_counter()
        for _ in range(10):
            await session.execute(FILL.replace("$1", str(executions // 10)), timeout=None)
        await session.execute("vacuum analyze")
        session.terminate()
        return {"seconds": perf_counter() - began}

    async def read(self, reads: int) -> dict[str, float]:
        """Read one execution with its steps, and a page of the list, so many times."""
        page = await self._executions.list(ExecutionFilter(), offset=0, limit=20)
        one = page.records[0].id
        began = perf_counter()
        for _ in range(reads):
            await self._executions.read(one)
            await self._executions.read_steps(one, limit=20)
        read = perf_counter() - began
        began = perf_counter()
        for _ in range(reads):
            await self._executions.list(ExecutionFilter(), offset=0, limit=20)
        return {"seconds": read / reads, "list_seconds": (perf_counter() - began) / reads}

    async def _waiting(self, ids: set[Any]) -> list[Any]:
        found = await self._application.repository.read_executions(list(ids))
        return [one for one in found if one.status == "running"]

    async def _save(self, name: str, steps: list[dict[str, Any]], **fields: Any) -> None:
        page = await self._application.templates.list(TemplateFilter(text=name), offset=0, limit=100)
        if name not in [one.name for one in page.records]:
            document = {"name": name, "steps": steps, "timeout_minutes": 600, **fields}
            await self._application.templates.create(document)

    async def _run(self, workflow: str, parameters: Mapping[str, Any] | None = None) -> float:
        began = perf_counter()
        started = await self._executions.start(RunRequest(workflow=workflow, parameters=parameters or {}))
        ended = await self._executions.wait(started.execution.id, seconds=PATIENCE_SECONDS)
        assert ended.status == "completed", ended.error_message
        return perf_counter() - began


async def main(url: str, tools: str, api_url: str | None = None, api_key: str | None = None) -> None:
    chosen: dict[str, Any] = {
        "home": Path(tempfile.mkdtemp()),
        "database_url": url or None,
        "supabase_url": api_url,
        "supabase_service_key": api_key,
        "max_concurrent_executions": 2_000,
        "max_tree_steps": 10**6,
        "max_tree_calls": 10**6,
        "tools": Path(tools) if tools not in ("none", "memory") else None,
    }
    if tools == "none":
        bootstrap.tool_servers = no_transport
    if url:
        await apply_migration(url)
    servers = {"trivial": build()} if tools == "memory" else None
    async with bootstrap.open_application(Settings(**chosen), servers=servers) as application:
        works = Works(application)
        await serve({name: getattr(works, name) for name in WORKS})


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
