"""The wired application on a database of the test's own, with a tool server in the process."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from applications import Opener
from ledger import build

from archon_workflows.bootstrap import Application, open_application
from archon_workflows.settings import Settings


@pytest.fixture
def ledger_path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


@pytest.fixture
def opener(database_url: str, tmp_path: Path, ledger_path: Path) -> Opener:
    """Opens applications, as many as a test wants, on one database and one ledger."""

    def open_one(*, execute: bool = True, **settings: Any) -> AbstractAsyncContextManager[Application]:
        chosen: dict[str, Any] = {
            "home": tmp_path,
            "database_url": database_url,
            "shutdown_grace_seconds": 1,
            **settings,
        }
        return open_application(Settings(**chosen), execute=execute, servers={"ledger": build(ledger_path)})

    return open_one


@pytest.fixture
async def application(opener: Opener) -> AsyncGenerator[Application]:
    async with opener() as opened:
        yield opened
