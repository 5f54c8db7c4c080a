"""Which executions this process owns: claimed, kept by their leases, handed over when it stops."""

import logging
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID, uuid4

import anyio
from anyio.abc import TaskGroup

from archon_workflows.engine.calls import ToolCaller
from archon_workflows.engine.changes import Changes
from archon_workflows.engine.children import Children, Create
from archon_workflows.engine.clock import DatabaseClock, steady_seconds
from archon_workflows.engine.journal import Journal
from archon_workflows.engine.launch import Launcher
from archon_workflows.engine.lease import Lease
from archon_workflows.engine.offering import Offering
from archon_workflows.engine.owner import Effects, Owner
from archon_workflows.engine.pace import Pace
from archon_workflows.engine.preparation import Preparation
from archon_workflows.errors import NotFound, StorageError, WorkflowError
from archon_workflows.model.records import Claim, CreatedExecution, ExecutionRecord, JournalAnswer, Taker
from archon_workflows.storage.repository import Repository

logger = logging.getLogger(__name__)

GIVE_BACK_SECONDS = 5.0
"""How long giving leases back may take at the end; those that are not given back run out by themselves."""

BUSY_SECONDS = 0.2
"""How long a worker without room leaves a job to others before it looks at it again."""


def _new_owner_id() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """How much one process takes upon itself.

    Attributes:
        executes: false: this process accepts and watches executions, and leaves them to others.
        is_dispatched: it looks for no work by itself; a queue tells it what to look at (``attend``), and it
            takes nothing whose tools it does not have, its own children included.
        lease_seconds: how long an execution is left alone after its owner's last sign of life.
        poll_seconds: how often to look for executions that nobody owns, besides the database's hints.
        max_executions: how many it owns at once; children of its own come on top.
        starts_per_second: how many it takes in a second when it ``is_dispatched``.
        shutdown_grace_seconds: how long running calls may go on when the process stops.
    """

    executes: bool = True
    is_dispatched: bool = False
    lease_seconds: float = 8.0
    poll_seconds: float = 1.0
    max_executions: int = 100
    starts_per_second: float | None = None
    shutdown_grace_seconds: float = 10.0
    owner_id: str = field(default_factory=_new_owner_id)


class Engine:
    """Advances executions for as long as ``running`` is entered."""

    def __init__(
        self,
        repository: Repository,
        *,
        launcher: Launcher,
        preparation: Preparation,
        caller: ToolCaller,
        offering: Offering,
        clock: DatabaseClock,
        limits: EngineLimits,
    ) -> None:
        self.changes = Changes()
        self._repository = repository
        self._preparation = preparation
        self._offering = offering
        self._limits = limits
        self._clock = clock
        self._journal = Journal(repository, clock)
        self._children = Children(
            repository,
            launcher,
            self.changes,
            clock,
            start=self._start_child,
            take=self._take_child,
            owns=self.owns,
        )
        self._effects = Effects(
            caller=caller,
            journal=self._journal,
            clock=clock,
            run_child=self._children.run,
            hint=self._hint,
            changed=partial(self.changes.tell, settled=False),
            is_awaited=self.changes.are_expected,
        )
        self._pace = Pace(limits.starts_per_second, steady_seconds)
        self._owners: dict[UUID, Owner] = {}
        self._preparing: set[UUID] = set()
        self._started_here: set[UUID] = set()
        self._wanted = 0
        self._left_behind = False
        self._work_may_be_there = anyio.Event()
        self._renewal_wanted = anyio.Event()
        self._fewer_owned = anyio.Event()
        self._stopping = False
        self._tasks: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Advance executions until the block is left; then hand over what is not finished."""
        async with anyio.create_task_group() as background:
            background.start_soon(self._journal.run)
            background.start_soon(self._watch)
            background.start_soon(self._keep_leases)
            async with anyio.create_task_group() as owners:
                self._tasks = owners
                if self._limits.executes:
                    background.start_soon(self._offering.keep_reporting, self._look_again)
                    if not self._limits.is_dispatched:
                        background.start_soon(self._look_for_work)
                try:
                    yield
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._hand_over()
                    self._tasks = None
                    owners.cancel_scope.cancel()
            background.cancel_scope.cancel()

    async def start(self, create: Create) -> CreatedExecution:
        """Create an execution, and advance it now if there is room; otherwise whoever has room first does."""
        created = await self._start(create, only_fitting=False) if self._room > 0 else await create(None)
        if created.claim is None and not created.existed and self._limits.executes:
            self._started_here.add(created.id)
            self._work_may_be_there.set()  # the room may be that of a claim under way
        return created

    async def take(self, execution_id: UUID, *, only_fitting: bool = False) -> None:
        """Advance this execution now, however many there are, if it is free and this process executes.

        Args:
            execution_id: which one.
            only_fitting: leave it to others if it needs tools that are not known here.
        """
        if not self._limits.executes or self._stopping:
            return
        if self.owns(execution_id):
            self._renewal_wanted.set()
            return
        try:
            await self._claim(limit=1, execution_id=execution_id, only_fitting=only_fitting)
        except StorageError as error:
            logger.warning("Execution %s is left to whoever looks for work: %s", execution_id, error)
            self._work_may_be_there.set()

    async def attend(self, execution_id: UUID) -> float | None:
        """Advance this execution if it is free and fits; return when this process does not own it any more.

        Returns:
            ``None``, or the seconds after which to look at it again, because another process has it, or there
            is no room here, or its turn has not come.
        """
        if not self.owns(execution_id):
            wait = BUSY_SECONDS if self._room <= 0 else self._pace.wait_seconds()
            if wait > 0:
                return wait
        with anyio.CancelScope(shield=True):
            await self.take(execution_id, only_fitting=True)
        while self.owns(execution_id):
            with self.changes.expected(execution_id, only_settled=True) as change:
                if self.owns(execution_id):
                    await change.within(self._limits.lease_seconds)
        try:
            return self._seconds_of_others(await self._repository.read_execution(execution_id))
        except (StorageError, NotFound):
            return None

    def owns(self, execution_id: UUID) -> bool:
        """Whether this process advances the execution."""
        return execution_id in self._owners or execution_id in self._preparing

    def _seconds_of_others(self, execution: ExecutionRecord) -> float | None:
        """Return how long the lease of another owner still runs."""
        if execution.lease_expires_at is None or self._stopping:
            return None
        if not self._clock.is_told:
            return BUSY_SECONDS
        left = (execution.lease_expires_at - self._clock.now()).total_seconds()
        return max(left, 0.0) + BUSY_SECONDS

    @property
    def offered_tools(self) -> Sequence[str]:
        """Every name by which a step can mean a tool that is known here."""
        return self._offering.tools

    async def give_places(self) -> None:
        """Give the free places of limited templates away.

        Raises:
            StorageError: the database is away.
        """
        await self._claim(limit=0)

    async def next_hint(self) -> None:
        """Return when something may have become free, at the latest after ``poll_seconds``."""
        self._offering.look()
        await self._wait_for_hint()

    async def _start_child(self, create: Create) -> CreatedExecution:
        return await self._start(create, only_fitting=self._limits.is_dispatched)

    async def _start(self, create: Create, *, only_fitting: bool) -> CreatedExecution:
        """Create an execution and advance it; whoever gave up waiting for that leaves no claim behind."""
        if not self._limits.executes or self._stopping:
            return await create(None)
        leased_until = steady_seconds() + self._limits.lease_seconds
        taker = Taker(
            owner_id=self._limits.owner_id,
            lease_seconds=self._limits.lease_seconds,
            offered_tools=tuple(self._offering.tools) if only_fitting else None,
        )
        self._wanted += 1
        try:
            with anyio.CancelScope(shield=True):
                created = await create(taker)
                if created.claim is not None:
                    await self._take_on(created.claim, Lease(leased_until, self._want_renewal))
                return created
        finally:
            self._wanted -= 1
        raise AssertionError("a shield lets everything through")

    async def _take_child(self, execution_id: UUID) -> None:
        await self.take(execution_id, only_fitting=self._limits.is_dispatched)

    @property
    def _room(self) -> int:
        return self._limits.max_executions - len(self._owners) - len(self._preparing) - self._wanted

    # -- owning ----------------------------------------------------------------------------------

    async def _claim(self, *, limit: int, execution_id: UUID | None = None, only_fitting: bool = True) -> int:
        """Take free executions and advance them; return how many there were."""
        leased_until = steady_seconds() + self._limits.lease_seconds
        self._wanted += limit
        try:
            claims = await self._repository.claim(
                self._limits.owner_id,
                lease_seconds=self._limits.lease_seconds,
                limit=limit,
                execution_id=execution_id,
                offered_tools=self._offering.tools if only_fitting else None,
            )
            for claim in claims:
                await self._take_on(claim, Lease(leased_until, self._want_renewal))
        finally:
            self._wanted -= limit
        return len(claims)

    async def _take_on(self, claim: Claim, lease: Lease) -> None:
        """Advance what was claimed; what comes when this process has handed over is given back."""
        if self._tasks is None:
            with anyio.CancelScope(shield=True), anyio.move_on_after(GIVE_BACK_SECONDS):
                await self._give_back(claim)
            return
        self._clock.told(claim.now)
        self._preparing.add(claim.execution.id)
        self._started_here.discard(claim.execution.id)
        self._tasks.start_soon(self._advance, claim, lease)

    def _look_again(self) -> None:
        self._work_may_be_there.set()

    def _want_renewal(self) -> None:
        self._renewal_wanted.set()

    async def _advance(self, claim: Claim, lease: Lease) -> None:
        execution_id = claim.execution.id
        try:
            if not await self._advance_claimed(claim, lease):
                await self._give_back(claim)
        except WorkflowError as error:
            logger.warning("Execution %s stopped here: %s", execution_id, error)
            await self._give_back(claim)
        finally:
            owner = self._owners.pop(execution_id, None)
            self._preparing.discard(execution_id)
            self._fewer_owned.set()
            if claim.execution.place is not None or self._left_behind or self._started_here:
                self._work_may_be_there.set()
        self.changes.tell(execution_id, settled=True, row=owner.row_left if owner is not None else None)

    async def _advance_claimed(self, claim: Claim, lease: Lease) -> bool:
        prepared = await self._preparation.prepare(claim, self._journal)
        if prepared is None:
            return True
        owner = Owner(
            self._effects,
            prepared.interpreter,
            prepared.mask,
            prepared.admission,
            prepared.share,
            execution_id=claim.execution.id,
            root_id=claim.execution.root_execution_id,
            fencing_token=claim.fencing_token,
            lease=lease,
            journal_sequence=prepared.journal_sequence,
            deadline_at=prepared.deadline_at,
        )
        self._owners[claim.execution.id] = owner
        self._preparing.discard(claim.execution.id)
        if self._stopping:
            owner.drain()
        return await owner.run(prepared.requests)

    async def _give_back(self, claim: Claim) -> None:
        try:
            await self._repository.release([(claim.execution.id, claim.fencing_token)])
        except StorageError as error:
            logger.warning("Leases run out by themselves, giving them back failed: %s", error)

    async def _hand_over(self) -> None:
        """Let running calls finish within the grace period, then leave everything to others."""
        self._stopping = True
        for owner in list(self._owners.values()):
            owner.drain()
        await self._own_nothing_within(self._limits.shutdown_grace_seconds)
        for owner in list(self._owners.values()):
            owner.stop()
        await self._own_nothing_within(GIVE_BACK_SECONDS)

    async def _own_nothing_within(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            while self._owners or self._preparing:
                self._fewer_owned = anyio.Event()
                await self._fewer_owned.wait()

    # -- background ------------------------------------------------------------------------------

    async def _look_for_work(self) -> None:
        while not self._stopping:
            may_be_more = await self._patiently(self._claim_free)
            if may_be_more is None:
                await self._let_owners_come_back()
            elif not may_be_more:
                self._offering.look()
                await self._wait_for_hint()

    async def _claim_free(self) -> bool:
        """Claim what is free and there is room for; return whether there may be more of both.

        Half of the room is left to what starts here meanwhile. What this process owns is not free, even if
        its lease ran out in an outage. Without room nothing is claimed, but free places of limited templates
        are given away: a child that gets one is advanced by its parent's owner, room or not.
        """
        if not all(owner.lease.runs for owner in self._owners.values()):
            await self._renew()
        limit = (max(self._room, 0) + 1) // 2
        found = await self._claim(limit=limit)
        self._left_behind = found == limit
        if found < limit or limit == 0:
            await self._claim_started_here()
        return limit > 0 and self._left_behind

    async def _claim_started_here(self) -> None:
        """Take what this process started while it had no room, even if it needs tools unknown here."""
        while self._started_here and self._room > 0:
            await self._claim(limit=1, execution_id=self._started_here.pop(), only_fitting=False)

    async def _let_owners_come_back(self) -> None:
        """Wait until the database is back, and then for the owners whose leases ran out meanwhile.

        They have results that could not be written; who takes over at once has those steps run again.
        """
        while await self._patiently(partial(self._claim, limit=0)) is None:
            pass
        await anyio.sleep(self._limits.lease_seconds / 2)

    async def _wait_for_hint(self) -> None:
        with anyio.move_on_after(self._limits.poll_seconds):
            await self._work_may_be_there.wait()
        self._work_may_be_there = anyio.Event()

    async def _keep_leases(self) -> None:
        """Renew all leases a few times within one, or at once when a control request may be there."""
        while True:
            with anyio.move_on_after(self._limits.lease_seconds / 4):
                await self._renewal_wanted.wait()
            self._renewal_wanted = anyio.Event()
            await self._patiently(self._renew)

    async def _renew(self) -> None:
        held = [(owner.execution_id, owner.fencing_token) for owner in self._owners.values()]
        if not held:
            return
        leased_until = steady_seconds() + self._limits.lease_seconds
        answers = await self._repository.renew(held, lease_seconds=self._limits.lease_seconds)
        for (_, token), answer in zip(held, answers, strict=True):
            self._clock.told(answer.now)
            self._renewed(token, answer, leased_until)

    def _renewed(self, fencing_token: int, answer: JournalAnswer, leased_until: float) -> None:
        owner = self._owners.get(answer.execution_id)
        if owner is None or owner.fencing_token != fencing_token:
            return
        if answer.accepted:
            owner.lease.renewed(leased_until)
            owner.take_requests(answer.control_requests)
        else:
            owner.stop()

    async def _watch(self) -> None:
        while True:
            await self._patiently(self._listen)
            await anyio.sleep(self._limits.poll_seconds)

    async def _listen(self) -> None:
        async with self._repository.watch() as announcements:
            async for announcement in announcements:
                self.changes.tell(announcement.execution_id, settled=True)
                if announcement.kind != "changed":
                    self._hint(announcement.execution_id)

    def _hint(self, execution_id: UUID) -> None:
        """Look soon at an execution that may have something new: its requests, or that it is free."""
        if execution_id in self._owners:
            self._renewal_wanted.set()
        else:
            self._work_may_be_there.set()

    async def _patiently(self, work: Callable[[], Awaitable[int | None]]) -> int | None:
        """Do background work; a database that is away is a reason to wait, not to stop."""
        try:
            return await work()
        except StorageError as error:
            logger.warning("The database is away: %s", error)
            await anyio.sleep(self._limits.poll_seconds)
            return None
