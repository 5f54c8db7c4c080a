"""What is measured, and in which order: everything interleaved, each contestant on a database of its own."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from archon_workflows.storage.sessions import SessionLimits, open_session
from benchmarks.contestants import PROGRAMS, Contestant, Started, prepare, start
from benchmarks.figures import OURS, Figures
from benchmarks.project import running_project

LEAN = Contestant(name="function a step", program="function_per_step.py")
LANGGRAPH = ("langgraph>=1", "langgraph-checkpoint-postgres>=3", "psycopg[binary,pool]")
PEERS = (
    Contestant(name="DBOS", program="dbos_peer.py", packages=("dbos[otel]>=3", "psycopg[binary]")),
    Contestant(name="LangGraph", program="langgraph_peer.py", arguments=("async",), packages=LANGGRAPH),
    Contestant(name="LangGraph, sync", program="langgraph_peer.py", arguments=("sync",), packages=LANGGRAPH),
    Contestant(
        name="Absurd", program="absurd_peer.py", packages=("absurd-sdk", "absurdctl", "psycopg[binary]")
    ),
    Contestant(
        name="Prefect", program="prefect_peer.py", packages=("prefect>=3", "fastapi<0.120", "asyncpg")
    ),
    Contestant(name="PgQueuer jobs", program="pgqueuer_peer.py"),
)
SLOWEST = "Prefect"
"""Measured in the first two rounds alone, with few executions."""
SUPABASE = "Supabase"
TENANT = f"{OURS}, {SUPABASE}"
"""The same program on the other tenant: through PostgREST, as a Supabase project has it."""

TRANSPORTS = ("memory", "stdio", "http")
STEPS = 10
MOST_OF_SLOWEST = 16

Figure = Callable[[Mapping[str, float]], float]
"""What an answer says in the unit of the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is measured.

    Attributes:
        without: names of peers that are left out.
        executions: of ten steps, by how many are in flight.
        calling: the same for steps that call a tool.
        items: of the longer loop.
        in_memory: executions that wait in one process.
        filled: executions of ten steps in the full tables.
    """

    rounds: int
    without: Sequence[str]
    executions: Mapping[int, int]
    calling: Mapping[int, int]
    items: int
    in_memory: int
    filled: int


def whole(rounds: int, without: Sequence[str]) -> Extent:
    """Return the extent that the documentation shows."""
    sizes = {1: 20, 16: 64, 64: 192, 256: 256}
    return Extent(rounds=rounds, without=without, executions=sizes, calling={1: 20, 64: 128},
                  items=10_000, in_memory=1_000, filled=100_000)  # fmt: skip


def quick() -> Extent:
    """Return an extent that takes a minute, without peers."""
    return Extent(rounds=1, without=[SUPABASE, *(one.name for one in PEERS)], executions={1: 10, 64: 64},
                  calling={1: 5, 64: 64}, items=1_000, in_memory=100, filled=5_000)  # fmt: skip


class SideBySide:
    """One run.

    Args:
        url: of the Postgres that serves everybody.
        home: of that embedded server, for whoever opens it by itself.
        cache: where the environments of peers are kept.
    """

    def __init__(
        self, extent: Extent, *, folder: Path, url: str, home: Path, cache: Path, pgbench: Path
    ) -> None:
        self.figures = Figures()
        self._extent = extent
        self._folder = folder
        self._url = url
        self._home = home
        self._cache = cache
        self._pgbench = pgbench

    async def steps(self) -> None:
        """Ten steps that do nothing, by everybody."""
        ours = Contestant(name=OURS, program="archon.py", arguments=("none",))
        pgbench = Contestant(
            name="pgbench", program="pgbench_steps.py", arguments=(str(self._pgbench),), database=LEAN.name
        )
        peers = [one for one in PEERS if one.name not in self._extent.without]
        async with self._tenants() as tenants, self._crew(ours, *tenants, LEAN, pgbench, *peers) as crew:
            for number in range(self._extent.rounds + 1):  # the first warms up
                turned = crew[number % len(crew) :] + crew[: number % len(crew)]
                for in_flight, executions in self._extent.executions.items():
                    for one in turned:
                        await self._ten_steps(one, number, in_flight, executions)

    async def _ten_steps(self, one: Started, number: int, in_flight: int, executions: int) -> None:
        name = one.contestant.name
        is_slow = name == SLOWEST
        if is_slow and (number > 2 or in_flight > (MOST_OF_SLOWEST if number else 1)):  # noqa: PLR2004 - see above
            return
        if is_slow or number == 0:
            executions = max(in_flight, 3)
        done = await one.do("steps", executions=executions, in_flight=in_flight, steps=STEPS)
        if number > 0:
            self._note(f"ten steps, {in_flight} in flight, ms a step", name, done, _a_step(executions))

    async def tools(self) -> None:
        """Ten steps that call a tool, and the same calls without an engine."""
        with _tool_server(_free_port()) as port:
            pairs = [
                (
                    Contestant(name=f"{OURS} {transport}", program="archon.py",
                               arguments=(self._tools_file(transport, port),)),
                    Contestant(name=f"raw {transport}", program="raw_calls.py",
                               arguments=(transport, str(port)), needs_database=False),
                )
                for transport in TRANSPORTS
            ]  # fmt: skip
            async with self._crew(*(one for pair in pairs for one in pair)) as crew:
                for number in range(self._extent.rounds + 1):
                    for in_flight, executions in self._extent.calling.items():
                        for place, one in enumerate(crew):
                            work = f"ten {TRANSPORTS[place // 2]} calls, {in_flight} in flight, ms a call"
                            who = "raw calls" if place % 2 else OURS
                            done = await one.do(
                                "steps", executions=executions, in_flight=in_flight, steps=STEPS
                            )
                            if number > 0:
                                self._note(work, who, done, _a_step(executions))

    async def shapes(self) -> None:
        """Loops, branches, links, payloads, a resume, memory: ours alone."""
        items = self._extent.items
        works: dict[str, tuple[str, dict[str, Any], float]] = {
            "loop of 100, ms an item": ("items", {"items": 100, "at_once": 1}, 100),
            f"loop of {items:,}, ms an item": ("items", {"items": items, "at_once": 1}, items),
            "loop of 100, 32 at once, ms an item": ("items", {"items": 100, "at_once": 32}, 100),
            f"loop of {items:,}, 32 at once, ms an item": ("items", {"items": items, "at_once": 32}, items),
            "100 parallel branches, ms a branch": ("branches", {"branches": 100}, 100),
            "five levels of links, ms a level": ("levels", {"levels": 5}, 5),
            "payload of 1 KB, ms a step": ("payload", {"size": 1_000}, STEPS),
            "payload of 100 KB, ms a step": ("payload", {"size": 100_000}, STEPS),
            "payload of 1 MB, ms a step": ("payload", {"size": 1_000_000}, STEPS),
            "resume after 100 recorded steps, ms": ("resume", {"steps": 100}, 1),
            "resume after 1,000 recorded steps, ms": ("resume", {"steps": 1_000}, 1),
            f"resume after {items:,} recorded steps, ms": ("resume", {"steps": items}, 1),
        }
        async with self._tenants() as tenants, self._crew(self._ours("shapes"), *tenants) as crew:
            for _ in range(self._extent.rounds):
                for (title, (work, numbers, parts)), one in product(works.items(), crew):
                    who = TENANT if one.contestant.name == TENANT else OURS
                    if who == TENANT and items in numbers.values():
                        continue
                    done = await one.do(work, **numbers)
                    self._note(title, who, done, _thousandth(parts))
                    if work == "items":
                        self._note(title.replace("ms an item", "MB more"), who, done, _megabytes)
        async with self._crew(self._ours("memory")) as (fresh,):
            await fresh.do("steps", executions=20, in_flight=4, steps=1)
            done = await fresh.do("memory", executions=self._extent.in_memory)
            self._note("an execution that waits, kB", OURS, done, _kilobytes)

    async def tables(self) -> None:
        """Reads while the tables are nearly empty and when they are full."""
        async with self._crew(self._ours("tables")) as (one,):
            await one.do("steps", executions=30, in_flight=4, steps=STEPS)
            for state in ("empty", "full"):
                for _ in range(max(3, self._extent.rounds)):
                    done = await one.do("read", reads=100)
                    self._note(f"read one of {state} tables, ms", OURS, done, _thousandth(1))
                    self._note(f"list of {state} tables, ms", OURS, done, _listed)
                if state == "empty":
                    filled = await one.do("fill", executions=self._extent.filled)
                    self._note("fill", OURS, filled, _thousandth(1))

    async def starts(self) -> None:
        """Importing ``mcp`` and opening the database, against a server's first answer over stdio."""
        for number in range(self._extent.rounds * 2 + 1):
            for who in (OURS, "import mcp, open database"):
                command = [sys.executable, str(PROGRAMS / "first_answer.py"),
                           "server" if who == OURS else "open", self._url, str(self._home)]  # fmt: skip
                process = await asyncio.create_subprocess_exec(
                    *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
                )
                out, _ = await process.communicate()
                done = {"seconds": float(out)} if out else {"failed": "it did not start"}
                if number > 0:
                    self._note("start to first answer, ms", who, done, _thousandth(1))

    def _ours(self, what: str) -> Contestant:
        return Contestant(name=f"{OURS} {what}", program="archon.py", arguments=("none",))

    @contextlib.asynccontextmanager
    async def _tenants(self) -> AsyncGenerator[list[Contestant]]:
        """Yield the program on a project of its own: a Postgres, PostgREST and a gateway, in a process."""
        if SUPABASE in self._extent.without:
            yield []
            return
        with running_project(Path(tempfile.mkdtemp(dir=self._folder))) as project:
            at = project.addresses
            yield [
                Contestant(name=TENANT, program="archon.py", needs_database=False,
                           arguments=("", "none", at["url"], at["key"]))
            ]  # fmt: skip

    @contextlib.asynccontextmanager
    async def _crew(self, *contestants: Contestant) -> AsyncGenerator[list[Started]]:
        crew: list[Started] = []
        try:
            for one in contestants:
                python = await asyncio.to_thread(prepare, one, self._cache)
                database = [await self._database(one.database or one.name)] if one.needs_database else []
                crew.append(await start(one, python, [*database, *one.arguments], self._folder))
            yield crew
        finally:
            for one in crew:
                await one.end()

    async def _database(self, name: str) -> str:
        """Return the URL of a contestant's database, which is made if it is missing."""
        database = "bench_" + "".join(letter if letter.isalnum() else "_" for letter in name.lower())
        session = await open_session(self._url, SessionLimits())
        if not await session.fetchval("select count(*) from pg_database where datname = $1", database):
            await session.execute(f"create database {database}")
        session.terminate()
        return self._url.replace("/postgres?", f"/{database}?")

    def _tools_file(self, transport: str, port: int) -> str:
        if transport == "memory":
            return "memory"
        servers: dict[str, Any] = {
            "stdio": {"command": sys.executable, "args": [str(PROGRAMS / "tool_server.py")]},
            "http": {"type": "http", "url": f"http://127.0.0.1:{port}/mcp"},
        }
        file = self._folder / f"{transport}.json"
        file.write_text(json.dumps({"mcpServers": {"trivial": servers[transport]}}))
        return str(file)

    def _note(self, work: str, who: str, done: Mapping[str, Any], figure: Figure) -> None:
        if "failed" in done:
            self.figures.failures[work, who] = str(done["failed"])
        else:
            self.figures.add(work, who, figure(done))


def _a_step(executions: int) -> Figure:
    return _thousandth(executions * STEPS)


def _thousandth(parts: float) -> Figure:
    return lambda done: done["seconds"] / parts * 1000


def _megabytes(done: Mapping[str, float]) -> float:
    return done["megabytes"]


def _kilobytes(done: Mapping[str, float]) -> float:
    return done["kilobytes"]


def _listed(done: Mapping[str, float]) -> float:
    return done["list_seconds"] * 1000


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def _tool_server(port: int) -> Generator[int]:
    command = [sys.executable, str(PROGRAMS / "tool_server.py"), str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(port)
            yield port
        finally:
            server.terminate()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")
