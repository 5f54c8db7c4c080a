"""Real processes that use an embedded server, and eyes for what they leave behind."""

import json
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none
import psutil

from archon_workflows.storage.embedded.layout import Layout

_driver: Any = asyncpg

DEADLINE_SECONDS = 20.0


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a backend that came and went
        return []


@dataclass
class Home:
    """A home in a folder of its own, and the processes that serve it."""

    path: Path

    @property
    def layout(self) -> Layout:
        return Layout.of_home(self.path)

    def processes(self) -> list[psutil.Process]:
        """Return sitter, postmaster and backends, but no users."""
        return [process for process in psutil.process_iter() if self._is_served_by(process)]

    def kill_postmaster(self) -> None:
        killed = self.postmaster()
        killed.kill()
        assert eventually(lambda: not killed.is_running() or killed.status() == psutil.STATUS_ZOMBIE)

    def sitter(self) -> psutil.Process:
        (found,) = [process for process in self.processes() if "sitter" in " ".join(_arguments(process))]
        return found

    def postmaster(self) -> psutil.Process:
        (found,) = [process for process in self.processes() if "-D" in _arguments(process)]
        return found

    def is_quiet(self) -> bool:
        return not self.processes()

    def _is_served_by(self, process: psutil.Process) -> bool:
        try:
            arguments = process.cmdline()
            return "user_process.py" not in " ".join(arguments) and (
                str(self.layout.root) in arguments
                or str(self.layout.data) in arguments
                or Path(process.cwd()) == self.layout.data
            )
        except psutil.Error:
            return False


class User:
    """A process that uses the server of a home."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def first_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def url(self) -> str:
        line = self.first_line()
        assert line.startswith("postgresql://"), line
        return line

    def letter(self) -> dict[str, str]:
        return json.loads(self.first_line())

    def end(self) -> None:
        """Let the process exit by itself."""
        self.process.communicate(timeout=DEADLINE_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.communicate(timeout=DEADLINE_SECONDS)


StartUser = Callable[..., User]


def eventually(condition: Callable[[], bool]) -> bool:
    """Return whether the condition came true before the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return met


def end_all(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Any]:
    connection = await _driver.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
