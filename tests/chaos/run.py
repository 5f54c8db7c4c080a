"""The long form: ``python tests/chaos --executions 500 --faults 300 --workers 4 --seed 1``.

It prints what the run came to, and every broken law; the exit code is 1 when there is one.
"""

import argparse
import asyncio
import logging
import random
import sys
import tempfile
import time
from pathlib import Path

from checker import Violation, check
from evidence import Evidence
from own_postgres import OwnPostgres
from report import table
from stage import StageOptions, open_stage
from storm import Storm, StormOptions
from tenants import TENANTS

SHOWN_VIOLATIONS = 30


async def weather(
    folder: Path, stage_options: StageOptions, storm_options: StormOptions, tenant: str = "direct"
) -> Evidence:
    """Let a storm blow over a stage with a server of its own; return what it left behind.

    Args:
        folder: an empty one, with a short path.
        stage_options: how the run is set up.
        storm_options: how hard it is hit.
        tenant: which one, by name.
    """
    server = OwnPostgres(folder / "home")
    url = await server.open()
    try:
        async with TENANTS[tenant](url) as own, open_stage(folder / "run", own, stage_options) as stage:
            await Storm(stage, server, storm_options).blow()
            return await stage.evidence()
    finally:
        await server.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A chaos run: every fault, and the laws that hold.")
    parser.add_argument("--tenant", choices=TENANTS, default="direct")
    parser.add_argument("--executions", type=int, default=500)
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--lease", type=float, default=2.0, help="seconds")
    parser.add_argument("--pause", type=float, default=1.2, help="mean seconds between two faults")
    parser.add_argument("--in-flight", type=int, default=24)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--keep", type=Path, help="an empty folder in which the run's files stay")
    return parser.parse_args()


def _run(folder: Path, arguments: argparse.Namespace) -> tuple[Evidence, list[Violation]]:
    stage = StageOptions(seed=arguments.seed, lease_seconds=arguments.lease, poll_seconds=1.0)
    storm = StormOptions(
        executions=arguments.executions,
        faults=arguments.faults,
        workers=arguments.workers,
        pause_seconds=arguments.pause,
        in_flight=arguments.in_flight,
    )
    evidence = asyncio.run(weather(folder, stage, storm, arguments.tenant))
    return evidence, check(evidence)


def main() -> int:
    """Run as the command line says."""
    arguments = _arguments()
    logging.disable(logging.WARNING)
    print(f"seed {arguments.seed}", flush=True)  # noqa: T201 - a command speaks
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        evidence, violations = _run(arguments.keep or Path(folder), arguments)
    print(table(evidence, violations, time.monotonic() - started))  # noqa: T201 - a command speaks
    for violation in violations[:SHOWN_VIOLATIONS]:
        print(violation)  # noqa: T201 - a command speaks
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
