"""Making the data folder: all of it or nothing, on the disk before anything is stored in it."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from archon_workflows.errors import StorageError
from archon_workflows.storage.embedded.address import make_password
from archon_workflows.storage.embedded.binaries import environment, program
from archon_workflows.storage.embedded.layout import SUPERUSER, Layout
from archon_workflows.storage.embedded.platform import LockFile
from archon_workflows.storage.embedded.privileges import find_privileges

CREATION_SECONDS = 120.0
MEBIBYTE = 1024 * 1024
NEEDED_BYTES = 100 * MEBIBYTE

FIRST_CONFIGURATION: Mapping[str, str] = {
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Reads are few and small here: worker processes for them would only cost memory.
    "io_method": "sync",
}
"""Written to ``postgresql.conf`` once; ``alter system`` changes them."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make a data folder.

    Attributes:
        configuration: settings of Postgres beside and above ``FIRST_CONFIGURATION``.
        on_loopback: whether the server is to be reached over TCP with a password, not over a private socket.
    """

    configuration: Mapping[str, str] = field(default_factory=dict[str, str])
    on_loopback: bool = os.name == "nt"


USUAL_RECIPE = Recipe()


def make_cluster(layout: Layout, programs: Path, recipe: Recipe, start_lock: LockFile) -> None:
    """Make the data folder of ``layout`` unless it is there.

    It is made under another name and renamed when it is complete and synced, so that a process that dies in
    the middle leaves nothing but rubbish, which the next one sweeps.

    Args:
        layout: whose ``data`` to make.
        programs: folder of ``initdb``.
        recipe: how to make it.
        start_lock: held by the caller. ``initdb`` keeps holding it when the caller dies, until its work and
            the shared memory that it uses are done with.

    Raises:
        StorageError: the disk is full (``embedded_disk_full``), or ``initdb`` failed
            (``embedded_postgres_failed``), with its words.
    """
    if layout.data.exists():
        return
    for rubbish in layout.root.glob("data.partial-*"):
        shutil.rmtree(rubbish, ignore_errors=True)
    _refuse_full_disk(layout)
    if recipe.on_loopback:
        make_password(layout)
    partial = layout.root / f"data.partial-{secrets.token_hex(4)}"
    _initdb(layout, _initdb_command(layout, programs, partial, recipe), start_lock)
    partial.rename(layout.data)
    _sync_folder(layout.root)


def _refuse_full_disk(layout: Layout) -> None:
    free = shutil.disk_usage(layout.root).free
    if free < NEEDED_BYTES:
        raise StorageError(
            f"The disk of {str(layout.root)!r} has {free // MEBIBYTE} MiB left;"
            f" the embedded Postgres needs {NEEDED_BYTES // MEBIBYTE} MiB to begin with.",
            code="embedded_disk_full",
            suggestion="Make room, or set ARCHON_WORKFLOWS_HOME to a folder on another disk.",
        )


def _initdb_command(layout: Layout, programs: Path, folder: Path, recipe: Recipe) -> list[str]:
    configuration = {**FIRST_CONFIGURATION, **recipe.configuration}
    return find_privileges(layout.root, programs).command(
        program(programs, "initdb"),
        f"--pgdata={folder}",
        f"--username={SUPERUSER}",
        *_authentication(layout),
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
        "--data-checksums",
        "--no-instructions",
        *(f"--set={name}={value}" for name, value in configuration.items()),
    )


def _initdb(layout: Layout, command: list[str], start_lock: LockFile) -> None:
    """Run ``initdb``; it speaks to the log, not to us, so that it comes to its end when we do not."""
    with layout.log.open("ab") as log:
        begin = log.tell()
        made = subprocess.run(  # noqa: S603 - a program of the wheel
            command,
            check=False,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            timeout=CREATION_SECONDS,
            cwd=layout.root,
            pass_fds=start_lock.descriptors_for_children(),
        )
    if made.returncode != 0:
        raise StorageError(
            f"The embedded Postgres could not make its data folder in {str(layout.root)!r}:"
            f" {_said_since(layout.log, begin)}",
            code="embedded_postgres_failed",
            suggestion="Mend what it says, or set ARCHON_WORKFLOWS_HOME to another folder.",
        )


def _said_since(log: Path, begin: int) -> str:
    return " | ".join(log.read_bytes()[begin:].decode(errors="replace").strip().splitlines()[-8:])


def _authentication(layout: Layout) -> tuple[str, ...]:
    if layout.password.exists():
        return ("--auth=scram-sha-256", f"--pwfile={layout.password}")
    return ("--auth=trust",)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
