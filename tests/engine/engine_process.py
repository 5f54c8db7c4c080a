"""A process that advances executions until it is killed: ``engine_process.py HOME TOOLS``."""

import sys
from pathlib import Path

import anyio

from archon_workflows.bootstrap import open_application
from archon_workflows.settings import Settings


async def serve(home: Path, tools: Path) -> None:
    async with open_application(Settings(home=home, tools=tools)):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(serve, Path(sys.argv[1]), Path(sys.argv[2]))
