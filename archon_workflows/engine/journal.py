"""The journal: every write of every owner, many executions to a round trip.

A lone execution never waits for company, and sixty-four share their commits (group commit, as databases do
it). Two round trips may be under way: while the database writes for one half of many executions, this
process goes on with the other.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from archon_workflows.engine.clock import DatabaseClock
from archon_workflows.errors import StorageError, WorkflowError
from archon_workflows.model.records import JournalAnswer, JournalEntry
from archon_workflows.storage.refusals import CURABLE
from archon_workflows.storage.repository import Repository

logger = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS: Final = 5.0
LARGEST_BATCH: Final = 256
WRITERS: Final = 2

WORTH_SHARING: Final = 16
"""From so many entries on, what waits is shared out between the writers that have nothing to do."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An entry and what its owner waits for, who may have gone meanwhile."""

    entry: JournalEntry
    answer: asyncio.Future[JournalAnswer]

    def tell(self, answer: JournalAnswer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def refuse(self, error: WorkflowError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Journal:
    """Collects entries and writes them while ``run`` runs; one journal serves all owners of a process."""

    def __init__(self, repository: Repository, clock: DatabaseClock) -> None:
        self._repository = repository
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._writers: asyncio.TaskGroup | None = None
        self._writing = 0

    async def write(self, entry: JournalEntry) -> JournalAnswer:
        """Write an entry; return when it is durable, however long the database is away or locked to us.

        Raises:
            WorkflowError: the database refuses this very entry; trying again would not help.
        """
        answer: asyncio.Future[JournalAnswer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(entry, answer))
        self._call_writer()
        return await answer

    async def run(self) -> None:
        """Serve owners until cancelled."""
        async with asyncio.TaskGroup() as self._writers:
            self._call_writer()
            await asyncio.get_running_loop().create_future()

    def _call_writer(self) -> None:
        """Have what waits written; what else becomes ready in this turn of the loop goes with it."""
        if self._writing < WRITERS and self._waiting and self._writers is not None:
            self._writing += 1
            self._writers.create_task(self._write_waiting())

    async def _write_waiting(self) -> None:
        while batch := self._take_batch():
            await self._write(batch)
        self._writing -= 1

    def _take_batch(self) -> Sequence[_Waiting]:
        size = len(self._waiting)
        if size >= WORTH_SHARING:
            size = min(-(-size // (WRITERS + 1 - self._writing)), LARGEST_BATCH)
        batch, self._waiting = self._waiting[:size], self._waiting[size:]
        self._call_writer()
        return batch

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        try:
            answers = await self._record([waiting.entry for waiting in batch])
        except WorkflowError as error:
            await self._write_apart(batch, error)
            return
        for waiting, answer in zip(batch, answers, strict=True):
            waiting.tell(answer)
        self._clock.told(answers[-1].now)

    async def _write_apart(self, batch: Sequence[_Waiting], error: WorkflowError) -> None:
        """Find the entry that the database refuses, so that the others are written."""
        if len(batch) == 1:
            logger.error("The database refused a journal entry: %s", error)
            batch[0].refuse(error)
            return
        for waiting in batch:
            await self._write([waiting])

    async def _record(self, entries: Sequence[JournalEntry]) -> tuple[JournalAnswer, ...]:
        pause = 0.05
        while True:
            try:
                return await self._repository.record(entries)
            except StorageError as error:
                if error.code not in CURABLE:
                    raise
                logger.warning("The database is away; %d writes wait: %s", len(entries), error)
            await anyio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
