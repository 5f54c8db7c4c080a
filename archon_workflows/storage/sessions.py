"""Database sessions as the direct tenant wants them: named, limited in time, speaking JSON quickly.

The only room that knows the driver; it has no annotations, so what is used of it is typed here.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none; see the protocols below
from pydantic_core import from_json, to_json

from archon_workflows.errors import StorageError, WorkflowError
from archon_workflows.model.json_values import read_stored_json
from archon_workflows.storage.refusals import REPEAT_AT_ONCE, refusal, unavailable
from archon_workflows.storage.rows import Row

ResultT = TypeVar("ResultT")

_DIGITS_AS_ZEROS: Final = bytes.maketrans(b"0123456789", b"0" * 10)
_LONG_NUMBER: Final = b"0" * 19

_driver: Any = asyncpg

TRANSACTION_POOLER_PORT: Final = 6543
_TRIES: Final = 5

# Set after connecting rather than at start-up: poolers refuse start-up parameters that they do not know.
_LIMIT_SESSION: Final = """
select
  set_config('application_name', $1, false),
  set_config('statement_timeout', $2, false),
  set_config('lock_timeout', $3, false),
  set_config('idle_in_transaction_session_timeout', $4, false),
  set_config('tcp_user_timeout', $5, false),
  set_config('tcp_keepalives_idle', '30', false),
  set_config('tcp_keepalives_interval', '10', false),
  set_config('tcp_keepalives_count', '3', false),
  set_config('search_path', '', false),
  set_config('TimeZone', 'UTC', false)
"""


class Queries(Protocol):
    """What sessions and pools have in common."""

    async def execute(self, query: str, *arguments: Any) -> str:
        """Run a statement, or several without arguments."""
        ...

    async def fetch(self, query: str, *arguments: Any) -> Sequence[Row]:
        """Return all rows."""
        ...

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        """Return the first column of the first row."""
        ...

    def terminate(self) -> None:
        """Drop the connection without a word to the server."""
        ...


class Session(Queries, Protocol):
    """One connection to the database."""

    _transport: asyncio.Transport

    def is_closed(self) -> bool:
        """Whether the connection is gone."""
        ...

    def add_termination_listener(self, callback: Callable[[object], None]) -> None:
        """Call back when the connection is gone."""
        ...

    async def add_listener(self, channel: str, callback: Callable[[object, int, str, object], None]) -> None:
        """Call back with session, process id, channel and payload of each notification."""
        ...

    async def set_type_codec(
        self,
        typename: str,
        *,
        schema: str,
        format: str,  # noqa: A002 - the driver's name
        encoder: Callable[[Any], bytes],
        decoder: Callable[[bytes], Any],
    ) -> None:
        """Translate a type's values."""
        ...


class Pool(Protocol):
    """Where sessions come from."""

    def terminate(self) -> None:
        """Drop every connection without a word to the server."""
        ...

    async def acquire(self) -> Session:
        """Take a session."""
        ...

    async def release(self, connection: Session) -> None:
        """Give a session back, whatever became of it."""
        ...

    async def close(self) -> None:
        """Wait for calls under way, then close every session."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """How long things may take, in seconds. ``statement`` also bounds the wait for an answer."""

    application_name: str = "archon-workflows"
    connect: float = 10.0
    statement: float = 30.0
    lock: float = 10.0
    idle_in_transaction: float = 30.0
    unacknowledged: float = 20.0


class HeldSessions:
    """Calls on sessions of a pool that stay taken in between; whoever called last is the first to go again.

    Giving a session back to the pool and taking another costs a third of what a short call costs this
    process, and a server process that has just worked answers faster than one that has slept.

    Args:
        pool: nobody else takes sessions from it.
        size: how many there are.
    """

    def __init__(self, pool: Pool, size: int) -> None:
        self._pool = pool
        self._size = size
        self._free = asyncio.Semaphore(size)
        self._idle: list[Session] = []

    async def call(self, query: Callable[[Session], Awaitable[ResultT]]) -> ResultT:
        """Return what a query on one of the sessions returns."""
        async with self._free:
            session = await self._take()
            try:
                result = await query(session)
            except BaseException:
                await self._pool.release(session)
                raise
            self._idle.append(session)
            return result

    async def _take(self) -> Session:
        while self._idle:
            session = self._idle.pop()
            if not _is_lost(session):
                return session
            await self._pool.release(session)
        return await self._pool.acquire()

    async def close(self) -> None:
        """Close every session; calls under way are finished first, later ones are refused."""
        for _ in range(self._size):
            await self._free.acquire()
        try:
            while self._idle:
                await self._pool.release(self._idle.pop())
            await self._pool.close()
        finally:
            for _ in range(self._size):
                self._free.release()

    def terminate(self) -> None:
        """Drop every connection without a word to the server."""
        self._pool.terminate()


async def open_sessions(url: str, limits: SessionLimits, *, size: int) -> HeldSessions:
    """Open at most ``size`` sessions, of which one is connected at once.

    Raises:
        StorageError: the database cannot be reached or refuses the login, or the URL is of a transaction
            pooler.
    """
    refuse_transaction_pooler(url)

    async def prepare(session: Session) -> None:
        await _limit(session, limits)
        await _read_json(session)

    async with translated():
        pool: Pool = await _driver.create_pool(
            url, min_size=1, max_size=size, init=prepare, reset=_leave_as_it_is, **_client_limits(limits)
        )
    return HeldSessions(pool, size)


async def open_session(url: str, limits: SessionLimits, *, reads_json: bool = True) -> Session:
    """Open one session outside of any pool.

    Args:
        url: of the database.
        limits: how long things may take.
        reads_json: whether ``jsonb`` arrives decoded; other libraries' queries want it as text.

    Raises:
        StorageError: as for ``open_pool``.
    """
    refuse_transaction_pooler(url)
    async with translated():
        session: Session = await _driver.connect(url, **_client_limits(limits))
        try:
            await _limit(session, limits)
            if reads_json:
                await _read_json(session)
        except BaseException:
            session.terminate()
            raise
        return session


def _client_limits(limits: SessionLimits) -> dict[str, float]:
    """The server's own limit comes first; the client's is for a server that has gone silent."""
    return {"timeout": limits.connect, "command_timeout": limits.statement + 5}


async def _limit(session: Session, limits: SessionLimits) -> None:
    """Give a new session its name and limits."""
    _bound_silence(session, limits.unacknowledged)
    await session.execute(
        _LIMIT_SESSION,
        limits.application_name,
        _milliseconds(limits.statement),
        _milliseconds(limits.lock),
        _milliseconds(limits.idle_in_transaction),
        _milliseconds(limits.unacknowledged),
    )


async def _read_json(session: Session) -> None:
    await session.set_type_codec(
        "jsonb", schema="pg_catalog", format="binary", encoder=_jsonb_of, decoder=_value_of
    )


def _bound_silence(session: Session, seconds: float) -> None:
    """Let the kernel give the connection up when nobody acknowledges our packets, where it can (Linux)."""
    wire = session._transport.get_extra_info("socket")  # pyright: ignore[reportPrivateUsage] - no other way to it
    if hasattr(socket, "TCP_USER_TIMEOUT") and wire.family in (socket.AF_INET, socket.AF_INET6):
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))


async def _leave_as_it_is(_: object) -> None:
    """Keep a session's settings when it goes back to the pool; resetting them would cost a round trip."""


def refuse_transaction_pooler(url: str) -> None:
    """Refuse Supabase's transaction pooler, under which LISTEN and prepared statements do not work.

    Raises:
        StorageError: ``transaction_pooler``; ``database_url_invalid`` where the port is no number.
    """
    try:
        port = urlsplit(url).port
    except ValueError as error:
        raise _invalid_url(error) from error
    if port == TRANSACTION_POOLER_PORT:
        raise StorageError(
            f"Port {TRANSACTION_POOLER_PORT} is Supabase's transaction pooler: LISTEN, advisory locks and "
            "prepared statements do not work through it.",
            code="transaction_pooler",
            suggestion="Use the session pooler or the direct connection (port 5432 in both cases).",
        )


@asynccontextmanager
async def translated() -> AsyncGenerator[None]:
    """Turn what the driver raises inside into the project's errors.

    Raises:
        WorkflowError: see ``archon_workflows.storage.refusals``.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _letter_of(error) from error
    except asyncpg.ClientConfigurationError as error:
        raise _invalid_url(error) from error
    except ValueError as error:
        raise StorageError(f"The database's driver refuses a value: {error}", code="value_refused") from error
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise unavailable(error) from error


async def repeated(call: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Return the result of a call; a transaction that was rolled back for another's sake is tried again.

    Raises:
        WorkflowError: see ``translated``.
    """
    async with translated():
        for _ in range(_TRIES - 1):
            try:
                return await call()
            except asyncpg.PostgresError as error:
                if _sqlstate(error) not in REPEAT_AT_ONCE:
                    raise
        return await call()


def _is_lost(session: Session) -> bool:
    try:
        return session.is_closed()
    except asyncpg.InterfaceError:
        return True  # the pool has heard that the connection is gone, and has taken the session back


def _invalid_url(cause: ValueError) -> StorageError:
    return StorageError(
        f"The URL of the database is not valid: {cause}",
        code="database_url_invalid",
        suggestion="Write it as postgresql://USER:PASSWORD@HOST:5432/DATABASE; escape the password with %.",
    )


def _letter_of(error: asyncpg.PostgresError) -> WorkflowError:
    message = getattr(error, "message", None) or str(error)
    return refusal(_sqlstate(error), message, getattr(error, "hint", None))


def _sqlstate(error: asyncpg.PostgresError) -> str | None:
    return getattr(error, "sqlstate", None)


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _jsonb_of(value: Any) -> bytes:
    return b"\x01" + to_json(value)


def _value_of(encoded: bytes) -> Any:
    # Postgres writes 1e300 as 301 digits; only then is the careful reader needed to get the float back.
    text = encoded[1:]
    # (A pattern would take three times as long as the reading itself to find that there is none.)
    return read_stored_json(text) if _LONG_NUMBER in text.translate(_DIGITS_AS_ZEROS) else from_json(text)
