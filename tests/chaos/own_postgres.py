"""A Postgres server of the run's own, that can be stopped, killed and started again.

It is the product's embedded server without its sitter: the run itself is the server's parent.
"""

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import psutil

from archon_workflows.storage.embedded.address import read_address
from archon_workflows.storage.embedded.binaries import find_programs
from archon_workflows.storage.embedded.cluster import Recipe, make_cluster
from archon_workflows.storage.embedded.layout import Layout
from archon_workflows.storage.embedded.platform import LockFile, wait_until
from archon_workflows.storage.embedded.postmaster import Postmaster

WITHOUT_A_DISK = Recipe({"fsync": "off", "full_page_writes": "off", "max_connections": "200"})
"""A killed server loses nothing by it, only a machine without power would: commits still wait for the log."""

GONE_SECONDS = 10.0

ResultT = TypeVar("ResultT")


class OwnPostgres:
    """The server; every verb runs in one thread, with whose end the kernel would end the server."""

    def __init__(self, home: Path) -> None:
        self._layout = Layout.of_home(home)
        self._programs = find_programs()
        self._postmaster = Postmaster(self._layout, self._programs)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="own-postgres")

    async def open(self) -> str:
        """Make and start the server; return its URL."""
        await self._run(self._make)
        await self.start()
        return self.url

    @property
    def url(self) -> str:
        """Where it is, as superuser."""
        return read_address(self._layout).url

    async def start(self) -> None:
        """Start it again."""
        await self._run(self._postmaster.start)

    async def stop(self) -> None:
        """Stop it, ending its sessions."""
        await self._run(self._postmaster.stop)

    async def kill(self) -> None:
        """End its postmaster without a word; the sessions end when they notice."""
        await self._run(self._kill)

    def kill_session(self, dice: random.Random) -> bool:
        """Kill one session's process, upon which the server ends all of them and recovers."""
        sessions = [one for one in psutil.Process(self._pid()).children() if _is_session(one)]
        if sessions:
            dice.choice(sessions).kill()
        return bool(sessions)

    async def close(self) -> None:
        """Stop it for good."""
        await self.stop()
        self._thread.shutdown()

    def _make(self) -> None:
        self._layout.make_root()
        lock = LockFile(self._layout.start_lock)
        assert lock.wait_exclusive(10)
        try:
            make_cluster(self._layout, self._programs, WITHOUT_A_DISK, lock)
        finally:
            lock.release()

    def _kill(self) -> None:
        server = psutil.Process(self._pid())
        sessions = server.children(recursive=True)
        server.kill()
        wait_until(lambda: not self._postmaster.is_alive(), GONE_SECONDS)
        psutil.wait_procs(sessions, timeout=GONE_SECONDS)

    def _pid(self) -> int:
        return int((self._layout.data / "postmaster.pid").read_text().splitlines()[0])

    async def _run(self, work: Callable[[], ResultT]) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _is_session(process: psutil.Process) -> bool:
    """Whether it serves a client; sessions come and go while one looks."""
    try:
        return "[local]" in " ".join(process.cmdline())
    except psutil.Error:
        return False
