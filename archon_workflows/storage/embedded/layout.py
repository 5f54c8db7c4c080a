"""Where everything of one home lies: data folder, socket, locks and log.

Paths only; this room starts nothing. Every process of a home computes the same paths, whatever its
environment is, so that the address of a running server never changes.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from archon_workflows.errors import StorageError
from archon_workflows.storage.embedded.platform import user_id

MAJOR_VERSION = 18
SUPERUSER = "postgres"
DATABASE = "postgres"
PORT = 5432

LONGEST_SOCKET_PATH = 103
"""In bytes: the shortest of the limits of the systems that we run on (macOS 103, Linux 107)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one embedded server.

    Attributes:
        root: absolute folder of everything but, where its path is too long, the socket.
    """

    root: Path

    @classmethod
    def of_home(cls, home: Path) -> "Layout":
        """Return the layout below ``home``, however it is spelled."""
        return cls(home.expanduser().resolve() / "postgres" / str(MAJOR_VERSION))

    @property
    def data(self) -> Path:
        """The data folder of the server; it exists whole or not at all."""
        return self.root / "data"

    @property
    def log(self) -> Path:
        """What the server and the sitter say."""
        return self.root / "server.log"

    @property
    def user_lock(self) -> Path:
        """Held shared by each process that uses the server."""
        return self.root / "users.lock"

    @property
    def sitter_lock(self) -> Path:
        """Held by the sitter as long as it lives."""
        return self.root / "sitter.lock"

    @property
    def start_lock(self) -> Path:
        """Held by whoever starts or stops something."""
        return self.root / "start.lock"

    @property
    def socket_folder(self) -> Path:
        """The private folder of the socket: in the root, or in ``/tmp`` where that path will not do."""
        inside = self.root / "run"
        # The client library takes a comma for the end of a host.
        if len(os.fsencode(inside / _socket_name())) <= LONGEST_SOCKET_PATH and "," not in str(inside):
            return inside
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path("/tmp") / f"archon-workflows-{user_id()}-{digest}"  # noqa: S108 - made private, see make_private

    @property
    def password(self) -> Path:
        """The superuser's password, where the server listens on loopback."""
        return self.root / "password.txt"

    @property
    def port(self) -> Path:
        """The port, where the server listens on loopback."""
        return self.root / "port.txt"

    def make_root(self) -> None:
        """Make the root; nobody but its owner can enter it.

        Raises:
            StorageError: it belongs to somebody else.
            OSError: it cannot be made.
        """
        self.root.parent.parent.mkdir(parents=True, exist_ok=True)
        for folder in (self.root.parent, self.root):
            make_private(folder)

    def make_socket_folder(self) -> None:
        """Make the folder of the socket, likewise."""
        make_private(self.socket_folder)

    def remove_socket_folder(self) -> None:
        """Remove the folder of the socket, if it is empty."""
        with suppress(OSError):
            self.socket_folder.rmdir()

    def marks_of_a_server(self) -> Iterator[Path]:
        """Yield the files that a running server keeps, and that one which was killed leaves behind."""
        yield self.data / "postmaster.pid"
        yield self.socket_folder / _socket_name()
        yield self.socket_folder / f"{_socket_name()}.lock"


def make_private(folder: Path) -> None:
    """Make ``folder`` unless it is there, and make sure that nobody else can enter it.

    Raises:
        StorageError: it belongs to another user or is a link (``embedded_folder_not_private``).
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user_id():
        raise StorageError(
            f"The folder {str(folder)!r} of the embedded Postgres is a link or belongs to another user.",
            code="embedded_folder_not_private",
            suggestion="Remove it, or set ARCHON_WORKFLOWS_HOME to a folder of your own with a short path.",
        )
    if stat.S_IMODE(found.st_mode) != 0o700:  # noqa: PLR2004 - the mode that the function promises
        folder.chmod(0o700)


def _socket_name() -> str:
    return f".s.PGSQL.{PORT}"


def unusable(layout: Layout, error: OSError) -> StorageError:
    """Return the letter about an ``OSError`` in the folders of ``layout``."""
    return StorageError(
        f"The folder {str(layout.root)!r} of the embedded Postgres cannot be used: {error}.",
        code="embedded_folder_unusable",
        suggestion="Make it writable, make room on the disk, or set ARCHON_WORKFLOWS_HOME to another folder.",
    )
