"""DBOS: a workflow of steps as its documentation shows them, with asynchronous functions."""

import asyncio
import sys

from dbos import DBOS
from protocol import serve, timed


@DBOS.step()
async def step(number: int) -> dict[str, bool]:
    return {"ok": number >= 0}


@DBOS.workflow()
async def workflow(count: int) -> int:
    for number in range(count):
        await step(number)
    return count


async def main(url: str) -> None:
    DBOS(config={"name": "benchmark", "system_database_url": url, "log_level": "ERROR"})
    DBOS.launch()

    async def steps(executions: int, in_flight: int, steps: int) -> dict[str, float]:
        async def one() -> None:
            handle = await DBOS.start_workflow_async(workflow, steps)
            await handle.get_result()

        return await timed(one, executions=executions, in_flight=in_flight)

    await serve({"steps": steps})
    DBOS.destroy()


asyncio.run(main(sys.argv[1]))
