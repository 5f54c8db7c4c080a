"""How long an owner may trust that an execution is still its own.

The database's fence refuses what a stale owner writes, but no database can refuse its tool calls. So none is
made on a lease that may have run out: an owner that was frozen for a while asks first.
"""

from collections.abc import Callable

import anyio

from archon_workflows.engine.clock import steady_seconds


class Lease:
    """The time, by ``steady_seconds``, until which nobody else takes the execution.

    Args:
        until: counted from before the database was asked, so that it is never later than the database's own.
        ask: wants the lease renewed soon; does not wait for it.
    """

    def __init__(self, until: float, ask: Callable[[], None]) -> None:
        self._until = until
        self._ask = ask
        self._renewed = anyio.Event()

    def renewed(self, until: float) -> None:
        """Take the database's word that the execution is still this owner's."""
        self._until = until
        self._renewed.set()
        self._renewed = anyio.Event()

    @property
    def runs(self) -> bool:
        """Whether the execution surely is this owner's now."""
        return steady_seconds() < self._until

    async def hold(self) -> None:
        """Return at once while the lease runs; otherwise when it was renewed.

        It is for whoever hears that the lease was lost to cancel the wait.
        """
        while not self.runs:
            self._ask()
            await self._renewed.wait()
