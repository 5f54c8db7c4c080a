"""Prefect: a flow of tasks whose results are kept, with its server in a process that it starts by itself."""

import asyncio
import os
import sys
import tempfile

os.environ["PREFECT_API_DATABASE_CONNECTION_URL"] = sys.argv[1]
os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "true"
os.environ["PREFECT_HOME"] = tempfile.mkdtemp()
os.environ["PREFECT_LOGGING_LEVEL"] = "ERROR"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"

from prefect import flow, task
from protocol import serve, timed


@task(persist_result=True)
async def step(number: int) -> dict[str, bool]:
    return {"ok": number >= 0}


@flow(persist_result=True)
async def workflow(count: int) -> int:
    for number in range(count):
        await step(number)
    return count


async def main() -> None:
    async def steps(executions: int, in_flight: int, steps: int) -> dict[str, float]:
        return await timed(lambda: workflow(steps), executions=executions, in_flight=in_flight)

    await serve({"steps": steps})


asyncio.run(main())
