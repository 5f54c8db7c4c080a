"""Homes of every kind: long and odd paths, homes that cannot be used, and homes of root."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedded_processes import Home, StartUser, connected, eventually

from archon_workflows.errors import StorageError
from archon_workflows.storage.embedded.cluster import Recipe
from archon_workflows.storage.embedded.layout import LONGEST_SOCKET_PATH, Layout
from archon_workflows.storage.embedded.user import open_embedded

ODD_NAMES = ['it\'s "100%" &?=# grüße-世界', "comma,comma"]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can try what root gets")
NOBODY = 65534

ORDINARY_USER = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    # Lets it read the interpreter wherever that is installed; it can still write its own files only.
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search",
)


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_a_home_may_have_any_name(home: Home, name: str) -> None:
    odd = Home(home.path / name)
    async with open_embedded(odd.path, linger_seconds=0) as url, connected(url) as connection:
        assert await connection.fetchval("select 1") == 1
    assert eventually(odd.is_quiet)


async def test_a_home_with_a_long_path_has_its_socket_in_a_short_private_folder(home: Home) -> None:
    deep = Home(home.path / ("d" * 60) / ("e" * 60))
    async with open_embedded(deep.path, linger_seconds=0) as url, connected(url) as connection:
        assert await connection.fetchval("select 1") == 1
        folder = deep.layout.socket_folder
        assert len(os.fsencode(folder)) < LONGEST_SOCKET_PATH
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert eventually(deep.is_quiet)
    assert not folder.exists()


def test_two_spellings_of_a_home_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("HOME", str(tmp_path))
    spellings = (tmp_path / "real", tmp_path / "link", Path("~/real"), tmp_path / "x" / ".." / "real")
    assert len({Layout.of_home(spelling) for spelling in spellings}) == 1


def test_a_socket_folder_that_somebody_else_made_is_refused(home: Home, start_user: StartUser) -> None:
    deep = Home(home.path / ("d" * 100))
    deep.layout.socket_folder.symlink_to(home.path)
    letter = start_user(path=deep.path).letter()
    deep.layout.socket_folder.unlink()
    assert letter["code"] == "embedded_folder_not_private"
    assert str(deep.layout.socket_folder) in letter["message"]


def test_a_home_that_is_a_file_is_refused(home: Home, start_user: StartUser) -> None:
    (home.path / "file").write_text("")
    letter = start_user(path=home.path / "file").letter()
    assert letter["code"] == "embedded_folder_unusable"
    assert "ARCHON_WORKFLOWS_HOME" in letter["suggestion"]


@as_root
def test_a_home_that_is_read_only_is_refused(home: Home, start_user: StartUser) -> None:
    home.path.chmod(0o755)
    letter = start_user(prefix=ORDINARY_USER).letter()
    assert letter["code"] == "embedded_folder_unusable"
    assert "Permission denied" in letter["message"]


@as_root
@pytest.mark.parametrize("room", ["1M", "20M"])
def test_a_full_disk_is_told_and_nothing_is_left(small_disk: Home, start_user: StartUser) -> None:
    letter = start_user(path=small_disk.path).letter()
    assert letter["code"] == "embedded_disk_full"
    assert "MiB left" in letter["message"]
    assert eventually(small_disk.is_quiet)


async def test_a_data_folder_that_cannot_be_made_is_told_with_the_words_of_postgres(home: Home) -> None:
    with pytest.raises(StorageError, match="invalid value for parameter") as caught:
        async with open_embedded(home.path, recipe=Recipe({"max_connections": "plenty"})):
            pass
    assert caught.value.code == "embedded_postgres_failed"
    assert not home.layout.data.exists()


def test_a_server_that_does_not_start_is_told_with_the_end_of_its_log(
    home: Home, start_user: StartUser
) -> None:
    user = start_user()
    user.url()
    user.end()
    assert eventually(home.is_quiet)
    (home.layout.data / "postgresql.conf").write_text("no = 'such setting'")
    letter = start_user().letter()
    assert letter["code"] == "embedded_postgres_failed"
    assert "unrecognized configuration parameter" in letter["message"]


@as_root
def test_an_ordinary_user_needs_no_help(home: Home, start_user: StartUser) -> None:
    os.chown(home.path, NOBODY, NOBODY)
    user = start_user(prefix=ORDINARY_USER)
    user.url()
    assert home.layout.data.stat().st_uid == NOBODY
    assert home.postmaster().uids().effective == NOBODY
    user.end()
    assert eventually(home.is_quiet)


@as_root
def test_root_runs_the_server_in_a_user_namespace(home: Home, start_user: StartUser) -> None:
    start_user().url()
    assert home.layout.data.stat().st_uid == 0
    assert namespace_of(home.postmaster().pid) != namespace_of(os.getpid())


@as_root
def test_root_runs_the_server_as_nobody_where_namespaces_are_not_allowed(
    home: Home, start_user: StartUser, tmp_path: Path
) -> None:
    start_user(env={"PATH": without(tmp_path, "unshare")}).url()
    assert home.layout.data.stat().st_uid == NOBODY
    assert home.postmaster().uids().effective == NOBODY
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700


@as_root
@pytest.mark.parametrize("ways", [("unshare", "none"), ("none", "unshare")])
def test_root_can_change_between_the_two_ways(
    home: Home, start_user: StartUser, tmp_path: Path, ways: tuple[str, str]
) -> None:
    for number, missing in enumerate(ways):
        folder = tmp_path / str(number)
        folder.mkdir()
        user = start_user(env={"PATH": without(folder, missing)})
        user.url()
        user.end()
        assert eventually(home.is_quiet)


@as_root
def test_root_is_told_when_there_is_no_way(start_user: StartUser, tmp_path: Path) -> None:
    letter = start_user(env={"PATH": without(tmp_path, "unshare", "setpriv")}).letter()
    assert letter["code"] == "embedded_postgres_as_root"


async def test_a_server_on_loopback_asks_for_its_password(home: Home, start_user: StartUser) -> None:
    url = start_user("--on-loopback").url()
    async with connected(url) as connection:
        assert await connection.fetchval("show listen_addresses") == "127.0.0.1"
        assert await connection.fetchval("show unix_socket_directories") == ""
    password = home.layout.password.read_text()
    with pytest.raises(Exception, match="password authentication failed"):
        async with connected(url.replace(password, "wrong")):
            pass
    assert stat.S_IMODE(home.layout.password.stat().st_mode) == 0o600


async def test_a_server_on_loopback_keeps_its_port(home: Home, start_user: StartUser) -> None:
    urls: set[str] = set()
    for _ in range(2):
        user = start_user("--on-loopback")
        url = user.url()
        async with connected(url):
            urls.add(url)
        user.end()
        assert eventually(home.is_quiet)
    assert len(urls) == 1


def without(folder: Path, *programs: str) -> str:
    """Return a PATH on which everything is but the named programs."""
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).glob("*"):
            if program.name not in programs and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    return str(folder)


def namespace_of(process_id: int) -> str:
    return str(Path(f"/proc/{process_id}/ns/user").readlink())


@pytest.fixture
def small_disk(home: Home, room: str) -> Iterator[Home]:
    """A home on a file system that is as large as ``room`` says."""
    mount = shutil.which("mount") or "mount"
    place = home.path / "small"
    place.mkdir()
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={room}", "tmpfs", place], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("no right to mount a small disk")
    yield Home(place)
    subprocess.run(["umount", place], check=True)  # noqa: S607 - of the same system as mount


assert sys.platform != "win32", "the tests of the embedded server look at processes as POSIX has them"
