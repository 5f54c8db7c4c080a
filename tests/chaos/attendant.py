"""The person at the desk: approves, says what became of interrupted calls, cancels, retries."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from catalogue import CATALOGUE
from evidence import Submission, read_calls

from archon_workflows.bootstrap import Application
from archon_workflows.errors import Conflict, StorageError
from archon_workflows.model.records import ControlRequest, ExecutionFilter, ExecutionRecord, StepRecord

LOOK_SECONDS = 0.1
MOST_AT_ONCE = 200


class Attendant:
    """Gives every execution the word that it waits for, however often the database is away.

    Args:
        application: through which the words are given.
        ledger: the ledger's folder; a person who is asked would look there what became of a call.

    Attributes:
        cancelled: the executions whose cancellation was accepted.
    """

    def __init__(self, application: Application, ledger: Path) -> None:
        self.cancelled: list[UUID] = []
        self._application = application
        self._ledger = ledger
        self._to_cancel: set[UUID] = set()
        self._to_retry: set[UUID] = set()

    def attend(self, submission: Submission) -> None:
        """Take note of an execution that is to be cancelled or retried."""
        word = CATALOGUE[submission.workflow].word
        if word == "cancel":
            self._to_cancel.add(submission.execution_id)
        elif word == "retry":
            self._to_retry.add(submission.execution_id)

    @property
    def has_more_to_say(self) -> bool:
        """Whether a cancellation or a retry is still to be asked for."""
        return bool(self._to_cancel or self._to_retry)

    @asynccontextmanager
    async def attending(self) -> AsyncGenerator[None]:
        """Inside the block, look again and again for executions that wait for a word."""
        task = asyncio.create_task(self._attend_for_ever())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _attend_for_ever(self) -> None:
        while True:
            # When the database is away the same words are given again later, with the same ids.
            with suppress(StorageError):
                await self._look_once()
            await asyncio.sleep(LOOK_SECONDS)

    async def _look_once(self) -> None:
        which = ExecutionFilter(statuses=("paused",))
        paused = await self._application.executions.list(which, offset=0, limit=MOST_AT_ONCE)
        for execution in paused.records:
            await self._give_words(execution)
        for execution in await self._read(self._to_cancel):
            if execution.progress_percentage > 0 or execution.status not in ("pending", "running"):
                await self._cancel(execution)
        for execution in await self._read(self._to_retry):
            await self._retry(execution)

    async def _read(self, ids: Iterable[UUID]) -> tuple[ExecutionRecord, ...]:
        wanted = list(ids)
        return await self._application.repository.read_executions(wanted) if wanted else ()

    async def _give_words(self, execution: ExecutionRecord) -> None:
        rows = await self._application.executions.read_steps(execution.id)
        for row in rows.records:
            if row.awaiting == "approval":
                await self._say(execution, "approve", f"approve {row.step_path}", step_path=row.step_path)
            elif row.awaiting == "resolution":
                name = f"resolve {row.step_path} {row.interruptions}"
                await self._say(
                    execution, "resolve", name, step_path=row.step_path, **self._became(row, execution)
                )

    def _became(self, row: StepRecord, execution: ExecutionRecord) -> dict[str, Any]:
        """Look up whether the interrupted call did its work."""
        calls = [
            call
            for call in read_calls(self._ledger)
            if (call.execution_id, call.path) == (execution.id, row.step_path) and call.ended is not None
        ]
        if not calls:
            return {"resolution": "rerun"}
        arguments: Mapping[str, int] = row.input_data
        return {"resolution": "succeeded", "output": {"value": arguments["value"] + 1}}

    async def _cancel(self, execution: ExecutionRecord) -> None:
        if await self._say(execution, "cancel", "cancel"):
            self.cancelled.append(execution.id)
        self._to_cancel.discard(execution.id)

    async def _retry(self, execution: ExecutionRecord) -> None:
        if execution.status == "failed":
            await self._say(execution, "retry", "retry")
        if execution.status in ("failed", "completed"):
            self._to_retry.discard(execution.id)

    async def _say(self, execution: ExecutionRecord, action: Any, name: str, **fields: Any) -> bool:
        """Put a control request; return whether it was accepted."""
        request = ControlRequest(
            id=uuid5(execution.id, name), action=action, requested_by="attendant", **fields
        )
        try:
            await self._application.executions.control(execution.id, request, wait_seconds=0)
        except Conflict:
            return False
        return True
