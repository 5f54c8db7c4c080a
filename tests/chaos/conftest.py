"""A run's folder for chaos tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tenants import Tenant, direct, supabase


@pytest.fixture
def storm_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a server's socket."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        yield Path(folder)


@pytest.fixture
def run_folder(storm_folder: Path) -> Path:
    """Where the files of one run go."""
    return storm_folder / "run"


@pytest.fixture
def tenant(database_url: str) -> Tenant:
    """A database of the test's own."""
    return direct(database_url)


@pytest.fixture(params=["direct", "supabase"])
def each_tenant(request: pytest.FixtureRequest) -> Tenant:
    """A database or a project of the test's own; for what is to be seen on both."""
    if request.param == "direct":
        return direct(request.getfixturevalue("database_url"))
    return supabase(request.getfixturevalue("project"))
