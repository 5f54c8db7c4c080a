"""Chance on a stage: executions of every kind are asked for while faults of every kind happen, by a seed."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from uuid import UUID

from catalogue import CATALOGUE, LINKED
from crash_points import POINTS, Act
from crew import Worker
from own_postgres import OwnPostgres
from proxy import Proxy
from stage import Stage
from supabase_projects import Project

from archon_workflows.errors import StorageError
from archon_workflows.model.records import TERMINAL_STATUSES

LOOK_SECONDS = 0.1
POINT_SECONDS = 2.0
SLOW_SECONDS = 2.0
WRONG_CLOCK_SECONDS = 7200.0
CLIENT_SHARE = 0.15
"""How often the network of the client is hit instead of a worker's."""

RELEASE_EVERY = 40
"""After so many submissions a template gets another version."""

ACTS: tuple[Act, ...] = ("kill", "freeze")

Blow = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StormOptions:
    """How hard it blows.

    Attributes:
        pause_seconds: the mean time between two faults.
        in_flight: how many executions are under way at the same time.
        patience_seconds: how long executions may take to end after the last fault.
    """

    executions: int
    faults: int
    workers: int
    pause_seconds: float
    in_flight: int = 24
    patience_seconds: float = 60.0


class Storm:
    """One storm over one stage and its server.

    Args:
        stage: whose workers and network are hit.
        server: the stage's own.
        options: how hard.
    """

    def __init__(self, stage: Stage, server: OwnPostgres, options: StormOptions) -> None:
        self._stage = stage
        self._server = server
        self._options = options
        self._dice = stage.dice
        self._beyond_lease = stage.options.lease_seconds * 1.5
        self._server_is_hit = asyncio.Lock()
        self._point_is_armed = asyncio.Lock()
        self._aftermath: set[asyncio.Future[None]] = set()

    async def blow(self) -> bool:
        """Run it; return whether every execution ended in time after the last fault."""
        for name in dict.fromkeys((*LINKED, *CATALOGUE)):
            await self._stage.save(name, 0)
        replacing = asyncio.create_task(self._replace_workers())
        submitting = asyncio.create_task(self._submit())
        await self._do_faults()
        await asyncio.gather(submitting, *self._aftermath)
        ended = await self._stage.until_all_ended(self._options.patience_seconds)
        replacing.cancel()
        await asyncio.gather(replacing, return_exceptions=True)
        return ended

    # -- executions ------------------------------------------------------------------------------

    async def _submit(self) -> None:
        names = [name for name, entry in CATALOGUE.items() if entry.is_run]
        under_way: set[UUID] = set()
        for number, name in enumerate(islice(cycle(names), self._options.executions), start=1):
            while len(under_way) >= self._options.in_flight or self._is_ahead(number):
                await asyncio.sleep(LOOK_SECONDS)
                under_way -= await self._ended_of(under_way)
            if number % RELEASE_EVERY == 0:
                await self._release("chain", number)
            under_way.add(await self._stage.submit(name, number % 97))

    def _is_ahead(self, number: int) -> bool:
        """Whether there are faults to come that the remaining executions should live to see."""
        share = (len(self._stage.faults) + 1) / (self._options.faults + 1)
        return number > self._options.executions * share + self._options.in_flight

    async def _ended_of(self, under_way: set[UUID]) -> set[UUID]:
        try:
            rows = await self._stage.client.repository.read_executions(list(under_way))
        except StorageError:
            return set()
        return {row.id for row in rows if row.status in TERMINAL_STATUSES}

    async def _release(self, name: str, bias: int) -> None:
        while True:
            try:
                return await self._stage.save(name, bias)
            except StorageError:
                await asyncio.sleep(LOOK_SECONDS)

    # -- faults ----------------------------------------------------------------------------------

    async def _do_faults(self) -> None:
        kinds = self._kinds()
        while len(self._stage.faults) < self._options.faults:
            order = list(kinds)
            self._dice.shuffle(order)
            for kind in order[: self._options.faults - len(self._stage.faults)]:
                await asyncio.sleep(self._dice.expovariate(1 / self._options.pause_seconds))
                blow = asyncio.ensure_future(kinds[kind]())
                self._aftermath.add(blow)
                blow.add_done_callback(self._aftermath.discard)

    def _kinds(self) -> Mapping[str, Blow]:
        """Return every kind of fault; each notes itself when it really happened."""
        return {
            "worker killed": partial(self._kill_one, "worker"),
            "server killed": partial(self._kill_one, "server"),
            "worker told to stop": partial(self._stop_one, "worker"),
            "server told to stop": partial(self._stop_one, "server"),
            "worker frozen beyond its lease": partial(self._freeze_worker, self._beyond_lease),
            "worker frozen briefly": partial(self._freeze_worker, self._beyond_lease / 5),
            **{f"{act} at: {point}": partial(self._hit_at, point, act) for act in ACTS for point in POINTS},
            "Postgres stopped and started": self._stop_server,
            "Postgres killed": self._kill_server,
            "session killed": self._kill_session,
            **self._kinds_of_api(),
            "network cut": self._cut_network,
            "network away beyond the lease": self._close_network,
            "network silent beyond the lease": self._silence_network,
            "network slow": self._slow_network,
            "answer lost": self._lose_answer,
        }

    def _kinds_of_api(self) -> Mapping[str, Blow]:
        project = self._stage.tenant.project
        if project is None:
            return {}
        return {
            "PostgREST killed": partial(self._kill_api, project, 0.0),
            "PostgREST away beyond the lease": partial(self._kill_api, project, self._beyond_lease),
        }

    async def _kill_one(self, role: str) -> None:
        for worker in self._some_worker(role):
            self._stage.note(f"{role} killed", worker.pid)
            worker.kill()

    async def _stop_one(self, role: str) -> None:
        for worker in self._some_worker(role):
            self._stage.note(f"{role} told to stop", worker.pid)
            worker.ask_to_stop()

    async def _freeze_worker(self, seconds: float) -> None:
        name = "briefly" if seconds < self._stage.options.lease_seconds else "beyond its lease"
        for worker in self._some_worker():
            self._stage.note(f"{worker.role} frozen {name}", worker.pid)
            worker.freeze()
            await asyncio.sleep(seconds)
            worker.thaw()

    async def _hit_at(self, point: str, act: Act) -> None:
        async with self._point_is_armed:
            hit = await self._stage.reach(point, act, seconds=POINT_SECONDS)
        if hit is not None and act == "freeze":
            await asyncio.sleep(self._beyond_lease)
            hit.thaw()

    async def _stop_server(self) -> None:
        async with self._server_is_hit:
            self._stage.note("Postgres stopped and started")
            await self._server.stop()
            await asyncio.sleep(self._dice.uniform(0, self._beyond_lease))
            await self._server.start()

    async def _kill_server(self) -> None:
        async with self._server_is_hit:
            self._stage.note("Postgres killed")
            await self._server.kill()
            await self._server.start()

    async def _kill_session(self) -> None:
        async with self._server_is_hit:
            if self._server.kill_session(self._dice):
                self._stage.note("session killed")

    async def _kill_api(self, project: Project, away_seconds: float) -> None:
        async with self._server_is_hit:
            self._stage.note("PostgREST away beyond the lease" if away_seconds else "PostgREST killed")
            await asyncio.to_thread(project.stop_postgrest)
            await asyncio.sleep(away_seconds)
            await asyncio.to_thread(project.start_postgrest)

    async def _cut_network(self) -> None:
        for proxy in self._some_network("network cut"):
            proxy.cut()

    async def _close_network(self) -> None:
        for proxy in self._some_network("network away beyond the lease"):
            proxy.close()
            await asyncio.sleep(self._beyond_lease)
            proxy.mend()

    async def _silence_network(self) -> None:
        for proxy in self._some_network("network silent beyond the lease"):
            proxy.silence()
            await asyncio.sleep(self._beyond_lease)
            proxy.mend()

    async def _slow_network(self) -> None:
        for proxy in self._some_network("network slow"):
            proxy.delay_seconds = self._dice.uniform(0.02, 0.2)
            await asyncio.sleep(SLOW_SECONDS)
            proxy.mend()

    async def _lose_answer(self) -> None:
        for proxy in self._some_network("answer lost"):
            proxy.answers_are_lost = True

    def _some_worker(self, role: str | None = None) -> list[Worker]:
        """Return one of the workers that are there and not frozen, if there is one."""
        able = [worker for worker in self._stage.crew.able() if role in (None, worker.role)]
        return [self._dice.choice(able)] if able else []

    def _some_network(self, kind: str) -> list[Proxy]:
        if self._dice.random() < CLIENT_SHARE:
            self._stage.note(kind)
            return [self._stage.client_proxy]
        workers = self._some_worker()
        for worker in workers:
            self._stage.note(kind, worker.pid)
        return [worker.proxy for worker in workers]

    async def _replace_workers(self) -> None:
        while True:
            await self._stage.crew.bury()
            if len(self._stage.crew.workers) < self._options.workers:
                await self._start_worker()
            await asyncio.sleep(LOOK_SECONDS)

    async def _start_worker(self) -> None:
        """Start what there are fewer of, on a machine whose clocks are wrong by hours.

        Workers are fed by the dispatch where there is a direct connection; servers look for work themselves.
        """
        roles = [worker.role for worker in self._stage.crew.workers]
        serves = roles.count("server") < roles.count("worker")
        ahead = self._dice.uniform(-WRONG_CLOCK_SECONDS, WRONG_CLOCK_SECONDS)
        await self._stage.start_worker(
            wait=False,
            serves=serves,
            is_dispatched=not serves and self._stage.tenant.project is None,
            clock_ahead_seconds=ahead,
        )
