"""The journal: every write of every owner, many executions to a round trip.

While one round trip is under way, what becomes ready waits for the next; so a lone execution never waits
for company, and sixty-four share their commits (group commit, as databases do it).
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from archon_workflows.engine.clock import DatabaseClock
from archon_workflows.errors import StorageError, WorkflowError
from archon_workflows.model.records import JournalAnswer, JournalEntry
from archon_workflows.storage.refusals import CURABLE
from archon_workflows.storage.repository import Repository

logger = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 5.0
LARGEST_BATCH = 256


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
    """Collects entries and writes them; one ``run`` task serves all owners of a process."""

    def __init__(self, repository: Repository, clock: DatabaseClock) -> None:
        self._repository = repository
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._arrived = asyncio.Event()

    async def write(self, entry: JournalEntry) -> JournalAnswer:
        """Write an entry; return when it is durable, however long the database is away or locked to us.

        Raises:
            WorkflowError: the database refuses this very entry; trying again would not help.
        """
        answer: asyncio.Future[JournalAnswer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(entry, answer))
        self._arrived.set()
        return await answer

    async def run(self) -> None:
        """Serve owners until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
                await self._write(batch)

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
