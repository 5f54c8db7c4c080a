"""How the server is reached: over a private socket, or over loopback with a password where there are none.

A data folder that was made for loopback has ``password.txt`` beside it; Windows, whose Python has no Unix
sockets, makes only these.
"""

import os
import secrets
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from archon_workflows.storage.embedded.layout import DATABASE, PORT, SUPERUSER, Layout

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens.

    Attributes:
        host: folder of the socket, or the loopback address.
        port: TCP port, or the number in the socket's name.
        password: of the superuser; ``None`` where the folder of the socket is the protection.
    """

    host: str
    port: int
    password: str | None

    @property
    def url(self) -> str:
        """The URL of the server's first database, for asyncpg."""
        if self.password is not None:
            return f"postgresql://{SUPERUSER}:{self.password}@{self.host}:{self.port}/{DATABASE}"
        folder = quote(os.fsencode(self.host), safe="/")
        return f"postgresql://{SUPERUSER}@/{DATABASE}?host={folder}&port={self.port}"

    @property
    def settings(self) -> Mapping[str, str]:
        """The settings of Postgres that make it listen here and nowhere else."""
        if self.password is not None:
            return {"listen_addresses": self.host, "port": str(self.port), "unix_socket_directories": ""}
        folder = self.host.replace('"', '""')
        return {
            "listen_addresses": "",
            "port": str(self.port),
            "unix_socket_directories": f'"{folder}"',
            "unix_socket_permissions": "0700",
        }


def read_address(layout: Layout) -> Address:
    """Return where the server of ``layout`` listens, or will when it is started."""
    if not layout.password.exists():
        return Address(str(layout.socket_folder), PORT, None)
    return Address(LOOPBACK, _read_port(layout), layout.password.read_text().strip())


def make_password(layout: Layout) -> None:
    """Decide for loopback before the data folder is made."""
    layout.password.touch(mode=0o600)
    layout.password.write_text(secrets.token_urlsafe(24))


def choose_port(layout: Layout) -> None:
    """Keep the port of last time if it is free, so that users keep their URL; otherwise take another."""
    if layout.password.exists() and not _is_free(_read_port(layout)):
        layout.port.write_text(str(_any_free_port()))


def _read_port(layout: Layout) -> int:
    with suppress(OSError, ValueError):
        return int(layout.port.read_text())
    return 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        if os.name != "nt":
            # As Postgres does: connections that were closed a moment ago do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((LOOPBACK, port))
        return port != 0
    return False


def _any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]
