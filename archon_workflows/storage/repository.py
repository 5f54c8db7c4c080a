"""The port to the database: one protocol, several tenants, one contract suite.

Every write is one SQL function of ``migration/add_workflow_system.sql``: atomic, and harmless to repeat.
Tenants translate the database's errors into ``Conflict``, ``NotFound``, ``Fenced`` and ``StorageError``
and nothing else; a ``StorageError`` with code ``database_unavailable`` is worth trying again.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import UUID

from archon_workflows.model.records import (
    Announcement,
    Claim,
    ControlRequest,
    CreatedExecution,
    ExecutionFilter,
    ExecutionRecord,
    JournalAnswer,
    JournalEntry,
    NewExecution,
    Page,
    Prospect,
    Queue,
    StepFilter,
    StepRecord,
    Taker,
    TemplateFilter,
    TemplateRecord,
    TemplateSave,
    TreeCount,
    VersionRecord,
    WorkerRecord,
    WorkerReport,
)
from archon_workflows.model.schedules import (
    DueSchedules,
    Fired,
    Firing,
    NewSchedule,
    ScheduleFilter,
    ScheduleRecord,
)


class Repository(Protocol):
    """What the engine and the server ask of a database."""

    async def save_template(self, save: TemplateSave) -> TemplateRecord:
        """Write the template and its next version in one transaction.

        Raises:
            NotFound: ``template_id`` names no template.
            Conflict: the name is taken (``name_taken``) or the version is stale (``stale_version``).
        """
        ...

    async def read_template(
        self, *, name: str | None = None, template_id: UUID | None = None
    ) -> TemplateRecord:
        """Return the template of that name or id.

        Raises:
            NotFound: ``template_not_found``, with the nearest name as suggestion.
        """
        ...

    async def list_templates(self, which: TemplateFilter, *, offset: int, limit: int) -> Page[TemplateRecord]:
        """Return one page of templates by name."""
        ...

    async def delete_template(self, template_id: UUID) -> None:
        """Remove a template and its versions.

        Raises:
            NotFound: there is none.
            Conflict: it has executions (``template_in_use``).
        """
        ...

    async def list_versions(self, template_id: UUID, *, offset: int, limit: int) -> Page[VersionRecord]:
        """Return one page of a template's versions, newest first."""
        ...

    async def read_version(
        self,
        *,
        version_id: UUID | None = None,
        template_id: UUID | None = None,
        version_number: int | None = None,
        version_tag: str | None = None,
    ) -> VersionRecord:
        """Return one version, by its id or by template and number or tag (the newest of that tag).

        Raises:
            NotFound: ``version_not_found``, with the known versions as suggestion.
        """
        ...

    async def create_execution(self, new: NewExecution, *, taker: Taker | None = None) -> CreatedExecution:
        """Create an execution in status ``pending``, or find the one that has its id or idempotency key.

        With ``taker`` it is claimed in the same transaction, if it can be.

        Raises:
            NotFound: the version does not exist.
            Conflict: the idempotency key names an execution of another template
                (``idempotency_key_reused``), the parent has ended (``parent_ended``), the template's limit
                is reached and rejects further executions (``too_many_executions``), or the template has
                changed since ``template_updated_at`` (``template_changed``).
        """
        ...

    async def read_queue(self, execution_id: UUID) -> Queue | None:
        """Return what is before an execution that awaits a place; ``None`` when it awaits none."""
        ...

    async def read_execution(self, execution_id: UUID) -> ExecutionRecord:
        """Return the execution.

        Raises:
            NotFound: ``execution_not_found``.
        """
        ...

    def shows(self, execution: ExecutionRecord) -> bool:
        """Whether whoever reads through this repository may see an execution that is known already."""
        del execution
        return True

    async def read_executions(self, execution_ids: Sequence[UUID]) -> tuple[ExecutionRecord, ...]:
        """Return those of the executions that exist, in no order."""
        ...

    async def list_executions(
        self, which: ExecutionFilter, *, offset: int, limit: int
    ) -> Page[ExecutionRecord]:
        """Return one page of executions, newest first; ``execution_log`` is left empty."""
        ...

    async def read_steps(
        self,
        execution_id: UUID,
        which: StepFilter | None = None,
        *,
        offset: int = 0,
        limit: int | None = None,
    ) -> Page[StepRecord]:
        """Return an execution's step rows in the order in which they were first written."""
        ...

    async def count_tree(self, root_execution_id: UUID) -> TreeCount:
        """Return what an execution and its descendants have done; zeros where there is none."""
        ...

    async def claim(
        self,
        owner_id: str,
        *,
        lease_seconds: float,
        limit: int = 1,
        execution_id: UUID | None = None,
        offered_tools: Sequence[str] | None = None,
    ) -> tuple[Claim, ...]:
        """Take up to ``limit`` executions that nobody owns and that have something to do.

        These are: pending ones; running ones whose lease ran out; paused ones whose ``wake_at`` has come
        or that have a control request. Those of higher priority come first, then the older ones. One that
        awaits a place among its template's executions is taken only to be cancelled or paused; free places
        are given away first. With ``execution_id`` only that one is tried,
        with ``offered_tools`` only those that need no other tools.
        """
        ...

    async def report_worker(self, report: WorkerReport, *, lifetime_seconds: float) -> frozenset[str]:
        """Note that a worker lives; return the tools that free executions need and it does not offer.

        Args:
            report: what it says of itself.
            lifetime_seconds: how long it counts as living without another word.
        """
        ...

    async def remove_worker(self, owner_id: str) -> None:
        """Forget a worker that stops."""
        ...

    async def list_workers(self) -> tuple[WorkerRecord, ...]:
        """Return the living workers, oldest first."""
        ...

    async def read_prospect(self, execution_id: UUID) -> Prospect:
        """Return who could advance the execution."""
        ...

    async def record(self, entries: Sequence[JournalEntry]) -> tuple[JournalAnswer, ...]:
        """Write journal entries of many executions in one round trip; the answers are in their order."""
        ...

    async def renew(
        self, held: Sequence[tuple[UUID, int]], *, lease_seconds: float
    ) -> tuple[JournalAnswer, ...]:
        """Extend the leases of ``(execution id, fencing token)`` pairs; the answers are in their order."""
        ...

    async def release(self, held: Sequence[tuple[UUID, int]]) -> None:
        """Give leases back, so that another owner takes over at once; stale ones are ignored."""
        ...

    async def request_control(self, execution_id: UUID, request: ControlRequest) -> ExecutionRecord:
        """Put a control request into the row (pause, resume and cancel also into the descendants').

        A ``retry`` reopens a failed or cancelled execution (and its ended ancestors do not change).

        Raises:
            NotFound: ``execution_not_found``.
            Conflict: the execution's status does not allow the action (``wrong_status``), or a retry would
                be one execution too many (``too_many_executions``).
        """
        ...

    async def save_schedule(self, new: NewSchedule) -> ScheduleRecord:
        """Write a schedule, or change the one that has its name and belongs to its caller.

        Raises:
            NotFound: ``template_not_found``.
        """
        ...

    async def list_schedules(self, which: ScheduleFilter, *, offset: int, limit: int) -> Page[ScheduleRecord]:
        """Return one page of schedules by name."""
        ...

    async def delete_schedule(self, schedule_id: UUID) -> None:
        """Remove a schedule; the executions that it started stay.

        Raises:
            NotFound: ``schedule_not_found``.
        """
        ...

    async def read_due_schedules(self, *, limit: int) -> DueSchedules:
        """Return the schedules whose time has come, those that wait longest first."""
        ...

    async def fire_schedule(self, firing: Firing) -> Fired | None:
        """Act on a schedule's due time; ``None``: another process was first, or the schedule changed.

        Raises:
            Conflict: the template's limit is reached and rejects further executions
                (``too_many_executions``); nothing was written.
        """
        ...

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Announcement]]:
        """Yield what is announced of executions: a status, a control request, an ended child.

        A hint only: it may miss some, and a tenant that cannot listen yields nothing.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...
