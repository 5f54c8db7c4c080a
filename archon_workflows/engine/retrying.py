"""Waiting for a database that is away."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from archon_workflows.errors import StorageError
from archon_workflows.storage.refusals import CURABLE

ResultT = TypeVar("ResultT")

LONGEST_PAUSE_SECONDS = 5.0


async def until_database_answers(ask: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Ask again, with longer and longer pauses, while the database is away or locked to us.

    Other errors are the caller's.

    Only for what is harmless to repeat, as every write function of the project is.
    """
    pause = 0.05
    while True:
        try:
            return await ask()
        except StorageError as error:
            if error.code not in CURABLE:
                raise
        await anyio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
