"""A run: workers on one database, a client that submits executions, an attendant who gives them their words.

What happens on the stage is the runner's: a script (``tests/chaos/test_chaos.py``) or chance (``storm``).
"""

import asyncio
import json
import random
import socket
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from attendant import Attendant
from catalogue import CATALOGUE, LINKED, SECRET
from crash_points import Act, CrashPoints
from crew import Crew, Worker
from evidence import Evidence, Fault, Submission, keep_history, read_calls, read_tables
from front_desk import NotAcknowledged, ask
from proxy import Proxy
from tenants import Tenant
from worker import WorkerOptions

from archon_workflows.bootstrap import Application, open_application
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.errors import StorageError
from archon_workflows.model.records import TERMINAL_STATUSES, ExecutionRecord
from archon_workflows.settings import Settings

LEDGER = Path(__file__).parents[1] / "tool_servers" / "chaos_ledger.py"
LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOptions:
    """How a run is set up.

    Attributes:
        statement_seconds: how long workers and client wait for an answer of the database.
        is_attended: whether executions get the words that they wait for.
        bug: the deliberate bug that every worker has, if any.
    """

    seed: int = 0
    lease_seconds: float = 0.6
    poll_seconds: float = 0.1
    statement_seconds: float = 3.0
    is_attended: bool = True
    bug: str | None = None


class Stage:
    """One run on one database; open it with ``open_stage``.

    Attributes:
        client: stores and watches executions, and leaves them to the workers.
        tenant: how everybody reaches the database.
        faults: what was done to the run.
    """

    def __init__(self, folder: Path, tenant: Tenant, options: StageOptions) -> None:
        self.options = options
        self.crew = Crew()
        self.points = CrashPoints(folder / "points")
        self.dice = random.Random(options.seed)  # noqa: S311 - no secret
        self.faults: list[Fault] = []
        self.submissions: list[Submission] = []
        self.client: Application
        self.client_proxy: Proxy
        self.attendant: Attendant
        self._folder = folder
        self.tenant = tenant
        self._biases: dict[UUID, int] = {}
        self._saved: set[str] = set()

    # -- the setting -----------------------------------------------------------------------------

    async def set_up(self, stack: AsyncExitStack) -> None:
        """Prepare database, tools and client."""
        (self._folder / "ledger").mkdir(parents=True)
        await keep_history(self.tenant.database_url)
        environment = {"CHAOS_LEDGER": str(self._folder / "ledger"), "CHAOS_SEED": str(self.options.seed)}
        server = {"command": sys.executable, "args": ["-S", str(LEDGER)], "env": environment}
        tools = {"mcpServers": {"steady": server, "shaky": server}}
        (self._folder / "tools.json").write_text(json.dumps(tools))
        self.client_proxy = await self._open_proxy()
        stack.push_async_callback(self.client_proxy.stop)
        database: Mapping[str, Any] = self.tenant.settings(self.client_proxy.port)
        settings = Settings(home=self._folder, **database)
        self.client = await stack.enter_async_context(open_application(settings, execute=False))
        stack.push_async_callback(self.crew.end)
        self.attendant = Attendant(self.client, self._folder / "ledger")

    async def start_worker(
        self,
        *,
        wait: bool = True,
        serves: bool = False,
        is_dispatched: bool = False,
        clock_ahead_seconds: float = 0.0,
    ) -> Worker:
        """Start a worker behind a proxy of its own; one that serves is asked for executions from now on."""
        proxy = await self._open_proxy()
        options = WorkerOptions(
            folder=self._folder,
            database=self.tenant.settings(proxy.port),
            lease_seconds=self.options.lease_seconds,
            poll_seconds=self.options.poll_seconds,
            statement_seconds=self.options.statement_seconds,
            port=_free_port() if serves else None,
            is_dispatched=is_dispatched,
            clock_ahead_seconds=clock_ahead_seconds,
            bug=self.options.bug,
        )
        worker = await asyncio.to_thread(self.crew.start, options, proxy)
        ready = options.ready.with_name(f"ready.{worker.pid}")
        while wait and worker.is_alive() and not ready.exists():  # noqa: ASYNC110 - another process's file
            await asyncio.sleep(0.01)
        return worker

    async def _open_proxy(self) -> Proxy:
        proxy = Proxy(self.tenant.connect)
        await proxy.start()
        return proxy

    # -- what is run -----------------------------------------------------------------------------

    async def save(self, name: str, bias: int) -> None:
        """Save a template's first or next version."""
        document = CATALOGUE[name].document(bias)
        if name in self._saved:
            saved = await self.client.templates.update(document, name=name)
        else:
            saved = await self.client.templates.create(document)
        self._saved.add(name)
        self._biases[saved.template.version_id] = bias

    async def submit(self, workflow: str, n: int) -> UUID:
        """Ask for an execution until it is acknowledged; twice with one key is once.

        It is asked for at a server if there is one. The template, and those that others link to, are saved
        when they are first needed.
        """
        for name in (*LINKED, workflow):
            if name not in self._saved:
                await self.save(name, 0)
        parameters: dict[str, Any] = {"n": n} | ({"secret": SECRET} if workflow == "secretive" else {})
        key = f"{workflow} {uuid4()}"
        request = RunRequest(workflow=workflow, parameters=parameters, idempotency_key=key)
        started = await self._until_acknowledged(request)
        version_id = started.workflow_version_id
        submission = Submission(
            execution_id=started.id,
            workflow=workflow,
            n=n,
            bias=self._biases[version_id],
            version_id=version_id,
            idempotency_key=key,
        )
        self.submissions.append(submission)
        self.attendant.attend(submission)
        return started.id

    async def _until_acknowledged(self, request: RunRequest) -> ExecutionRecord:
        acknowledged: UUID | None = None
        while True:
            with suppress(StorageError, NotAcknowledged):
                acknowledged = acknowledged or await self._ask(request)
                return await self.client.repository.read_execution(acknowledged)
            await asyncio.sleep(LOOK_SECONDS)

    async def _ask(self, request: RunRequest) -> UUID:
        ports = [worker.port for worker in self.crew.able() if worker.port is not None]
        if ports:
            return await ask(self.dice.choice(ports), request)
        return (await self.client.executions.start(request)).execution.id

    # -- what is done to it ----------------------------------------------------------------------

    def note(self, kind: str, pid: int | None = None) -> None:
        """Remember a fault."""
        self.faults.append(Fault(kind=kind, at=time.time(), pid=pid))

    async def reach(self, point: str, act: Act, *, where: str = "", seconds: float = 10) -> Worker | None:
        """Arm a crash point and wait until a worker stands at it; return the worker that it hit."""
        self.points.arm(point, act, where=where)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            hit = self._hit()
            if hit is not None:
                return hit
            await asyncio.sleep(0.01)
        self.points.disarm()
        return self._hit()

    def _hit(self) -> Worker | None:
        for point, act, pid in self.points.take_reached():
            self.note(f"{act} at: {point}", pid)
            return next((worker for worker in self.crew.workers if worker.pid == pid), None)
        return None

    # -- the end ---------------------------------------------------------------------------------

    async def until_all_ended(self, seconds: float) -> bool:
        """Wait until every submitted execution has ended; return whether that came in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if await self._all_ended():
                    return True
            except StorageError:
                pass
            await asyncio.sleep(LOOK_SECONDS)
        return False

    async def _all_ended(self) -> bool:
        wanted = [one.execution_id for one in self.submissions]
        rows = await self.client.repository.read_executions(wanted)
        ended = {row.id for row in rows if row.status in TERMINAL_STATUSES}
        return ended >= set(wanted) and not self.attendant.has_more_to_say

    async def evidence(self) -> Evidence:
        """Return what the run left behind."""
        # Calls first: what a worker that still goes on calls after that would be missing in the tables.
        calls = read_calls(self._folder / "ledger")
        tables = await read_tables(self.tenant.database_url)
        log = self._folder / "worker.log"
        return Evidence(
            lease_seconds=self.options.lease_seconds,
            submissions=self.submissions,
            cancelled=self.attendant.cancelled,
            faults=self.faults,
            calls=calls,
            said=log.read_text(errors="replace") if log.exists() else "",
            executions=tables.executions,
            steps=tables.steps,
            execution_writes=tables.execution_writes,
            step_writes=tables.step_writes,
            text=tables.text,
        )


@asynccontextmanager
async def open_stage(folder: Path, tenant: Tenant, options: StageOptions) -> AsyncGenerator[Stage]:
    """Set a run up, and end its workers when the block is left.

    Args:
        folder: an empty one of the run's own.
        tenant: of a migrated database of the run's own.
        options: how it is set up.
    """
    async with AsyncExitStack() as stack:
        stage = Stage(folder, tenant, options)
        await stage.set_up(stack)
        if options.is_attended:
            await stack.enter_async_context(stage.attendant.attending())
        yield stage


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]
