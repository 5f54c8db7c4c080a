"""The timers of one execution."""

import heapq
from datetime import datetime


class Timers:
    """Keys with a time; setting a key again replaces it."""

    def __init__(self) -> None:
        self._at: dict[str, datetime] = {}
        self._heap: list[tuple[datetime, str]] = []

    def set(self, key: str, at: datetime) -> None:
        """Remember to fire ``key`` at that time."""
        self._at[key] = at
        heapq.heappush(self._heap, (at, key))

    def cancel(self, key: str) -> None:
        """Forget ``key``."""
        self._at.pop(key, None)

    def next_at(self) -> datetime | None:
        """Return the time of the earliest timer."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: datetime) -> list[str]:
        """Return the keys whose time has come, earliest first, and forget them."""
        due: list[str] = []
        while (at := self.next_at()) is not None and at <= now:
            _, key = heapq.heappop(self._heap)
            del self._at[key]
            due.append(key)
        return due

    def _drop_stale(self) -> None:
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
