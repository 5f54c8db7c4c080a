"""Bugs that the product must not have, put into a chaos worker to see that the checker finds them.

Each changes the product's objects of its own process and nothing else; no code of the product knows of them.
"""

# pyright: reportPrivateUsage=false
# Bugs are made where the product does not expect anyone.

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import anyio
from patches import put

from archon_workflows.engine.engine import Engine
from archon_workflows.engine.journal import Journal, _Waiting
from archon_workflows.engine.launch import Launcher
from archon_workflows.engine.mask import Mask
from archon_workflows.engine.owner import Owner
from archon_workflows.engine.plans import Plans
from archon_workflows.engine.preparation import Preparation
from archon_workflows.interpreter import CallTool, Interpreter, Plan, StartChild, Turn
from archon_workflows.interpreter.frames import StepFrame
from archon_workflows.interpreter.logbook import Logbook
from archon_workflows.interpreter.sequences import SequenceFrame
from archon_workflows.model.outcomes import Outcome, StepError
from archon_workflows.model.records import (
    Claim,
    ControlRequest,
    CreatedExecution,
    ExecutionRecord,
    JournalAnswer,
    JournalEntry,
    LogEntry,
    NewExecution,
    StepRecord,
    Taker,
)
from archon_workflows.storage.direct import DirectRepository

CLOCK_BEHIND_SECONDS = 3600.0


Records = Callable[[Preparation, ExecutionRecord], Awaitable[tuple[StepRecord, ...]]]


def _recall(change: Callable[[Sequence[StepRecord]], Sequence[StepRecord]]) -> None:
    """Change what an owner finds recorded when it takes an execution over."""
    records: Records = Preparation._records

    async def changed(preparation: Preparation, execution: ExecutionRecord) -> tuple[StepRecord, ...]:
        return tuple(change(await records(preparation, execution)))

    put(Preparation, _records=changed)


def recorded_steps_run_again() -> None:
    _recall(lambda records: [record for record in records if record.status != "completed"])


def attempts_start_anew_after_a_crash() -> None:
    _recall(lambda records: [replace(record, attempt_number=1) for record in records])


def no_fence() -> None:
    record = DirectRepository.record

    async def unfenced(
        repository: DirectRepository, entries: Sequence[JournalEntry]
    ) -> tuple[JournalAnswer, ...]:
        rows = await repository.read_executions([entry.execution_id for entry in entries])
        current = {row.id: row for row in rows}
        forged = [_forged(entry, current[entry.execution_id]) for entry in entries]
        answers = await record(repository, forged)
        return tuple(replace(answer, accepted=True) for answer in answers)

    put(DirectRepository, record=unfenced)


def _forged(entry: JournalEntry, row: ExecutionRecord) -> JournalEntry:
    return replace(entry, fencing_token=row.fencing_token, sequence=row.journal_sequence + 1)


def _performed_before_its_record(kind: type[CallTool | StartChild]) -> None:
    advance, record = Owner._advance, Owner._record
    tasks_of: dict[UUID, asyncio.TaskGroup] = {}

    async def remembering(owner: Owner, tasks: asyncio.TaskGroup) -> bool:
        tasks_of[owner.execution_id] = tasks
        return await advance(owner, tasks)

    async def late(owner: Owner, turn: Turn) -> JournalAnswer | None:
        early = [command for command in turn.commands if isinstance(command, kind)]
        turn.commands = [command for command in turn.commands if command not in early]
        owner._perform(early, tasks_of[owner.execution_id])
        await anyio.sleep(0.05)
        return await record(owner, turn)

    put(Owner, _advance=remembering, _record=late)


def cancellations_are_ignored() -> None:
    def ignored(interpreter: Interpreter, request: ControlRequest) -> None:
        interpreter.log("info", f"Cancellation {request.id} was heard")

    put(Interpreter, _cancel=ignored)


def children_are_started_twice() -> None:
    launch = Launcher.launch_child

    async def twice(
        launcher: Launcher, parent_id: UUID, command: StartChild, *further: Any
    ) -> CreatedExecution:
        await launch(launcher, parent_id, replace(command, child_id=uuid4()), *further)
        return await launch(launcher, parent_id, command, *further)

    put(Launcher, launch_child=twice)


def leases_by_the_local_clock() -> None:
    """An expiry that a machine computes whose clock is behind lies in the past for the database."""
    create, claim, renew = DirectRepository.create_execution, DirectRepository.claim, DirectRepository.renew

    async def create_locally(
        repository: DirectRepository, new: NewExecution, *, taker: Taker | None = None
    ) -> CreatedExecution:
        if taker is not None:
            taker = replace(taker, lease_seconds=taker.lease_seconds - CLOCK_BEHIND_SECONDS)
        return await create(repository, new, taker=taker)

    async def claim_locally(
        repository: DirectRepository, owner_id: str, *, lease_seconds: float, **which: Any
    ) -> tuple[Claim, ...]:
        seconds = lease_seconds - CLOCK_BEHIND_SECONDS
        return await claim(repository, owner_id, lease_seconds=seconds, **which)

    async def renew_locally(
        repository: DirectRepository, held: Sequence[tuple[UUID, int]], *, lease_seconds: float
    ) -> tuple[JournalAnswer, ...]:
        return await renew(repository, held, lease_seconds=lease_seconds - CLOCK_BEHIND_SECONDS)

    put(DirectRepository, create_execution=create_locally, claim=claim_locally, renew=renew_locally)


def entries_acknowledged_before_they_are_durable() -> None:
    async def hasty(journal: Journal, entry: JournalEntry) -> JournalAnswer:
        journal._waiting.append(_Waiting(entry, asyncio.get_running_loop().create_future()))
        journal._call_writer()
        return JournalAnswer(
            execution_id=entry.execution_id, accepted=True, control_requests=(), now=journal._clock.now()
        )

    put(Journal, write=hasty)


def fenced_owners_go_on() -> None:
    write = Journal.write

    async def believing(journal: Journal, entry: JournalEntry) -> JournalAnswer:
        return replace(await write(journal, entry), accepted=True)

    def deaf(engine: Engine, _token: int, answer: JournalAnswer, _until: float) -> None:
        owner = engine._owners.get(answer.execution_id)
        if owner is not None:
            owner.lease.renewed(float("inf"))

    put(Journal, write=believing)
    put(Engine, _renewed=deaf)


def skipped_steps_count_as_completed() -> None:
    save = StepFrame._save

    def save_completed(frame: StepFrame, **columns: Any) -> None:
        if columns.get("status") == "skipped":
            columns["status"] = "completed"
        save(frame, **columns)

    put(StepFrame, _save=save_completed)


def secrets_are_not_masked() -> None:
    def unmasked_outcome(_mask: Mask, outcome: Outcome) -> Outcome:
        return outcome

    def unmasked_turn(_mask: Mask, _turn: Turn) -> None:
        return

    put(Mask, outcome=unmasked_outcome, turn=unmasked_turn)


def unhandled_failures_complete() -> None:
    def completed(interpreter: Interpreter, sequence: SequenceFrame, _error: StepError) -> None:
        interpreter.sequence_completed(sequence)

    put(Interpreter, sequence_failed=completed)


def log_entries_vanish() -> None:
    take = Logbook.take

    def uncounted(logbook: Logbook) -> tuple[list[LogEntry], int]:
        kept, _ = take(logbook)
        return kept, 0

    put(Logbook, take=uncounted)


def the_newest_version_is_run() -> None:
    of_version = Plans.of_version

    async def newest(plans: Plans, version_id: UUID) -> Plan:
        version = await plans._repository.read_version(version_id=version_id)
        template = await plans._repository.read_template(template_id=version.workflow_template_id)
        return await of_version(plans, template.version_id)

    put(Plans, of_version=newest)


def nobody_takes_over() -> None:
    claim = DirectRepository.claim

    async def only_new(
        repository: DirectRepository, owner_id: str, *, lease_seconds: float, **which: Any
    ) -> tuple[Claim, ...]:
        claims = await claim(repository, owner_id, lease_seconds=lease_seconds, **which)
        return tuple(one for one in claims if not one.taken_over)

    put(DirectRepository, claim=only_new)


BUGS: Mapping[str, Callable[[], None]] = {
    "recorded steps run again": recorded_steps_run_again,
    "no fence": no_fence,
    "calls before their record": partial(_performed_before_its_record, CallTool),
    "children before their record": partial(_performed_before_its_record, StartChild),
    "cancellations are ignored": cancellations_are_ignored,
    "children are started twice": children_are_started_twice,
    "leases by the local clock": leases_by_the_local_clock,
    "entries acknowledged before they are durable": entries_acknowledged_before_they_are_durable,
    "fenced owners go on": fenced_owners_go_on,
    "attempts start anew after a crash": attempts_start_anew_after_a_crash,
    "skipped steps count as completed": skipped_steps_count_as_completed,
    "secrets are not masked": secrets_are_not_masked,
    "unhandled failures complete": unhandled_failures_complete,
    "log entries vanish": log_entries_vanish,
    "the newest version is run": the_newest_version_is_run,
    "nobody takes over": nobody_takes_over,
}
