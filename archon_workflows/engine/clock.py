"""The clocks: the database's, as well as this process can know it, and one that counts on in between."""

import time
from datetime import datetime, timedelta

_COUNTS_WHILE_ASLEEP: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def steady_seconds() -> float:
    """Return the seconds of a clock that nobody sets, and that counts on while the machine sleeps.

    On Linux ``time.monotonic`` stands still in a suspended laptop; leases do not.
    """
    return time.monotonic() if _COUNTS_WHILE_ASLEEP is None else time.clock_gettime(_COUNTS_WHILE_ASLEEP)


class DatabaseClock:
    """Tells the database's time between its answers.

    Machines disagree about the time, so every timer of an execution runs by one clock: each answer of the
    database brings its time, and in between ``steady_seconds`` counts on.
    """

    def __init__(self) -> None:
        self._told: datetime | None = None
        self._told_at = 0.0

    def told(self, now: datetime) -> None:
        """Take the time from an answer; one that seems to lie in the past is an older answer."""
        if self._told is None or now > self.now():
            self._told, self._told_at = now, steady_seconds()

    @property
    def is_told(self) -> bool:
        """Whether the database has told its time."""
        return self._told is not None

    def now(self) -> datetime:
        """Return the database's time.

        Raises:
            RuntimeError: no answer has come yet.
        """
        if self._told is None:
            raise RuntimeError("The database has not told its time yet.")
        return self._told + timedelta(seconds=steady_seconds() - self._told_at)
