"""Who waits for which execution to change, in this process."""

from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

import anyio

from archon_workflows.model.records import ExecutionRecord

LOOK_AGAIN_SECONDS = 1.0
LOOKS_PER_SECOND = 100


class Change:
    """Something that is expected to happen to one execution.

    Attributes:
        row: what the execution's owner here left in the database, where that is known when it has happened.
    """

    def __init__(self, *, only_settled: bool) -> None:
        self.only_settled = only_settled
        self.row: ExecutionRecord | None = None
        self._happened = anyio.Event()

    def happen(self, row: ExecutionRecord | None) -> None:
        """Wake who waits."""
        self.row = row
        self._happened.set()

    async def within(self, seconds: float) -> None:
        """Return when it has happened, or when the time is over: hints get lost between processes."""
        with anyio.move_on_after(seconds):
            await self._happened.wait()


class Changes:
    """Wakes those who wait for an execution: a hint to look again, or the row that its owner here left."""

    def __init__(self) -> None:
        self._expected: defaultdict[UUID, set[Change]] = defaultdict(set)

    @property
    def look_again_seconds(self) -> float:
        """How long to trust in hints before looking: longer when many wait, so that all looks stay few."""
        return max(LOOK_AGAIN_SECONDS, len(self._expected) / LOOKS_PER_SECOND)

    def are_expected(self, execution_id: UUID) -> bool:
        """Whether anybody waits for this execution."""
        return execution_id in self._expected

    def tell(self, execution_id: UUID, *, settled: bool, row: ExecutionRecord | None = None) -> None:
        """Wake who waits for this execution; ``settled``: its status may have changed, to that of ``row``."""
        for change in self._expected.get(execution_id, ()):
            if settled or not change.only_settled:
                change.happen(row)

    @contextmanager
    def expected(self, execution_id: UUID, *, only_settled: bool) -> Generator[Change]:
        """Expect a change. Enter this before reading the execution, so that none is missed in between."""
        change = Change(only_settled=only_settled)
        self._expected[execution_id].add(change)
        try:
            yield change
        finally:
            self._expected[execution_id].discard(change)
            if not self._expected[execution_id]:
                del self._expected[execution_id]
