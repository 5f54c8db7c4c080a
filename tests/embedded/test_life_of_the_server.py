"""Who starts the server, who shares it, and that it is gone after its last user, however that one went."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from embedded_processes import Home, StartUser, User, connected, eventually

from archon_workflows.storage.embedded.user import PACKAGE_ROOT, open_embedded

WAYS_TO_GO: dict[str, Callable[[User], None]] = {
    "by itself": User.end,
    "by SIGTERM": lambda user: user.signal(signal.SIGTERM),
    "by SIGKILL": lambda user: user.signal(signal.SIGKILL),
}

SETTINGS = {
    "server_version_num": "18",
    "server_encoding": "UTF8",
    "data_checksums": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "log_min_error_statement": "panic",
}


async def test_an_empty_home_gets_a_durable_server_that_listens_on_a_private_socket_only(home: Home) -> None:
    async with open_embedded(home.path, linger_seconds=0) as url, connected(url) as connection:
        for name, value in SETTINGS.items():
            assert (await connection.fetchval("select current_setting($1)", name)).startswith(value), name
        locale = await connection.fetchrow("select datlocprovider, datlocale from pg_database limit 1")
    assert tuple(locale) == (b"b", "C.UTF-8")


async def test_nobody_else_can_enter_the_folders(home: Home) -> None:
    async with open_embedded(home.path, linger_seconds=0):
        for folder in (home.layout.root, home.layout.data, home.layout.socket_folder):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


async def test_data_is_there_when_the_server_is_started_again(home: Home) -> None:
    async with open_embedded(home.path, linger_seconds=0) as url, connected(url) as connection:
        await connection.execute("create table kept as select 42 as number")
    assert eventually(home.is_quiet)
    async with open_embedded(home.path, linger_seconds=0) as url, connected(url) as connection:
        assert await connection.fetchval("select number from kept") == 42


def test_two_users_share_one_server(home: Home, start_user: StartUser) -> None:
    first, second = start_user(), start_user()
    assert first.url() == second.url()
    assert home.postmaster().is_running()


def test_twenty_users_that_start_at_the_same_instant_share_one_server(
    home: Home, start_user: StartUser
) -> None:
    users = [start_user() for _ in range(20)]
    assert len({user.url() for user in users}) == 1
    assert home.postmaster().ppid() == home.sitter().pid


@pytest.mark.parametrize("way", WAYS_TO_GO)
def test_nothing_is_left_after_the_last_user_went(home: Home, start_user: StartUser, way: str) -> None:
    user = start_user()
    user.url()
    memory = shared_memory_of(home)
    WAYS_TO_GO[way](user)
    assert eventually(home.is_quiet)
    assert memory not in shared_memory_segments()
    assert not [mark for mark in home.layout.marks_of_a_server() if mark.exists()]


def test_the_server_stays_for_another_user_when_the_one_that_started_it_is_killed(
    home: Home, start_user: StartUser
) -> None:
    first, second = start_user(), start_user()
    assert first.url() == second.url()
    before = home.postmaster()
    first.signal(signal.SIGKILL)
    third = start_user()
    third.url()
    assert home.postmaster() == before


def test_the_server_lingers_so_that_the_next_user_finds_it_warm(home: Home, start_user: StartUser) -> None:
    first = start_user("--linger-seconds", "60")
    first.url()
    before = home.postmaster()
    first.end()
    start_user().url()
    assert home.postmaster() == before
    home.sitter().terminate()


def test_a_sitter_that_is_told_to_leave_stops_its_server(home: Home, start_user: StartUser) -> None:
    user = start_user("--linger-seconds", "60")
    user.url()
    user.end()
    home.sitter().terminate()
    assert eventually(home.is_quiet)


def test_the_server_does_not_hold_the_output_of_the_program_that_started_it(home: Home) -> None:
    program = Path(__file__).with_name("user_process.py")
    command = [sys.executable, program, home.path, "--linger-seconds", "60"]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)}
    subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=20, env=environment
    )
    home.sitter().terminate()


def test_the_processes_of_the_server_do_not_inherit_the_secrets_of_a_user(
    home: Home, start_user: StartUser
) -> None:
    start_user(env={"SOME_TOKEN": "s3cret"}).url()
    for process in (home.sitter(), home.postmaster()):
        assert "SOME_TOKEN" not in process.environ()


def test_variables_that_steer_other_clients_of_postgres_do_not_matter(start_user: StartUser) -> None:
    start_user(env={"PGSERVICE": "nowhere", "PGOPTIONS": "-c no.such=1", "PGDATA": "/", "PGPORT": "1"}).url()


def test_a_home_that_is_removed_under_the_server_takes_it_along(home: Home, start_user: StartUser) -> None:
    start_user().url()
    home.layout.root.rename(home.path / "elsewhere")
    assert eventually(home.is_quiet)


def test_the_sitter_imports_nothing_heavy() -> None:
    listing = "import archon_workflows.storage.embedded.sitter, sys; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-S", "-P", "-c", listing],
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)},
        capture_output=True,
        check=True,
        text=True,
    )
    assert not {"asyncio", "anyio", "asyncpg", "pydantic", "psutil"} & set(found.stdout.split())


async def test_two_uses_in_one_process_share_the_server_and_end_apart(home: Home) -> None:
    async with open_embedded(home.path, linger_seconds=0) as first:
        async with open_embedded(home.path) as second:
            assert first == second
        await asyncio.sleep(0)
        async with connected(first) as connection:
            assert await connection.fetchval("select 1") == 1


def shared_memory_of(home: Home) -> str:
    """Return the id of the server's System V segment."""
    lines = (home.layout.data / "postmaster.pid").read_text().splitlines()
    return lines[6].split()[1]


def shared_memory_segments() -> set[str]:
    """Return the ids of all System V segments of this machine."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {line.split()[1] for line in lines}
