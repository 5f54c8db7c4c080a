"""Ends processes of Postgres that a dead sitter or postmaster left behind on a data folder.

Run as a program of its own, with the data folder as argument, because looking at processes takes a library
that would double the sitter's memory and start. A process is one of ours only if its working folder is the
data folder: process ids in files may long belong to somebody else.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from archon_workflows.storage.embedded.platform import wait_until

FAST_SHUTDOWN_SECONDS = 10.0


def main() -> None:
    """End what still works in the folder named by the first argument."""
    end_leftovers(Path(sys.argv[1]))


def end_leftovers(data: Path) -> None:
    """Shut down a postmaster that works in ``data``, then kill what does not end by itself."""
    found = _processes_in(data)
    for process in found:
        _ask_to_end(process, found)
    if not wait_until(lambda: _all_gone(found, data), FAST_SHUTDOWN_SECONDS):
        for process in found:
            _kill(process)
        wait_until(lambda: _all_gone(found, data), FAST_SHUTDOWN_SECONDS)


def _processes_in(data: Path) -> list[psutil.Process]:
    return [
        process for process in psutil.process_iter() if _is_postgres(process) and _works_in(process, data)
    ]


def _all_gone(processes: list[psutil.Process], data: Path) -> bool:
    """Return whether none works any more; one that its parent has not buried yet is gone too."""
    return not any(_works_in(process, data) for process in processes)


def _is_postgres(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("postgres")
    except psutil.Error:
        return False


def _works_in(process: psutil.Process, data: Path) -> bool:
    try:
        return data.samefile(process.cwd())
    except (psutil.Error, OSError):
        return False


def _ask_to_end(process: psutil.Process, found: list[psutil.Process]) -> None:
    """Ask a postmaster for a fast shutdown; an orphaned backend ends when it sees its postmaster gone."""
    with suppress(psutil.NoSuchProcess):
        if process.parent() not in found:
            process.terminate() if os.name == "nt" else process.send_signal(signal.SIGINT)


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()


if __name__ == "__main__":
    main()
