"""How often something may begin."""

from collections.abc import Callable


class Pace:
    """Lets so many begin a second, one after the other.

    Args:
        per_second: ``None``: as many as there are.
        clock: seconds, monotonic.
    """

    def __init__(self, per_second: float | None, clock: Callable[[], float]) -> None:
        self._seconds = 1 / per_second if per_second is not None else 0.0
        self._clock = clock
        self._next = clock()

    def wait_seconds(self) -> float:
        """Let one begin and return 0, or return after how many seconds the next one may."""
        now = self._clock()
        if now < self._next:
            return self._next - now
        self._next = max(self._next, now - self._seconds) + self._seconds
        return 0.0
