"""The sitter: a small process that is the server's parent, restarts it, and stops it after the last user.

One per home, held by ``sitter.lock``. A user starts it when there is none; it outlives that user. It looks
at ``users.lock`` and at its child four times a second, and stops both itself and the server when nobody has
held the former for a while. It knows no user and trusts no file: only locks, which the kernel keeps.

::

    python -m archon_workflows.storage.embedded.sitter ROOT PROGRAMS LINGER_SECONDS
"""

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from archon_workflows.errors import StorageError
from archon_workflows.storage.embedded.address import choose_port
from archon_workflows.storage.embedded.layout import Layout, unusable
from archon_workflows.storage.embedded.platform import LockFile, detach
from archon_workflows.storage.embedded.postmaster import Postmaster

LOOK_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0
HELD_OUT_SECONDS = 60.0
LOCK_SECONDS = 1.0


class Sitter:
    """Looks after one server until nobody uses it.

    Args:
        layout: whose server.
        programs: folder of the programs of Postgres.
        linger_seconds: how long the server stays after its last user.
    """

    def __init__(self, layout: Layout, programs: Path, linger_seconds: float) -> None:
        self._layout = layout
        self._postmaster = Postmaster(layout, programs)
        self._linger_seconds = linger_seconds
        self._own_lock = LockFile(layout.sitter_lock)
        self._start_lock = LockFile(layout.start_lock)
        self._user_lock = LockFile(layout.user_lock)
        self._last_used = time.monotonic()
        self._backoff = Backoff()

    def start(self) -> bool:
        """Become the one sitter of the home and start its server; return False where there is another.

        Raises:
            StorageError: the server does not start.
        """
        if not self._own_lock.wait_exclusive(LOCK_SECONDS):
            return False
        choose_port(self._layout)
        self._postmaster.start()
        return True

    def stay(self) -> None:
        """Look after the server, and return when it has been stopped after its last user."""
        while not self._retire_if_alone():
            time.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        """Stop the server."""
        self._postmaster.stop()

    def _retire_if_alone(self) -> bool:
        if not self._own_lock.is_on_disk():
            self.stop()
            return True
        if not self._user_lock.is_free():
            self._last_used = time.monotonic()
            self._revive()
            return False
        if time.monotonic() - self._last_used < self._linger_seconds:
            return False
        return self._retire()

    def _retire(self) -> bool:
        """Stop while no user can start: a new one holds ``users.lock`` before it asks for ``start.lock``."""
        if not self._start_lock.wait_exclusive(LOCK_SECONDS):
            return False
        try:
            if not self._user_lock.is_free():
                return False
            self._leave_nothing_behind()
            self._own_lock.release()
            return True
        finally:
            self._start_lock.release()

    def _leave_nothing_behind(self) -> None:
        """Stop the server; start one that was killed first, as only a successor frees its shared memory."""
        if not self._postmaster.is_alive():
            with suppress(StorageError, OSError):
                self._postmaster.start()
        self.stop()

    def _revive(self) -> None:
        if self._postmaster.is_alive() or not self._backoff.is_over():
            return
        self._backoff.begin()
        try:
            self._postmaster.start()
        except (StorageError, OSError) as error:
            print(f"The sitter will try again: {error}", file=sys.stderr, flush=True)  # noqa: T201 - its log


class Backoff:
    """The wait before a server that has died is started again: longer each time, until it has held out."""

    def __init__(self) -> None:
        self._begun = 0.0
        self._seconds = 0.0

    def is_over(self) -> bool:
        """Return whether the wait that was begun last is over."""
        return time.monotonic() >= self._begun + self._seconds

    def begin(self) -> None:
        """Begin the wait that keeps the next start away from this one."""
        held_out = time.monotonic() - self._begun > HELD_OUT_SECONDS
        self._seconds = LOOK_SECONDS if held_out else min(LONGEST_PAUSE_SECONDS, 2 * self._seconds)
        self._begun = time.monotonic()


def main() -> None:
    """Start the server, tell the parent how that went, and stay."""
    layout, programs, linger_seconds = Layout(Path(sys.argv[1])), Path(sys.argv[2]), float(sys.argv[3])
    detach()
    signal.signal(signal.SIGTERM, _leave)
    sitter = Sitter(layout, programs, linger_seconds)
    try:
        started = sitter.start()
        _tell_parent("")
        if started:
            sitter.stay()
    except StorageError as error:
        _tell_parent(json.dumps(error.as_json()))
    except OSError as error:
        _tell_parent(json.dumps(unusable(layout, error).as_json()))
    finally:
        sitter.stop()


def _leave(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


def _tell_parent(letter: str) -> None:
    """Print the letter and close the pipe, which the parent reads to its end."""
    with suppress(BrokenPipeError):
        print(letter, flush=True)  # noqa: T201 - the parent reads it
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    main()
