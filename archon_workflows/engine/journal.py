"""The journal: every write of every owner, many executions to a round trip.

While one round trip is under way, what becomes ready waits for the next; so a lone execution never waits
for company, and sixty-four share their commits (group commit, as databases do it).
"""

import logging
from collections.abc import Sequence

import anyio

from archon_workflows.engine.clock import DatabaseClock
from archon_workflows.errors import StorageError, WorkflowError
from archon_workflows.model.records import JournalAnswer, JournalEntry
from archon_workflows.storage.refusals import CURABLE
from archon_workflows.storage.repository import Repository

logger = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 5.0
LARGEST_BATCH = 256


class _Waiting:
    """An entry and the owner that waits for its answer."""

    __slots__ = ("answer", "answered", "entry", "error")

    def __init__(self, entry: JournalEntry) -> None:
        self.entry = entry
        self.answer: JournalAnswer | None = None
        self.error: WorkflowError | None = None
        self.answered = anyio.Event()


class Journal:
    """Collects entries and writes them; one ``run`` task serves all owners of a process."""

    def __init__(self, repository: Repository, clock: DatabaseClock) -> None:
        self._repository = repository
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._arrived = anyio.Event()

    async def write(self, entry: JournalEntry) -> JournalAnswer:
        """Write an entry; return when it is durable, however long the database is away or locked to us.

        Raises:
            WorkflowError: the database refuses this very entry; trying again would not help.
        """
        waiting = _Waiting(entry)
        self._waiting.append(waiting)
        self._arrived.set()
        await waiting.answered.wait()
        if waiting.answer is None:
            raise waiting.error or StorageError("The journal was closed before the entry was written.")
        return waiting.answer

    async def run(self) -> None:
        """Serve owners until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived = anyio.Event()
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
            waiting.answer = answer
            waiting.answered.set()
        self._clock.told(answers[-1].now)

    async def _write_apart(self, batch: Sequence[_Waiting], error: WorkflowError) -> None:
        """Find the entry that the database refuses, so that the others are written."""
        if len(batch) == 1:
            logger.error("The database refused a journal entry: %s", error)
            batch[0].error = error
            batch[0].answered.set()
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
