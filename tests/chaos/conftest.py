"""A run's folder for chaos tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def storm_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a server's socket."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        yield Path(folder)


@pytest.fixture
def run_folder(storm_folder: Path) -> Path:
    """Where the files of one run go."""
    return storm_folder / "run"
