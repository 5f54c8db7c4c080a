"""The timers of one execution, and the alarm that wakes its owner for the next of them."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime

from archon_workflows.engine.clock import DatabaseClock


class Alarm:
    """Wakes at a time by the database's clock, or somewhat earlier where that clock was corrected meanwhile.

    Most events leave the next timer where it is: setting the alarm to the same time again costs nothing.
    """

    def __init__(self, clock: DatabaseClock, wake: Callable[[], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._at: datetime | None = None
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at: datetime) -> None:
        """Wake at that time, and at no other."""
        if at == self._at:
            return
        self.cancel()
        self._at = at
        seconds = max(0.0, (at - self._clock.now()).total_seconds())
        self._handle = asyncio.get_running_loop().call_later(seconds, self._ring)

    def cancel(self) -> None:
        """Do not wake."""
        if self._handle is not None:
            self._handle.cancel()
        self._at = self._handle = None

    def _ring(self) -> None:
        self._at = self._handle = None
        self._wake()


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
