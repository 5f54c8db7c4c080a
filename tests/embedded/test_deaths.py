"""Servers, sitters and half-made data folders that die in the middle: the next one goes on."""

import signal
import subprocess
import sys

import psutil
import pytest
from embedded_processes import Home, StartUser, connected, eventually
from test_life_of_the_server import shared_memory_of, shared_memory_segments

from archon_workflows.storage.embedded.address import read_address
from archon_workflows.storage.embedded.binaries import find_programs
from archon_workflows.storage.embedded.postmaster import Postmaster, accepts_connections
from archon_workflows.storage.embedded.user import open_embedded

on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="the kernel must tell the server of its parent's end"
)


async def test_a_server_that_was_killed_is_restarted_at_the_same_place_with_its_data(home: Home) -> None:
    async with open_embedded(home.path, linger_seconds=0) as url:
        async with connected(url) as connection:
            await connection.execute("create table kept as select 42 as number")
        home.kill_postmaster()
        assert comes_back(home)
        async with connected(url) as connection:
            assert await connection.fetchval("select number from kept") == 42


def test_a_killed_server_is_restarted_while_its_backend_still_works(
    home: Home, start_user: StartUser
) -> None:
    start_user().url()
    psql = subprocess.Popen(
        [find_programs() / "psql", "-q", "-h", home.layout.socket_folder, "-U", "postgres", "-c", ENDLESS],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert eventually(lambda: any("DO" in " ".join(process.cmdline()) for process in home.processes()))
    home.kill_postmaster()
    assert comes_back(home)
    psql.wait(timeout=20)


ENDLESS = "do 'begin loop end loop; end'"


def test_nothing_is_left_when_server_and_last_user_are_killed_together(
    home: Home, start_user: StartUser
) -> None:
    user = start_user()
    user.url()
    memory = shared_memory_of(home)
    home.kill_postmaster()
    user.signal(signal.SIGKILL)
    assert eventually(home.is_quiet)
    assert memory not in shared_memory_segments()


def test_a_killed_sitter_is_replaced_while_there_are_users(home: Home, start_user: StartUser) -> None:
    user = start_user()
    user.url()
    before = home.sitter()
    before.kill()
    assert eventually(lambda: not before.is_running() and comes_back(home) and home.sitter() != before)
    user.end()
    assert eventually(home.is_quiet)


@on_linux
def test_nothing_is_left_when_sitter_and_all_users_are_killed_together(
    home: Home, start_user: StartUser
) -> None:
    user = start_user()
    user.url()
    home.sitter().kill()
    user.signal(signal.SIGKILL)
    assert eventually(home.is_quiet)


def test_the_next_user_starts_where_everything_was_killed(home: Home, start_user: StartUser) -> None:
    user = start_user()
    user.url()
    for process in (home.sitter(), home.postmaster()):
        process.kill()
    user.signal(signal.SIGKILL)
    start_user().url()


def test_a_data_folder_that_was_half_made_is_made_again(home: Home, start_user: StartUser) -> None:
    killed = start_user()
    assert eventually(lambda: any(home.layout.root.glob("data.partial-*/global")))
    killed.signal(signal.SIGKILL)
    assert not home.layout.data.exists()
    start_user().url()
    assert not list(home.layout.root.glob("data.partial-*"))


DAMAGES = {
    "empty": b"",
    "truncated": b"123",
    "garbage": b"not a pid\nat all\n",
    "binary": bytes(range(256)),
    "a process that is dead": b"4194000\n/somewhere\n1\n5432\n",
    "a process that lives": b"%(alive)d\n%(data)s\n1\n5432\n\n\n  1  2\nready   \n",
    "itself": b"0\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_server_starts_over_a_damaged_pid_file(home: Home, start_user: StartUser, damage: str) -> None:
    first = start_user()
    first.url()
    first.end()
    assert eventually(home.is_quiet)
    content = DAMAGES[damage].replace(b"%(alive)d", str(psutil.Process().pid).encode())
    pid_file, socket, socket_lock = home.layout.marks_of_a_server()
    home.layout.make_socket_folder()
    for mark in (pid_file, socket, socket_lock):
        mark.write_bytes(content.replace(b"%(data)s", bytes(home.layout.data)))
    start_user().url()


@pytest.mark.parametrize("pid_file_is_there", [True, False])
def test_a_server_that_nobody_looks_after_is_replaced(
    home: Home, start_user: StartUser, *, pid_file_is_there: bool
) -> None:
    first = start_user()
    first.url()
    first.end()
    assert eventually(home.is_quiet)
    stray = Postmaster(home.layout, find_programs())
    stray.start()
    if not pid_file_is_there:
        (home.layout.data / "postmaster.pid").unlink()
    start_user().url()
    assert eventually(lambda: not stray.is_alive())
    assert home.postmaster().ppid() == home.sitter().pid


async def test_connections_that_are_refused_during_a_restart_succeed_at_the_same_url(home: Home) -> None:
    async with open_embedded(home.path, linger_seconds=0) as url:
        for _ in range(3):
            home.kill_postmaster()
            assert comes_back(home)
        assert read_address(home.layout).url == url
        async with connected(url) as connection:
            assert await connection.fetchval("select 1") == 1


def comes_back(home: Home) -> bool:
    """Return whether a server that was killed just now takes connections again."""
    return eventually(lambda: accepts_connections(home.layout, find_programs()))
