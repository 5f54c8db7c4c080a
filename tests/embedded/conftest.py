"""An empty home a test, and real processes that use it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from embedded_processes import Home, StartUser, User, end_all, eventually

CHECKOUT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("user_process.py")


@pytest.fixture
def home() -> Iterator[Home]:
    """An empty home; when the test is over, nothing may run for it any more."""
    beside = Path(os.environ["ARCHON_WORKFLOWS_TESTS_HOME"])
    found = Home(Path(tempfile.mkdtemp(prefix=f"{beside.name}-", dir=beside.parent)))
    yield found
    try:
        assert eventually(found.is_quiet), found.processes()
    finally:
        end_all(found.processes())
        shutil.rmtree(found.path)


@pytest.fixture
def start_user(home: Home) -> Iterator[StartUser]:
    """Start a process that uses the home; it is ended with the test."""
    started: list[User] = []

    def start(
        *options: str,
        path: Path | None = None,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> User:
        process = subprocess.Popen(
            [*prefix, sys.executable, PROGRAM, path or home.path, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), **(env or {})},
        )
        started.append(User(process))
        return started[-1]

    yield start
    for user in started:
        user.process.kill()
        user.process.communicate()
