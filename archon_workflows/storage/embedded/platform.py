"""Locks and detached processes: the one room that knows that POSIX and Windows differ.

A lock here is a file that the kernel unlocks however its holder ends. It never says who holds it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

RETRY_SECONDS = 0.01

MOST_SHARERS = 512
"""On Windows, where only single bytes can be locked: how many can share a lock."""


class LockFile:
    """A lock on a file, exclusive or shared with others; one object holds it once at most.

    It is let go by ``release``, when the object's process ends, and (POSIX) when the last child that was
    forked without ``exec`` ends too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def try_exclusive(self) -> bool:
        """Take the lock alone, or return False at once where somebody has it."""
        return self._try(exclusive=True)

    def try_shared(self) -> bool:
        """Take the lock together with other sharers, or return False at once."""
        return self._try(exclusive=False)

    def wait_shared(self, seconds: float) -> bool:
        """Take the lock shared, waiting up to ``seconds``; return whether it is held."""
        return wait_until(self.try_shared, seconds)

    def wait_exclusive(self, seconds: float) -> bool:
        """Take the lock alone, waiting up to ``seconds``; return whether it is held."""
        return wait_until(self.try_exclusive, seconds)

    def release(self) -> None:
        """Let the lock go; harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def descriptors_for_children(self) -> tuple[int, ...]:
        """Return what to pass to a child so that it holds the lock too while it lives (not on Windows)."""
        return () if self._descriptor is None or os.name == "nt" else (self._descriptor,)

    def is_free(self) -> bool:
        """Return whether nobody holds the lock (a glance: it may change at once)."""
        glance = LockFile(self._path)
        free = glance.try_exclusive()
        glance.release()
        return free

    def is_on_disk(self) -> bool:
        """Return whether the file that is held is still the one at the path."""
        with suppress(OSError):
            return self._descriptor is not None and os.path.samestat(
                os.fstat(self._descriptor), self._path.stat()
            )
        return False

    def _try(self, *, exclusive: bool) -> bool:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _lock(descriptor, exclusive=exclusive):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask ``condition`` every 10 ms until it is true or ``seconds`` are over; return its last answer."""
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(RETRY_SECONDS)
    return met


if sys.platform == "win32":

    def user_id() -> int:
        """Return 0: on Windows the folders' own access lists are trusted."""
        return 0

    def spawn_detached(
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        seconds: float,  # noqa: ARG001 - one signature for both systems
    ) -> str:
        """Start a process that outlives this one and return the first line it prints.

        ``seconds`` is not kept on Windows, whose pipes cannot be waited for; the process itself is bounded.
        """
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        with log.open("ab") as errors:
            process = subprocess.Popen(  # noqa: S603 - our own program
                command, stdout=subprocess.PIPE, stderr=errors, env=env, creationflags=flags, text=True
            )
        return process.stdout.readline() if process.stdout else ""

    def detach() -> None:
        """Do nothing: ``spawn_detached`` has detached this process already."""

    def _lock(descriptor: int, *, exclusive: bool) -> bool:
        attempts = [(0, MOST_SHARERS)] if exclusive else [(place, 1) for place in range(MOST_SHARERS)]
        for place, length in attempts:
            os.lseek(descriptor, place, os.SEEK_SET)
            with suppress(OSError):
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, length)
                return True
        return False

else:

    def user_id() -> int:
        """Return the id of the user as whom this process makes files."""
        return os.geteuid()

    def spawn_detached(command: Sequence[str], *, env: Mapping[str, str], log: Path, seconds: float) -> str:
        """Start a process that calls ``detach``, and return what it prints before it closes its output.

        Raises:
            subprocess.TimeoutExpired: it printed for longer than ``seconds``.
        """
        with log.open("ab") as errors:
            ended = subprocess.run(  # noqa: S603 - our own program
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=dict(env),
                cwd="/",
                timeout=seconds,
                check=False,
                text=True,
            )
        return ended.stdout

    def detach() -> None:
        """Leave the parent and its terminal: it sees this process end, which goes on as a child of init."""
        if os.fork() != 0:
            os._exit(0)
        os.setsid()

    def _lock(descriptor: int, *, exclusive: bool) -> bool:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
