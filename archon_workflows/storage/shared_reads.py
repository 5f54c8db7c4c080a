"""Reads of single rows that share round trips: what is asked for while one is under way goes with the next.

As the journal does it for writes. Whoever waits for one of many executions looks again every second; alone,
each of these looks would cost as much as a write.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import anyio

from archon_workflows.errors import WorkflowError
from archon_workflows.storage.rows import Row

ReadRows = Callable[[Sequence[UUID]], Awaitable[Mapping[UUID, Row]]]


@dataclass(slots=True)
class _Batch:
    """Ids that are read together, and then what was read, or why it could not be."""

    ids: set[UUID] = field(default_factory=set[UUID])
    rows: Mapping[UUID, Row] | None = None
    error: WorkflowError | None = None

    @property
    def is_read(self) -> bool:
        return self.rows is not None or self.error is not None


class SharedReads:
    """Reads rows by id through ``read``, one batch at a time."""

    def __init__(self, read: ReadRows) -> None:
        self._read = read
        self._turn = anyio.Lock()
        self._next = _Batch()

    async def row(self, row_id: UUID) -> Row | None:
        """Return the row as it is after this call began; ``None`` where there is none.

        Raises:
            WorkflowError: what ``read`` raised.
        """
        batch = self._next
        batch.ids.add(row_id)
        async with self._turn:
            if not batch.is_read:  # the first of the batch whose turn it is reads for all of them
                await self._read_for_all(batch)
        if batch.rows is None:
            raise batch.error or WorkflowError("A batch of reads ended without a result.")
        return batch.rows.get(row_id)

    async def _read_for_all(self, batch: _Batch) -> None:
        if self._next is batch:
            self._next = _Batch()
        try:
            batch.rows = await self._read(tuple(batch.ids))
        except WorkflowError as error:
            batch.error = error
