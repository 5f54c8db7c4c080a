"""Databases for the tests: one embedded server a run, one database a test.

The server is the product's own, in a temporary home that all workers of a run share; only ``fsync`` and its
kin are off, since nobody needs a test's data after a power cut. A database is a clone of one that was
migrated once in the run.
"""

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none
import pytest

from archon_workflows.storage.embedded.cluster import Recipe
from archon_workflows.storage.embedded.layout import Layout
from archon_workflows.storage.embedded.platform import LockFile, wait_until
from archon_workflows.storage.embedded.user import EmbeddedPostgres
from archon_workflows.storage.migrations import apply_migration

pytest_plugins = ["supabase_projects"]

MIGRATED = "migrated_for_tests"
NOT_DURABLE = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
}

HOME_OF_RUN = "ARCHON_WORKFLOWS_TESTS_HOME"
"""Environment variable by which the process that starts a run names its home to the run's workers."""

PREFIX = "archon-workflows-tests-"
SUPABASE = "supabase"
ROOM_BYTES = 4 * 1024**3
STALE_SECONDS = 3600

_driver: Any = asyncpg

ResultT = TypeVar("ResultT")


def pytest_configure(config: pytest.Config) -> None:
    if HOME_OF_RUN not in os.environ:
        _sweep(_quick_folder())
        home = os.environ[HOME_OF_RUN] = tempfile.mkdtemp(prefix=PREFIX, dir=_quick_folder())
        config.add_cleanup(lambda: _remove(Path(home)))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of an embedded server that lives as long as the run."""
    server = EmbeddedPostgres(_home_of_run(), linger_seconds=0.5, recipe=Recipe(NOT_DURABLE))
    yield server.acquire()
    server.release()


@pytest.fixture(scope="session")
def supabase_home() -> Path:
    """Home of the second server of the run: the one with Supabase's roles, which belong to a whole server."""
    return _home_of_run() / SUPABASE


@pytest.fixture
def empty_database_url(postgres_server: str) -> Iterator[str]:
    """URL of a database of the test's own, with nothing in it."""
    with _database(postgres_server, template="template0") as url:
        yield url


@pytest.fixture
def database_url(migrated_database: str, postgres_server: str) -> Iterator[str]:
    """URL of a database of the test's own, migrated."""
    with _database(postgres_server, template=migrated_database) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_database(postgres_server: str) -> str:
    """Name of the migrated database that tests clone; the first worker makes it."""
    _run(_migrate_once(postgres_server))
    return MIGRATED


@contextmanager
def _database(server_url: str, *, template: str) -> Generator[str]:
    name = f"test_{secrets.token_hex(8)}"
    _run(_execute(server_url, f"create database {name} template {template}"))
    yield _url_of(server_url, name)
    _run(_execute(server_url, f"drop database {name} with (force)"))


async def _migrate_once(server_url: str) -> None:
    async with _connected(server_url) as connection:
        await connection.execute("select pg_advisory_lock(1)")
        if await connection.fetchval("select true from pg_database where datname = $1", MIGRATED):
            return
        await connection.execute(f"drop database if exists {MIGRATED}_half")
        await connection.execute(f"create database {MIGRATED}_half template template0")
        await apply_migration(_url_of(server_url, f"{MIGRATED}_half"))
        await connection.execute(f"alter database {MIGRATED}_half rename to {MIGRATED}")


async def _execute(url: str, sql: str) -> None:
    async with _connected(url) as connection:
        await connection.execute(sql)


@asynccontextmanager
async def _connected(url: str) -> AsyncGenerator[Any]:
    connection = await _driver.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def _url_of(server_url: str, database: str) -> str:
    return urlsplit(server_url)._replace(path=f"/{database}").geturl()


def _quick_folder() -> Path:
    """Return a folder in memory where there is room for it: tests never need a disk that remembers."""
    memory = Path("/dev/shm")  # noqa: S108 - the folders in it are made by mkdtemp
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > ROOM_BYTES
    return memory if has_room else Path(tempfile.gettempdir())


def _home_of_run() -> Path:
    return Path(os.environ[HOME_OF_RUN])


def _servers_in(home: Path) -> list[Layout]:
    layouts = (Layout.of_home(home), Layout.of_home(home / SUPABASE))
    return [layout for layout in layouts if layout.root.exists()]


def _sweep(folder: Path) -> None:
    """Remove the homes of runs that were killed."""
    for home in folder.glob(f"{PREFIX}*"):
        locks = [layout.user_lock for layout in _servers_in(home)]
        if time.time() - home.stat().st_mtime > STALE_SECONDS and all(
            not lock.exists() or LockFile(lock).is_free() for lock in locks
        ):
            shutil.rmtree(home, ignore_errors=True)


def _remove(home: Path) -> None:
    """Remove the home when its servers, which nobody uses any more, have stopped."""
    for layout in _servers_in(home):
        wait_until(LockFile(layout.sitter_lock).is_free, seconds=10)
    shutil.rmtree(home)


def _run(work: Coroutine[None, None, ResultT]) -> ResultT:
    """Run ``work`` to its end, whether or not the caller has an event loop of its own."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()
