"""The database's clock, as well as this process can know it."""

from datetime import datetime, timedelta
from time import monotonic


class DatabaseClock:
    """Tells the database's time between its answers.

    Machines disagree about the time, so every timer of an execution runs by one clock: each answer of the
    database brings its time, and in between the process's monotonic clock counts on.
    """

    def __init__(self) -> None:
        self._told: datetime | None = None
        self._told_at = 0.0

    def told(self, now: datetime) -> None:
        """Take the time from an answer; one that seems to lie in the past is an older answer."""
        if self._told is None or now > self.now():
            self._told, self._told_at = now, monotonic()

    def now(self) -> datetime:
        """Return the database's time.

        Raises:
            RuntimeError: no answer has come yet.
        """
        if self._told is None:
            raise RuntimeError("The database has not told its time yet.")
        return self._told + timedelta(seconds=monotonic() - self._told_at)
