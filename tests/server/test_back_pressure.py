"""A thousand executions submitted at once by an agent, who still wants to read one."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import psutil
import pytest
from serving import Agent, Agents, action

from archon_workflows.storage.sessions import Session, SessionLimits, open_session

SUBMITTED = 1_000
SESSIONS_OF_THE_POOL = 8
SESSION_THAT_LISTENS = 1
MEBIBYTE = 2**20

SESSIONS = """
select count(*) from pg_stat_activity
where datname = current_database() and application_name = 'archon-workflows'
"""
LIVE = "select count(*) from public.archon_workflow_executions where status in ('running', 'paused')"


@pytest.fixture
async def onlooker(database_url: str) -> AsyncIterator[Session]:
    session = await open_session(database_url, SessionLimits(application_name="onlooker"))
    yield session
    session.terminate()


class Most:
    """The most of a figure that was seen."""

    def __init__(self, session: Session, query: str) -> None:
        self.seen = 0
        self._session = session
        self._query = query

    async def look(self) -> None:
        self.seen = max(self.seen, await self._session.fetchval(self._query))


@asynccontextmanager
async def looking(*figures: Most) -> AsyncGenerator[None]:
    async def look() -> None:
        while True:
            for figure in figures:
                await figure.look()
            await anyio.sleep(0.05)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        yield
        tasks.cancel_scope.cancel()


async def test_a_thousand_at_once_exhaust_nothing(agents: Agents, onlooker: Session, tmp_path: Path) -> None:
    sessions, live = Most(onlooker, SESSIONS), Most(onlooker, LIVE)
    answers: list[str] = []
    async with agents(mode="legacy", max_concurrent_executions=50) as agent, looking(sessions, live):
        await agent.save("small", action("a", "say", text="x"))
        await agent.run("small")
        memory = psutil.Process().memory_info().rss

        async def submit(wait_seconds: int) -> None:
            answers.append((await agent.run("small", wait_seconds=wait_seconds))["execution_id"])

        async with anyio.create_task_group() as tasks:
            for number in range(SUBMITTED):
                tasks.start_soon(submit, 20 * (number % 2))
        grown = psutil.Process().memory_info().rss - memory
        await all_completed(agent)

    assert len(set(answers)) == SUBMITTED
    assert sessions.seen <= SESSIONS_OF_THE_POOL + SESSION_THAT_LISTENS
    assert live.seen <= 50
    assert grown < 200 * MEBIBYTE
    assert len((tmp_path / "ledger.jsonl").read_text().splitlines()) == SUBMITTED + 1


async def all_completed(agent: Agent) -> None:
    with anyio.fail_after(120):
        while True:
            page = await agent.do("get_execution", status=["completed"], page_size=1)
            if page["page"]["total"] == SUBMITTED + 1:
                return
            await anyio.sleep(0.1)
