"""The floor below Python: ``pgbench`` commits the same call once a step; each client has its execution."""

import asyncio
import re
import sys
import tempfile
from pathlib import Path

from protocol import serve

MOST_CLIENTS = 32
"""Postgres has 100 connections, and the other contestants keep theirs; more clients are no faster."""

SCRIPT = """
\\set number random(0, 1000000000)
select lean_checkpoint(('00000000-0000-4000-8000-' || lpad(:client_id::text, 12, '0'))::uuid, 1,
  's' || :number, '{"ok": true}');
"""


async def main(url: str, pgbench: str) -> None:
    script = Path(tempfile.mkdtemp()) / "step.sql"
    script.write_text(SCRIPT.replace("\n  ", " "))

    async def steps(executions: int, in_flight: int, steps: int) -> dict[str, float]:
        clients = min(in_flight, MOST_CLIENTS)
        transactions = max(1, executions * steps // clients)
        process = await asyncio.create_subprocess_exec(
            pgbench, "-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-t", str(transactions),
            "-f", str(script), url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        found = re.search(r"tps = ([\d.]+)", out.decode())
        assert found, err.decode()
        return {"seconds": executions * steps / float(found[1])}

    await serve({"steps": steps})


asyncio.run(main(sys.argv[1], sys.argv[2]))
