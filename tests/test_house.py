"""The house is in order: linters, formatter, floors, types and packing, as part of the one test command."""

import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(sysconfig.get_path("scripts"))

CHECKS = {
    "ruff finds nothing": ["ruff", "check", "."],
    "the formatter has nothing to change": ["ruff", "format", "--check", "."],
    "every storey stands only on the ones below": ["lint-imports", "--no-cache"],
    "pyright is content": ["pyright", "--pythonpath", sys.executable],
}


@pytest.mark.parametrize("command", [pytest.param(command, id=name) for name, command in CHECKS.items()])
def test_the_house_is_in_order(command: list[str]) -> None:
    program = str(SCRIPTS / command[0])
    checked = subprocess.run(
        [program, *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=500, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_wheel_carries_what_is_not_python(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    [wheel] = tmp_path.glob("*.whl")
    packed = set(ZipFile(wheel).namelist())
    sql = {f"archon_workflows/storage/migration/{file.name}" for file in ROOT.glob("migration/*.sql")}
    templates = (ROOT / "archon_workflows/cli/demo/templates").glob("*.json")
    data = {str(file.relative_to(ROOT)) for file in templates}
    assert len(sql) == 5
    assert sql | data <= packed
