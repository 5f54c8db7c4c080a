"""The benchmark command runs; what it measures is nobody's assertion."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_command_measures_ten_steps_and_says_what_it_measured(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "steps", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())
    assert figures["failed"] == []
    measured = {(one["work"], one["who"]) for one in figures["measured"]}
    for in_flight in (1, 64):
        for who in ("Archon Workflows", "function a step", "pgbench"):
            assert (f"ten steps, {in_flight} in flight, ms a step", who) in measured
    assert "not measured" in {one["verdict"] for one in figures["targets"]}
