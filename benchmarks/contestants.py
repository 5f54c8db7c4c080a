"""Who is measured: programs that are asked for work, each in an environment and on a database of its own."""

import asyncio
import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).with_name("programs")
ANSWER_SECONDS = 120.0
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One program.

    Attributes:
        name: in the tables.
        program: of the folder ``programs``.
        arguments: after the URL of its database, where it ``needs_database``.
        packages: what its own environment has; none: it runs in this one.
        database: whose database it uses, if not its own.
    """

    name: str
    program: str
    arguments: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    needs_database: bool = True
    database: str | None = None


class Started:
    """A contestant whose program runs."""

    def __init__(self, contestant: Contestant, process: asyncio.subprocess.Process) -> None:
        self.contestant = contestant
        self._is_stuck = False
        self._process = process

    async def greet(self) -> None:
        """Wait until it is ready."""
        await self._answer()

    async def do(self, work: str, **numbers: Any) -> Mapping[str, Any]:
        """Ask for a piece of work; ``{"failed": why}`` is an answer too."""
        assert self._process.stdin is not None
        if self._is_stuck:
            return {"failed": "it did not answer before"}
        self._process.stdin.write(json.dumps({"work": work, **numbers}).encode() + b"\n")
        return await self._answer()

    async def end(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 20)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _answer(self) -> Mapping[str, Any]:
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), ANSWER_SECONDS)
        except TimeoutError:
            self._is_stuck = True
            return {"failed": f"no answer within {ANSWER_SECONDS:.0f} s"}
        if not line:
            return {"failed": "the program ended"}
        return json.loads(line)


def prepare(contestant: Contestant, cache: Path) -> str:
    """Return the interpreter of a contestant, whose environment is made if it is missing."""
    if not contestant.packages:
        return sys.executable
    folder = cache / Path(contestant.program).stem
    python = folder / "bin" / "python"
    done = folder / "installed"
    wanted = "\n".join(contestant.packages)
    if not done.exists() or done.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*install, *contestant.packages], check=True)
        done.write_text(wanted)
    return str(python)


async def start(contestant: Contestant, python: str, arguments: Sequence[str], logs: Path) -> Started:
    """Start a contestant; what it has to say besides answers goes to a file of its own."""
    with (logs / f"{contestant.name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            python, str(PROGRAMS / contestant.program), *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            env={**os.environ, "PYTHONPATH": str(PROGRAMS) if contestant.packages else f"{PROGRAMS}:{ROOT}"},
            limit=2**20,
        )  # fmt: skip
    started = Started(contestant, process)
    await started.greet()
    return started
