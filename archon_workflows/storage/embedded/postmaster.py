"""Starting, asking and stopping the server process; it is the child of the process that starts it.

On Linux the kernel shuts it down when that process dies, so that it never outlives its sitter. Elsewhere the
next sitter ends it (see ``leftovers``) before it starts its own.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from archon_workflows.errors import StorageError
from archon_workflows.storage.embedded.address import read_address
from archon_workflows.storage.embedded.binaries import environment, program
from archon_workflows.storage.embedded.layout import SUPERUSER, Layout
from archon_workflows.storage.embedded.platform import wait_until
from archon_workflows.storage.embedded.privileges import Privileges, find_privileges

START_SECONDS = 60.0
"""Long enough to replay the log after a crash: at most ``max_wal_size`` of it."""

STOP_SECONDS = 20.0

QUIET_LOG = {
    "logging_collector": "off",
    "log_destination": "stderr",
    # Statements, and the rows that errors quote, may hold secrets; errors reach the client anyway.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}

LOG_BYTES = 4 * 1024 * 1024
"""A log that is longer is put aside at the next start; the one put aside before is dropped."""


class Postmaster:
    """The server of one layout, as seen by the process that started it."""

    def __init__(self, layout: Layout, programs: Path) -> None:
        self._layout = layout
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None

    def is_alive(self) -> bool:
        """Return whether the server that was started is still running."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and return when it takes connections.

        Raises:
            StorageError: it did not start (``embedded_postgres_failed``), with the end of its log.
        """
        self._layout.make_socket_folder()
        privileges = find_privileges(self._layout.root, self._programs)
        privileges.own(self._layout.data)
        if any(mark.exists() for mark in self._layout.marks_of_a_server()):
            self._sweep()
        if not self._try_to_start(privileges):
            # A server whose files are gone may still hold the shared memory: look for it, then try once more.
            self._sweep()
            if not self._try_to_start(privileges):
                raise _failure(self._layout)

    def stop(self) -> None:
        """Stop the server, ending its sessions; kill it where it does not end in time."""
        if self._process is None:
            return
        for ask in (self._shut_down_fast, self._quit):
            if not self.is_alive():
                break
            ask()
            wait_until(lambda: not self.is_alive(), STOP_SECONDS)
        if self.is_alive():
            self._process.kill()
        self._process.wait()
        self._layout.remove_socket_folder()

    def _shut_down_fast(self) -> None:
        self._ask_to_stop("fast", signal.SIGINT)

    def _quit(self) -> None:
        self._ask_to_stop("immediate", signal.SIGTERM if os.name == "nt" else signal.SIGQUIT)

    def _ask_to_stop(self, mode: str, number: signal.Signals) -> None:
        """Send the signal; on Windows, which has none, by the program for it (which root may not use)."""
        if os.name == "nt":
            command = [program(self._programs, "pg_ctl"), "stop", "-W", "-m", mode, "-D", self._layout.data]
            subprocess.run(command, check=False, stdin=subprocess.DEVNULL)  # noqa: S603 - a program of the wheel
        elif self._process is not None:
            self._process.send_signal(number)

    def _try_to_start(self, privileges: Privileges) -> bool:
        _put_long_log_aside(self._layout.log)
        command = privileges.command(
            program(self._programs, "postgres"),
            "-D",
            str(self._layout.data),
            *_options(self._layout),
            dies_with_parent=True,
        )
        with self._layout.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a program of the wheel
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._layout.root
            )
        accepting = wait_until(self._is_settled, START_SECONDS) and self.is_alive()
        if not accepting:
            self.stop()
        return accepting

    def _is_settled(self) -> bool:
        return not self.is_alive() or accepts_connections(self._layout, self._programs)

    def _sweep(self) -> None:
        """End a server that nobody looks after, and remove the files that it would have removed itself."""
        subprocess.run(  # noqa: S603 - our own program
            [
                sys.executable,
                "-P",
                "-m",
                "archon_workflows.storage.embedded.leftovers",
                str(self._layout.data),
            ],
            check=False,
        )
        for mark in self._layout.marks_of_a_server():
            mark.unlink(missing_ok=True)


def accepts_connections(layout: Layout, programs: Path) -> bool:
    """Return whether the server of ``layout`` takes connections now."""
    address = read_address(layout)
    where = (f"--host={address.host}", f"--port={address.port}", f"--username={SUPERUSER}")
    asked = subprocess.run(  # noqa: S603 - a program of the wheel
        [program(programs, "pg_isready"), "--quiet", *where],
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment(),
    )
    return asked.returncode == 0


def _options(layout: Layout) -> list[str]:
    return [f"--{name}={value}" for name, value in {**QUIET_LOG, **read_address(layout).settings}.items()]


def _failure(layout: Layout) -> StorageError:
    lines = layout.log.read_text(errors="replace").splitlines()
    return StorageError(
        f"The embedded Postgres in {str(layout.root)!r} did not start; its log ends with: "
        + " | ".join(lines[-5:]),
        code="embedded_postgres_failed",
        suggestion=f"Read {str(layout.log)!r}; see that the disk is not full.",
    )


def _put_long_log_aside(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
