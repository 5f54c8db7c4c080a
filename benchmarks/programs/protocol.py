"""How a program of the benchmark is asked: a line of JSON is a piece of work, the answer is another.

Only the standard library: it is imported in the environments of all programs.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any

Work = Callable[..., Awaitable[Mapping[str, Any]]]


def serve(works: Mapping[str, Work]) -> Any:
    """Return a coroutine that does the works that standard input asks for, by name, until it ends.

    What libraries print goes to standard error: standard output is for the answers alone.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: Mapping[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    async def run() -> None:
        say({"works": sorted(works)})
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(line)
            try:
                say(await works[asked.pop("work")](**asked))
            except Exception as error:  # noqa: BLE001 - said to whoever asked, who decides
                say({"failed": f"{type(error).__name__}: {error}"[:500]})

    return run()


async def timed(one: Callable[[], Awaitable[object]], *, executions: int, in_flight: int) -> dict[str, float]:
    """Run so many executions, so many at a time; return ``{"seconds": ...}``."""
    places = asyncio.Semaphore(in_flight)

    async def run_one() -> None:
        async with places:
            await one()

    began = perf_counter()
    await asyncio.gather(*(run_one() for _ in range(executions)))
    return {"seconds": perf_counter() - began}
