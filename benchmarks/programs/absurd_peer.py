"""Absurd: a task of steps, by its asynchronous SDK.

Tasks are there before its worker starts, and the time ends with the last task's last step, so that the
quarter of a second between the worker's looks is not counted.
"""

import asyncio
import sys
from pathlib import Path
from time import perf_counter

from absurd_sdk import AsyncAbsurd
from protocol import serve


async def main(url: str) -> None:
    tool = str(Path(sys.executable).with_name("absurdctl"))
    process = await asyncio.create_subprocess_exec(tool, "init", "-d", url, stdout=asyncio.subprocess.DEVNULL)
    await process.wait()
    app = AsyncAbsurd(url, queue_name="bench")
    await app.create_queue()
    left, all_done = 0, asyncio.Event()

    @app.register_task("ten")
    async def ten(params: dict[str, int], context: object) -> int:
        nonlocal left

        async def work() -> dict[str, bool]:
            return {"ok": True}

        for number in range(params["steps"]):
            await context.step(f"s{number}", work)
        left -= 1
        if left == 0:
            all_done.set()
        return params["steps"]

    async def steps(executions: int, in_flight: int, steps: int) -> dict[str, float]:
        nonlocal left
        left = executions
        all_done.clear()
        for _ in range(executions):
            await app.spawn("ten", {"steps": steps})
        began = perf_counter()
        worker = asyncio.create_task(app.start_worker(concurrency=in_flight))
        await all_done.wait()
        took = perf_counter() - began
        worker.cancel()
        await asyncio.wait({worker})
        return {"seconds": took}

    await serve({"steps": steps})


asyncio.run(main(sys.argv[1]))
