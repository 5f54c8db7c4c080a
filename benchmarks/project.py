"""A Supabase project as the tests make it, in a process of its own; its database is durable."""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class ProjectProcess:
    """The project, and what it counted.

    Attributes:
        addresses: ``url`` and ``key`` of its API, and ``database_url``.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.addresses = self._answer()

    def calls(self) -> dict[str, int]:
        """Return how often each path was asked for since the last time."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextmanager
def running_project(home: Path) -> Generator[ProjectProcess]:
    """Yield the project, whose files are in ``home``."""
    program = Path(__file__).with_name("project_process.py")
    modules = (ROOT, *(ROOT / "tests" / folder for folder in ("supabase", "storage", "tool_servers")))
    process = subprocess.Popen(
        [sys.executable, str(program), str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, modules))},
    )  # fmt: skip
    try:
        yield ProjectProcess(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)
