"""A machine whose clocks are wrong: in a chaos worker's process, all that the product can read of them."""

import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from functools import wraps
from typing import Self

PRODUCT = "archon_workflows"


def be_ahead(seconds: float) -> None:
    """Let this process's clocks be ahead for good; behind, if it is negative.

    The time of day differs between machines, and what a steady clock counts from does too. Not touched is
    ``time.monotonic``, by which the event loop sleeps.
    """
    time.time = _later(time.time, seconds)
    time.clock_gettime = _later(time.clock_gettime, seconds)

    class WrongDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(seconds=seconds)

    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == PRODUCT and getattr(module, "datetime", None) is datetime:
            setattr(module, "datetime", WrongDatetime)  # noqa: B010 - a module has no such attribute by type


def _later(clock: Callable[..., float], seconds: float) -> Callable[..., float]:
    @wraps(clock)
    def read(*which: int) -> float:
        return clock(*which) + seconds

    return read
