"""One process's use of the embedded server: take part, start what is missing, watch, let go.

::

    async with open_embedded(home) as url:
        connection = await asyncpg.connect(url)

Being a user is nothing but holding ``users.lock`` shared; the kernel lets go of it however the process ends.
"""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import to_thread

from archon_workflows.errors import StorageError
from archon_workflows.storage.embedded.address import read_address
from archon_workflows.storage.embedded.binaries import environment, find_programs
from archon_workflows.storage.embedded.cluster import USUAL_RECIPE, Recipe, make_cluster
from archon_workflows.storage.embedded.layout import Layout, unusable
from archon_workflows.storage.embedded.platform import LockFile, spawn_detached, wait_until
from archon_workflows.storage.embedded.postmaster import accepts_connections

LINGER_SECONDS = 3.0
READY_SECONDS = 120.0
STARTS = 3
LOOK_SECONDS = 1.0

PACKAGE_ROOT = Path(__file__).parents[3]

_log = logging.getLogger(__name__)


class EmbeddedPostgres:
    """The server of one home, as one user sees it.

    Args:
        home: folder of the product; made when missing.
        linger_seconds: how long the server stays after its last user, if this user starts the sitter.
        recipe: how to make the data folder where there is none; an existing one stays as it is.
    """

    def __init__(
        self,
        home: Path,
        *,
        linger_seconds: float = LINGER_SECONDS,
        recipe: Recipe = USUAL_RECIPE,
    ) -> None:
        self._layout = Layout.of_home(home)
        self._linger_seconds = linger_seconds
        self._recipe = recipe
        self._lock = LockFile(self._layout.user_lock)
        self._sitter_lock = LockFile(self._layout.sitter_lock)
        self._released = threading.Event()
        self._watch = threading.Thread(target=self._watch_sitter, name="embedded-postgres-watch", daemon=True)

    def acquire(self) -> str:
        """Become a user, and return the URL of a server that takes connections.

        The URL stays valid until ``release``; when the server dies it comes back at the same place, and
        connections have to be opened anew. Call it once.

        Raises:
            StorageError: the server cannot be had (``embedded_postgres_failed`` and its kin, with reasons).
        """
        try:
            self._take_part()
        except OSError as error:
            self._lock.release()
            raise unusable(self._layout, error) from error
        except BaseException:
            self._lock.release()
            raise
        self._watch.start()
        return read_address(self._layout).url

    def release(self) -> None:
        """Stop being a user; the sitter stops the server when nobody else is one. Harmless to repeat."""
        self._released.set()
        self._lock.release()

    def _take_part(self) -> None:
        self._layout.make_root()
        if not self._lock.wait_shared(READY_SECONDS):
            raise _too_slow(self._layout)
        self._start_what_is_missing()

    def _start_what_is_missing(self) -> None:
        start_lock = LockFile(self._layout.start_lock)
        if not start_lock.wait_exclusive(READY_SECONDS):
            raise _too_slow(self._layout)
        try:
            self._start(find_programs(), start_lock)
        except subprocess.TimeoutExpired as error:
            raise _too_slow(self._layout) from error
        finally:
            start_lock.release()

    def _start(self, programs: Path, start_lock: LockFile) -> None:
        """Start a sitter, and another when it dies before its server takes connections."""
        for _ in range(STARTS):
            if self._sitter_lock.is_free():
                make_cluster(self._layout, programs, self._recipe, start_lock)
                self._spawn_sitter(programs)
            if self._wait_for_server(programs):
                return
        raise _too_slow(self._layout)

    def _wait_for_server(self, programs: Path) -> bool:
        accepts = False

        def is_decided() -> bool:
            nonlocal accepts
            accepts = accepts_connections(self._layout, programs)
            return accepts or self._sitter_lock.is_free()

        wait_until(is_decided, READY_SECONDS)
        return accepts

    def _spawn_sitter(self, programs: Path) -> None:
        module = "archon_workflows.storage.embedded.sitter"
        arguments = (str(self._layout.root), str(programs), str(self._linger_seconds))
        # -S: the sitter needs nothing but the standard library and this package, and starts in half the time.
        letter = spawn_detached(
            [sys.executable, "-S", "-P", "-m", module, *arguments],
            env={**environment(), "PYTHONPATH": str(PACKAGE_ROOT)},
            log=self._layout.log,
            seconds=READY_SECONDS,
        )
        if letter.strip():
            raise _as_error(json.loads(letter))

    def _watch_sitter(self) -> None:
        """Start another sitter when it is gone, so that the server never runs without one for long."""
        while not self._released.wait(LOOK_SECONDS):
            try:
                if self._sitter_lock.is_free():
                    self._start_what_is_missing()
            except (StorageError, OSError) as error:
                _log.warning("The embedded Postgres has no sitter, and a new one did not start: %s", error)


@asynccontextmanager
async def open_embedded(
    home: Path,
    *,
    linger_seconds: float = LINGER_SECONDS,
    recipe: Recipe = USUAL_RECIPE,
) -> AsyncGenerator[str]:
    """Use the embedded server of ``home`` inside the block; yield its URL. See ``EmbeddedPostgres``.

    Raises:
        StorageError: the server cannot be had.
    """
    server = EmbeddedPostgres(home, linger_seconds=linger_seconds, recipe=recipe)
    try:
        yield await to_thread.run_sync(server.acquire)
    finally:
        server.release()


def _as_error(letter: Mapping[str, str]) -> StorageError:
    return StorageError(letter["message"], code=letter["code"], suggestion=letter.get("suggestion"))


def _too_slow(layout: Layout) -> StorageError:
    return StorageError(
        f"The embedded Postgres in {str(layout.root)!r} did not get ready.",
        code="embedded_postgres_failed",
        suggestion=f"Read {str(layout.log)!r}, and look for a process that hangs in starting it.",
    )
