"""The verbs of executions: start, read, list, wait, control."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from time import monotonic
from uuid import UUID

import anyio

from archon_workflows.engine.changes import LOOK_AGAIN_SECONDS
from archon_workflows.engine.engine import Engine
from archon_workflows.engine.launch import Launcher
from archon_workflows.engine.plans import Plans
from archon_workflows.engine.verbs import RunRequest, StartedExecution
from archon_workflows.errors import Conflict
from archon_workflows.interpreter import records_to_reset
from archon_workflows.model.json_values import normalise
from archon_workflows.model.records import (
    TERMINAL_STATUSES,
    ControlRequest,
    CreatedExecution,
    ExecutionFilter,
    ExecutionRecord,
    Page,
    Prospect,
    Queue,
    StepFilter,
    StepRecord,
    Taker,
)
from archon_workflows.storage.repository import Repository

LAUNCHES_AT_ONCE = 4
"""Half as many as a process has sessions: whoever wants to read or to record never waits for a launch."""
SHORTEST_INTERVAL_SECONDS = 0.02


class Executions:
    """What callers can do with executions; every verb answers from the database."""

    def __init__(self, repository: Repository, engine: Engine, launcher: Launcher, plans: Plans) -> None:
        self._repository = repository
        self._engine = engine
        self._launcher = launcher
        self._plans = plans
        self._launches = anyio.Semaphore(LAUNCHES_AT_ONCE)

    async def start(self, request: RunRequest) -> StartedExecution:
        """Store an execution and let this process advance it; return at once.

        Raises:
            NotFound: no such template or version.
            InvalidParameters: the input does not fit the template's parameters.
            Conflict: the template does not run (``draft_not_allowed``, ``template_archived``,
                ``too_many_executions``), or the idempotency key names an execution of another template.
        """
        warnings: tuple[str, ...] = ()

        async def create(taker: Taker | None) -> CreatedExecution:
            nonlocal warnings
            created, warnings = await self._launcher.launch(request, taker)
            return created

        async with self._launches:
            created = await self._engine.start(create)
        if created.claim is not None:
            execution = created.claim.execution
        else:
            execution = await self._repository.read_execution(created.id)
        return StartedExecution(execution=execution, existed=created.existed, warnings=warnings)

    async def read(self, execution_id: UUID) -> ExecutionRecord:
        """Return the execution.

        Raises:
            NotFound: ``execution_not_found``.
        """
        return await self._repository.read_execution(execution_id)

    async def read_queue(self, execution_id: UUID) -> Queue | None:
        """Return what is before an execution that awaits a place; ``None`` when it awaits none."""
        return await self._repository.read_queue(execution_id)

    async def read_prospect(self, execution_id: UUID) -> Prospect:
        """Return who could advance the execution."""
        return await self._repository.read_prospect(execution_id)

    async def read_steps(
        self,
        execution_id: UUID,
        which: StepFilter | None = None,
        *,
        offset: int = 0,
        limit: int | None = None,
    ) -> Page[StepRecord]:
        """Return an execution's step rows in the order in which they were first written."""
        return await self._repository.read_steps(execution_id, which, offset=offset, limit=limit)

    async def list(self, which: ExecutionFilter, *, offset: int, limit: int) -> Page[ExecutionRecord]:
        """Return one page of executions, newest first."""
        return await self._repository.list_executions(which, offset=offset, limit=limit)

    async def wait(
        self,
        execution_id: UUID,
        *,
        seconds: float,
        since: datetime | None = None,
        on_change: Callable[[ExecutionRecord], Awaitable[None]] | None = None,
    ) -> ExecutionRecord:
        """Return the execution when it has ended or is paused, or when the time is over.

        Args:
            execution_id: which one.
            seconds: the longest wait.
            since: an ``updated_at``; return at the first change after it instead.
            on_change: is told of each change that is seen meanwhile.
        """
        ends_at = monotonic() + seconds
        only_settled = since is None and on_change is None
        seen: datetime | None = None
        while True:
            with self._engine.changes.expected(execution_id, only_settled=only_settled) as change:
                left = ends_at - monotonic()
                if only_settled and left > 0 and self._engine.owns(execution_id):
                    await change.within(left)
                    row = change.row
                    if row is not None and _is_awaited(row, since) and self._repository.shows(row):
                        return row
                    continue
                execution = await self._repository.read_execution(execution_id)
                if on_change is not None and seen not in (None, execution.updated_at):
                    await on_change(execution)
                left = ends_at - monotonic()
                if _is_awaited(execution, since) or left <= 0:
                    return execution
                seen = execution.updated_at
                await change.within(min(left, self._engine.changes.look_again_seconds))
            if not only_settled:
                await anyio.sleep(SHORTEST_INTERVAL_SECONDS)

    async def control(
        self, execution_id: UUID, request: ControlRequest, *, wait_seconds: float = 5
    ) -> ExecutionRecord:
        """Put a control request to an execution; return when its owner has acted on it, or the time is over.

        Raises:
            NotFound: ``execution_not_found``, or the version of a retry does not exist.
            Conflict: the execution's status does not allow the action, or it waits for another one
                (``waits_for_word``, ``nothing_waits``, ``several_wait``).
            InvalidRequest: ``from_step`` has not run.
        """
        if request.action == "retry":
            request = await self._checked_retry(execution_id, request)
        elif request.action in ("approve", "reject", "resolve"):
            await self._check_word(execution_id, request)
        elif request.action == "resume":
            await self._check_resume(execution_id)
        request = replace(request, output=normalise(request.output, "refuse").value)
        await self._repository.request_control(execution_id, request)
        await self._engine.take(execution_id, only_fitting=True)
        return await self._acted_on(execution_id, request.id, wait_seconds)

    async def _acted_on(self, execution_id: UUID, request_id: UUID, seconds: float) -> ExecutionRecord:
        ends_at = monotonic() + seconds
        while True:
            with self._engine.changes.expected(execution_id, only_settled=False) as change:
                execution = await self._repository.read_execution(execution_id)
                waits = any(request.id == request_id for request in execution.control_requests)
                left = ends_at - monotonic()
                if not waits or left <= 0:
                    return execution
                await change.within(min(left, LOOK_AGAIN_SECONDS))

    async def _checked_retry(self, execution_id: UUID, request: ControlRequest) -> ControlRequest:
        """Refuse what cannot be retried; return the request with the tools of the version that will run."""
        execution = await self._repository.read_execution(execution_id)
        version_id = execution.workflow_version_id
        if request.version_number is not None:
            version = await self._repository.read_version(
                template_id=execution.workflow_template_id, version_number=request.version_number
            )
            version_id = version.id
        plan = await self._plans.of_version(version_id)
        steps = await self._repository.read_steps(execution_id)
        records_to_reset(plan, steps.records, request.from_step)
        return replace(request, required_tools=plan.required_tools())

    async def _check_resume(self, execution_id: UUID) -> None:
        """Refuse to resume what was not paused by anybody: it waits for another word."""
        execution = await self._repository.read_execution(execution_id)
        if execution.status != "paused" or execution.pause_reason == "requested":
            return  # the database's own refusal names the status
        word = "approve or reject" if execution.pause_reason == "approval" else "resolve"
        raise Conflict(
            f"The execution is paused because a step waits for someone's word ({execution.pause_reason}).",
            code="waits_for_word",
            path="/action",
            suggestion=f"Use {word}; the execution goes on by itself then.",
        )

    async def _check_word(self, execution_id: UUID, request: ControlRequest) -> None:
        """Refuse a word that no step waits for, so that the caller hears of it at once."""
        execution = await self._repository.read_execution(execution_id)
        if execution.status in TERMINAL_STATUSES:
            return  # the database's own refusal names the status
        wanted = "resolution" if request.action == "resolve" else "approval"
        steps = await self._repository.read_steps(execution_id, StepFilter(statuses=("pending", "running")))
        waiting = [step.step_path for step in steps.records if step.awaiting == wanted]
        chosen = [path for path in waiting if request.step_path in (None, path)]
        if len(chosen) != 1:
            raise Conflict(
                f"{request.action!r} needs one step that waits for {wanted}; {len(chosen)} fit"
                + (f" {request.step_path!r}." if request.step_path else "."),
                code="nothing_waits" if not chosen else "several_wait",
                path="/step_path",
                suggestion=f"Steps that wait for {wanted}: {', '.join(waiting) or 'none'}.",
            )


def _is_awaited(execution: ExecutionRecord, since: datetime | None) -> bool:
    if since is not None:
        return execution.updated_at > since
    return execution.status in TERMINAL_STATUSES or (
        execution.status == "paused" and not execution.control_requests
    )
