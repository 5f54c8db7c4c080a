"""Prefect: a flow of tasks whose results are kept, with its server in a process of its own.

On the database that it comes with (SQLite): on Postgres it needs the extension ``pg_trgm``, which the
embedded one does not have.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from time import sleep

START_SECONDS = 90


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


port = free_port()
os.environ["PREFECT_HOME"] = tempfile.mkdtemp()
os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
os.environ["PREFECT_LOGGING_LEVEL"] = "ERROR"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"

from prefect import flow, task  # noqa: E402 - it reads the environment when it is imported
from protocol import serve, timed  # noqa: E402 - likewise


@task(persist_result=True)
async def step(number: int) -> dict[str, bool]:
    return {"ok": number >= 0}


@flow(persist_result=True)
async def workflow(count: int) -> int:
    for number in range(count):
        await step(number)
    return count


@contextlib.contextmanager
def server() -> Generator[None]:
    """Start Prefect's server, and leave when it answers."""
    command = [str(Path(sys.executable).with_name("prefect")), "server", "start", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            wait_until_it_answers()
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def wait_until_it_answers() -> None:
    for _ in range(START_SECONDS * 5):
        with contextlib.suppress(OSError), contextlib.closing(HTTPConnection("127.0.0.1", port)) as asking:
            asking.request("GET", "/api/health")
            if asking.getresponse().status == HTTPStatus.OK:
                return
        sleep(0.2)
    raise TimeoutError("Prefect's server does not answer")


async def main() -> None:
    async def steps(executions: int, in_flight: int, steps: int) -> dict[str, float]:
        return await timed(lambda: workflow(steps), executions=executions, in_flight=in_flight)

    await serve({"steps": steps})


with server():
    asyncio.run(main())
