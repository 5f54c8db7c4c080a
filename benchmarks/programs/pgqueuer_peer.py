"""PgQueuer's bare queue: a job for each step, which is no workflow: no order, no results, no history."""

import asyncio
import sys
from datetime import timedelta
from time import perf_counter

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode
from protocol import serve


async def main(url: str) -> None:
    connection = await asyncpg.connect(url)
    driver = AsyncpgDriver(connection)
    queries = Queries(driver)
    if not await queries.schema_is_installed():
        await queries.install()

    async def steps(executions: int, in_flight: int, steps: int) -> dict[str, float]:
        jobs = executions * steps
        began = perf_counter()
        await queries.enqueue(["step"] * jobs, [None] * jobs, [0] * jobs)
        queue = PgQueuer(driver)

        @queue.entrypoint("step")
        async def step(job: Job) -> None:
            pass

        await queue.run(
            dequeue_timeout=timedelta(seconds=0.1),
            batch_size=max(1, min(in_flight, 64)),
            mode=QueueExecutionMode.drain,
        )
        return {"seconds": perf_counter() - began}

    await serve({"steps": steps})


asyncio.run(main(sys.argv[1]))
