"""Listening for executions that got something new, over a session of its own that comes back by itself."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final, get_args
from uuid import UUID

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from archon_workflows.errors import StorageError
from archon_workflows.model.records import Announcement, AnnouncementKind
from archon_workflows.storage.sessions import Session, translated

logger = logging.getLogger(__name__)

CHANNEL: Final = "archon_workflows"
_KEPT: Final = 10_000
_CHECK_SECONDS: Final = 30.0
_LONGEST_PAUSE_SECONDS: Final = 5.0

_KINDS: Final[Mapping[str, AnnouncementKind]] = {kind: kind for kind in get_args(AnnouncementKind)}

OpenSession = Callable[[], Awaitable[Session]]


@asynccontextmanager
async def announcements(open_session: OpenSession) -> AsyncGenerator[AsyncIterator[Announcement]]:
    """Yield an iterator over what is announced; it outlives lost sessions, and drops what nobody takes.

    On entry it listens already, or has tried to.
    """
    sending, receiving = anyio.create_memory_object_stream[Announcement](_KEPT)
    tried = anyio.Event()
    async with sending, receiving, anyio.create_task_group() as tasks:
        tasks.start_soon(_listen_for_ever, open_session, sending, tried)
        await tried.wait()
        try:
            yield receiving
        finally:
            tasks.cancel_scope.cancel()


async def _listen_for_ever(
    open_session: OpenSession, sending: MemoryObjectSendStream[Announcement], tried: anyio.Event
) -> None:
    pause = 0.1
    while True:
        try:
            session = await open_session()
            pause = 0.1
            await _listen(session, sending, tried)
        except StorageError as error:
            logger.warning("Not listening for changes for the moment: %s", error)
        tried.set()
        await anyio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


async def _listen(
    session: Session, sending: MemoryObjectSendStream[Announcement], listening: anyio.Event
) -> None:
    """Pass on what the session hears until it is lost."""
    lost = anyio.Event()

    def hear(_session: object, _pid: int, _channel: str, payload: object) -> None:
        execution_id, _, kind = str(payload).partition(" ")
        with suppress(anyio.WouldBlock, ValueError):
            sending.send_nowait(Announcement(UUID(execution_id), _KINDS.get(kind, "free")))

    def lose(_session: object) -> None:
        lost.set()

    session.add_termination_listener(lose)
    try:
        async with translated():
            await session.add_listener(CHANNEL, hear)
            listening.set()
            while not lost.is_set():
                with anyio.move_on_after(_CHECK_SECONDS):
                    await lost.wait()
                if not lost.is_set():
                    await session.execute("select 1")
    finally:
        session.terminate()
