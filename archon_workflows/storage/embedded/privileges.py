"""How Postgres is run by root, whom it refuses to serve.

Root runs it in a user namespace of its own, where it is nobody in name and root for its own files. Where that
is not allowed (most containers), it runs as the user ``nobody`` with the one capability that lets it pass
the folders above its data, so that their permissions stay as they are. Everybody else runs it as it is.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from archon_workflows.errors import StorageError
from archon_workflows.storage.embedded.platform import user_id

if sys.platform != "win32":
    import pwd

UNPRIVILEGED_USER = "nobody"


@dataclass(frozen=True, slots=True)
class Privileges:
    """How to run a program of Postgres.

    Attributes:
        prefix: what stands before the program in its command; it replaces itself by the program.
        owner: user and group id that must own the data folder; ``None`` where it is ours anyway.
    """

    prefix: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None

    def command(self, program: Path, *arguments: str, dies_with_parent: bool = False) -> list[str]:
        """Return the command that runs ``program``.

        Args:
            program: path of a program of Postgres.
            arguments: its arguments.
            dies_with_parent: on Linux, have the kernel send SIGINT (a fast shutdown) when the parent dies.
        """
        return [*self.prefix, *(_parent_death() if dies_with_parent else ()), str(program), *arguments]

    def own(self, folder: Path) -> None:
        """Give ``folder`` and what is in it to the user that Postgres runs as, unless it has it."""
        if self.owner is None or folder.stat().st_uid == self.owner[0]:
            return
        for path in (*folder.rglob("*"), folder):
            os.chown(path, *self.owner, follow_symlinks=False)


def find_privileges(root: Path, programs: Path) -> Privileges:
    """Return how this process can run the programs in ``programs`` on data below ``root``.

    Raises:
        StorageError: as root, neither way is open (``embedded_postgres_as_root``).
    """
    if sys.platform == "win32" or user_id() != 0:
        return Privileges()
    for way in (_in_a_namespace(), _as_nobody()):
        if way is not None and _works(way.prefix, root, programs):
            return way
    raise StorageError(
        "Postgres refuses to run as root, and neither a user namespace ('unshare -U') nor the user"
        f" {UNPRIVILEGED_USER!r} ('setpriv') can be used here.",
        code="embedded_postgres_as_root",
        suggestion="Run as an ordinary user, install util-linux,"
        " or set ARCHON_WORKFLOWS_DATABASE_URL to a Postgres of your own.",
    )


def _in_a_namespace() -> Privileges | None:
    unshare = shutil.which("unshare")
    return Privileges((unshare, "-U"), (0, 0)) if unshare else None


def _as_nobody() -> Privileges | None:
    setpriv, owner = shutil.which("setpriv"), _ids_of(UNPRIVILEGED_USER)
    if setpriv is None or owner is None:
        return None
    identity = (f"--reuid={owner[0]}", f"--regid={owner[1]}", "--clear-groups")
    capability = ("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override")
    return Privileges((setpriv, *identity, *capability, "--"), owner)


def _ids_of(user: str) -> tuple[int, int] | None:
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return None
    return entry.pw_uid, entry.pw_gid


def _works(prefix: Sequence[str], root: Path, programs: Path) -> bool:
    """Return whether programs run with that prefix, and can write below ``root``.

    It is tried: what ``test -w`` answers takes no account of capabilities.
    """
    written = root / "probe"
    trials = (["touch", str(written)], [str(programs / "postgres"), "--version"])
    works = all(_succeeds([*prefix, *trial]) for trial in trials)
    written.unlink(missing_ok=True)
    return works


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603 - see _works


def _parent_death() -> tuple[str, ...]:
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return (setpriv, "--pdeathsig", "INT", "--") if setpriv else ()
