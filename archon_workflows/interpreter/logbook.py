"""Which log entries are kept, so that ``execution_log`` stays bounded however long a loop is."""

from archon_workflows.model.records import LogEntry, LogLevel

DETAIL_LIMIT = 100
"""Entries of nested steps at level info are kept while the log is shorter than this."""

STEP_LIMIT = 500
"""Entries about steps are kept while the log is shorter than this; those of the execution always are."""


class Logbook:
    """Counts what the log holds and decides what still goes in; what does not is counted too."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._kept: list[LogEntry] = []
        self._dropped = 0

    def write(self, entry: LogEntry, *, nested: bool) -> None:
        """Keep the entry if there is room for one of its kind."""
        if self._length >= self._room(entry.level, nested=nested, of_step=entry.step_name is not None):
            self._dropped += 1
            return
        self._length += 1
        self._kept.append(entry)

    @staticmethod
    def _room(level: LogLevel, *, nested: bool, of_step: bool) -> float:
        if not of_step:
            return float("inf")
        return DETAIL_LIMIT if nested and level in ("debug", "info") else STEP_LIMIT

    def take(self) -> tuple[list[LogEntry], int]:
        """Return what was written since the last call, and how many entries were dropped."""
        kept, dropped = self._kept, self._dropped
        self._kept, self._dropped = [], 0
        return kept, dropped
