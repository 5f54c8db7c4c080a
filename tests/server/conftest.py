"""The MCP server over a wired application, on a database of the test's own, with an agent at it."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from archon_workflows.bootstrap import open_application
from archon_workflows.server.app import build_server
from archon_workflows.settings import Settings

sys.path.insert(0, str(Path(__file__).parents[1] / "tool_servers"))

from ledger import build
from serving import Agent, Agents, infrastructure


@pytest.fixture
def agents(database_url: str, tmp_path: Path) -> Agents:
    """Opens applications with an agent at each, as many as a test wants, on one database."""

    @asynccontextmanager
    async def open_one(*, mode: str = "auto", **settings: Any) -> AsyncGenerator[Agent]:
        chosen: dict[str, Any] = {
            "home": tmp_path,
            "database_url": database_url,
            "shutdown_grace_seconds": 1,
            **settings,
        }
        servers = {"ledger": build(tmp_path / "ledger.jsonl"), "infrastructure": infrastructure()}
        async with (
            open_application(Settings(**chosen), servers=servers) as application,
            Client(build_server(application), mode=mode) as client,
        ):
            yield Agent(client)

    return open_one


@pytest.fixture
async def agent(agents: Agents) -> AsyncGenerator[Agent]:
    async with agents() as one:
        yield one


@pytest.fixture
async def streaming_agent(agents: Agents) -> AsyncGenerator[Agent]:
    """An agent whose messages go through JSON-RPC, as they do over any real transport."""
    async with agents(mode="legacy") as one:
        yield one
