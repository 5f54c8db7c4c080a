"""What was measured: medians, spreads, ratios, the table of targets, and the plot."""

import json
import subprocess
import sys
import venv
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

OURS = "Archon Workflows"


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that is to be reached.

    Attributes:
        figure: from the medians by work and contestant; ``KeyError`` where something was not measured.
    """

    title: str
    limit: float
    at_least: bool
    figure: Callable[["Figures"], float]

    def verdict(self, reached: float) -> str:
        holds = reached >= self.limit if self.at_least else reached <= self.limit
        return "reached" if holds else "missed"


def _over(work: str, other: str) -> Callable[["Figures"], float]:
    """How many times longer we take than another."""
    return lambda figures: figures.of(work, OURS) / figures.of(work, other)


def _under(work: str, other: str) -> Callable[["Figures"], float]:
    """How many times longer another takes than we."""
    return lambda figures: figures.of(work, other) / figures.of(work, OURS)


def _median(work: str) -> Callable[["Figures"], float]:
    return lambda figures: figures.of(work, OURS)


def _quotient(work: str, other: str) -> Callable[["Figures"], float]:
    return lambda figures: figures.of(work, OURS) / figures.of(other, OURS)


ALONE, CROWD = "ten steps, 1 in flight, ms a step", "ten steps, 64 in flight, ms a step"

TARGETS = (
    Target("ten steps, one execution: ours / a function call a step", 2.0, False,
           _over(ALONE, "function a step")),
    Target("· DBOS / ours", 3.0, True, _under(ALONE, "DBOS")),
    Target("· Absurd / ours", 3.0, True, _under(ALONE, "Absurd")),
    Target("· LangGraph / ours", 1.0, True, _under(ALONE, "LangGraph")),
    Target("64 in flight: DBOS / ours", 20.0, True, _under(CROWD, "DBOS")),
    Target("· LangGraph / ours", 15.0, True, _under(CROWD, "LangGraph")),
    Target("· Absurd / ours", 10.0, True, _under(CROWD, "Absurd")),
    Target("· pgbench / ours", 1.0, True, _under(CROWD, "pgbench")),
    Target("stdio tool, one execution: ours / raw calls", 1.5, False,
           _over("ten stdio calls, 1 in flight, ms a call", "raw calls")),
    Target("· 64 in flight: raw calls / ours", 0.85, True,
           _under("ten stdio calls, 64 in flight, ms a call", "raw calls")),
    Target("loop of 10,000 / loop of 100, time an item", 1.3, False,
           _quotient("loop of 10,000, ms an item", "loop of 100, ms an item")),
    Target("· memory of the loop of 10,000, MB more", 50.0, False, _median("loop of 10,000, MB more")),
    Target("resume after 10,000 recorded steps, ms", 1000.0, False,
           _median("resume after 10,000 recorded steps, ms")),
    Target("· ten times as many steps as 1,000: times as long", 13.0, False,
           _quotient("resume after 10,000 recorded steps, ms", "resume after 1,000 recorded steps, ms")),
    Target("reading one execution: full tables / empty", 1.5, False,
           _quotient("read one of full tables, ms", "read one of empty tables, ms")),
    Target("start to first answer / import mcp, open database", 1.5, False,
           _over("start to first answer, ms", "import mcp, open database")),
    Target("an execution that waits, kB", 50.0, False, _median("an execution that waits, kB")),
)  # fmt: skip


@dataclass(slots=True)
class Figures:
    """Figures by work (which names the unit) and contestant, one for each round."""

    found: dict[tuple[str, str], list[float]] = field(
        default_factory=lambda: defaultdict[tuple[str, str], list[float]](list)
    )
    failures: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def add(self, work: str, who: str, figure: float) -> None:
        self.found[work, who].append(figure)

    def of(self, work: str, who: str) -> float:
        """Return the median.

        Raises:
            KeyError: it was not measured.
        """
        if (work, who) not in self.found:
            raise KeyError(work, who)
        return median(self.found[work, who])

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return work, contestant, median, spread, and the ratio to ours."""
        rows: list[tuple[str, str, str, str, str]] = []
        for (work, who), found in self.found.items():
            ours = self.found.get((work, OURS))
            ratio = f"{median(found) / median(ours):.2f}" if ours and median(ours) else ""
            spread = f"{min(found):.3g} to {max(found):.3g}"
            rows.append((work, who, f"{median(found):.3g}", spread, ratio))
        return rows + [(work, who, "failed", why[:60], "") for (work, who), why in self.failures.items()]

    def table(self) -> Table:
        table = Table(
            "work", "who", "median", "lowest to highest", "times ours", box=None, header_style="bold"
        )
        for row in self.rows():
            table.add_row(*row)
        return table

    def targets(self) -> list[tuple[str, str, str, str]]:
        """Return title, limit, what was reached, and whether that is enough."""
        rows: list[tuple[str, str, str, str]] = []
        for target in TARGETS:
            try:
                reached: float | None = target.figure(self)
            except KeyError:
                reached = None
            sign = "at least" if target.at_least else "at most"
            limit = f"{sign} {target.limit:g}"
            if reached is None:
                rows.append((target.title, limit, "", "not measured"))
            else:
                rows.append((target.title, limit, f"{reached:.3g}", target.verdict(reached)))
        return rows

    def as_json(self) -> Any:
        measured = [{"work": work, "who": who, "rounds": found} for (work, who), found in self.found.items()]
        failed = [{"work": work, "who": who, "why": why} for (work, who), why in self.failures.items()]
        targets = [
            dict(zip(("target", "limit", "reached", "verdict"), row, strict=True)) for row in self.targets()
        ]
        return {"measured": measured, "failed": failed, "targets": targets}

    def markdown(self) -> str:
        lines = ["| work | who | median | lowest to highest | times ours |", "|---|---|---:|---:|---:|"]
        lines += [f"| {' | '.join(row)} |" for row in self.rows()]
        lines += ["", "| figure | wanted | reached | |", "|---|---|---:|---|"]
        lines += [f"| {' | '.join(row)} |" for row in self.targets()]
        return "\n".join(lines) + "\n"


def print_targets(console: Console, figures: Figures) -> None:
    table = Table("figure", "wanted", "reached", "", box=None, header_style="bold")
    for row in figures.targets():
        table.add_row(*row, style="green" if row[3] == "reached" else "yellow")
    console.print(table)


def draw(figures: Figures, file: Path, cache: Path) -> None:
    """Draw time a step by contestant and executions in flight; matplotlib has an environment of its own."""
    folder = cache / "plot"
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "matplotlib"], check=True)
        (folder / "installed").touch()
    script = Path(__file__).with_name("programs") / "plot.py"
    medians = {f"{work}|{who}": median(found) for (work, who), found in figures.found.items()}
    subprocess.run([str(python), str(script), str(file)], input=json.dumps(medians), text=True, check=True)
    sys.stdout.write(f"drawn: {file}\n")
