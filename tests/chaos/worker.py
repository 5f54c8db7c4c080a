"""A process that advances executions until it is told to stop, is killed, or its runner has gone.

The wired application is the product's; around it the process gets crash points, a name in its database
sessions, and in the checker's own tests a deliberate bug.
"""

import logging
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, Self

import anyio
from crash_points import CrashPoints
from deliberate_bugs import BUGS
from writers import writer_name
from wrong_clocks import be_ahead

from archon_workflows import bootstrap
from archon_workflows.engine.engine import EngineLimits
from archon_workflows.server.app import build_server
from archon_workflows.server.http import serve_http
from archon_workflows.settings import Settings
from archon_workflows.storage import supabase
from archon_workflows.storage.direct import DirectRepository
from archon_workflows.storage.postgrest_api import RequestLimits
from archon_workflows.storage.sessions import SessionLimits
from archon_workflows.storage.supabase import SupabaseRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What one worker is told.

    Attributes:
        folder: of the run, with the tools file, the crash points and the worker's log.
        database: the settings of the product that lead to the database, through the worker's own proxy.
        statement_seconds: how long it waits for an answer of the database.
        port: where it serves MCP over HTTP; ``None``: it is no server.
        is_dispatched: PgQueuer's jobs say which executions it looks at.
        clock_ahead_seconds: how wrong the clocks of its machine are.
        bug: the deliberate bug that it has, if any.
    """

    folder: Path
    database: Mapping[str, str]
    lease_seconds: float
    poll_seconds: float
    statement_seconds: float
    port: int | None = None
    is_dispatched: bool = False
    clock_ahead_seconds: float = 0.0
    bug: str | None = None

    @property
    def ready(self) -> Path:
        """A file that appears when this process advances executions; its name ends in its id."""
        return self.folder / "ready"


def serve(options: WorkerOptions) -> None:
    """Run in a process of its own."""
    _log_to(options.folder / "worker.log")
    _name_sessions(options.statement_seconds)
    _name_requests(options.statement_seconds)
    _poll_every(options.poll_seconds)
    be_ahead(options.clock_ahead_seconds)
    if options.bug is not None:
        BUGS[options.bug]()
    CrashPoints(options.folder / "points").install()
    with suppress(KeyboardInterrupt):
        anyio.run(_advance, options)


async def _advance(options: WorkerOptions) -> None:
    chosen: dict[str, Any] = {
        "home": options.folder,
        "tools": options.folder / "tools.json",
        "lease_seconds": options.lease_seconds,
        "shutdown_grace_seconds": 0.5,
        "call_timeout_seconds": 20,
        **options.database,
    }
    settings = Settings(**chosen)
    with anyio.open_signal_receiver(signal.SIGTERM) as stops:
        async with bootstrap.open_application(settings, is_worker=options.is_dispatched) as application:
            options.ready.with_name(f"ready.{os.getpid()}").touch()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_leave_with_runner, tasks.cancel_scope)
                if options.port is not None:
                    tasks.start_soon(
                        partial(serve_http, build_server(application), "http", port=options.port)
                    )
                await anext(stops)
                tasks.cancel_scope.cancel()


async def _leave_with_runner(scope: anyio.CancelScope) -> None:
    runner = parent_process()
    assert runner is not None
    await anyio.wait_readable(runner.sentinel)
    scope.cancel()


def _log_to(file: Path) -> None:
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {os.getpid()} %(message)s", force=True)


def _name_sessions(statement_seconds: float) -> None:
    """Let every session tell the history who writes."""
    named = SessionLimits(
        application_name=writer_name(os.getpid()), statement=statement_seconds, connect=statement_seconds
    )

    class NamedRepository(DirectRepository):
        @classmethod
        async def connect(cls, url: str, *, pool_size: int = 8, limits: SessionLimits | None = None) -> Self:
            return await super().connect(url, pool_size=pool_size, limits=limits or named)

    bootstrap.DirectRepository = NamedRepository


def _name_requests(answer_seconds: float) -> None:
    """Let every request to a project's API tell the history who writes."""
    named = RequestLimits(connect=answer_seconds, answer=answer_seconds)

    class NamedRepository(SupabaseRepository):
        @classmethod
        async def connect(cls, url: str, key: str, *, limits: RequestLimits | None = None) -> Self:
            repository = await super().connect(url, key, limits=limits or named)
            http = repository._api._http  # pyright: ignore[reportPrivateUsage] - no header of ours otherwise
            http.headers["x-chaos-writer"] = writer_name(os.getpid())
            return repository

    supabase.SupabaseRepository = NamedRepository


def _poll_every(seconds: float) -> None:
    bootstrap.EngineLimits = partial(EngineLimits, poll_seconds=seconds)
