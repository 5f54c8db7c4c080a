"""The direct tenant: the repository over asyncpg, for any Postgres that a URL can reach.

It works on Supabase's direct and session-pooled connections; its transaction pooler is refused.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Self
from uuid import UUID

from archon_workflows.errors import NotFound, did_you_mean
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
from archon_workflows.storage import rows, statements
from archon_workflows.storage.repository import Repository
from archon_workflows.storage.rows import RecordT, Row, RowReader
from archon_workflows.storage.sessions import (
    HeldSessions,
    Session,
    SessionLimits,
    open_session,
    open_sessions,
    repeated,
    translated,
)
from archon_workflows.storage.watching import announcements


class DirectRepository(Repository):
    """The repository over several sessions; open it with ``connect``.

    Args:
        sessions: that ``open_sessions`` prepared.
        url: where ``watch`` opens its own session.
    """

    def __init__(self, sessions: HeldSessions, url: str, limits: SessionLimits) -> None:
        self.url = url
        self._sessions = sessions
        self._limits = limits

    @classmethod
    async def connect(cls, url: str, *, pool_size: int = 8, limits: SessionLimits | None = None) -> Self:
        """Open the sessions; the first of them is connected on return.

        Raises:
            StorageError: the database cannot be reached (``database_unavailable``), refuses the login, or
                the URL is of a transaction pooler.
        """
        limits = limits or SessionLimits()
        return cls(await open_sessions(url, limits, size=pool_size), url, limits)

    async def save_template(self, save: TemplateSave) -> TemplateRecord:
        """See ``Repository``."""
        saved = await self._value(
            statements.SAVE_TEMPLATE,
            save.version_id,
            save.template_id,
            save.document,
            save.version_tag,
            save.change_type,
            save.change_summary,
            save.breaking_changes,
            save.created_by,
            save.expected_version_number,
            rows.fingerprints_json(save),
        )
        return rows.TEMPLATES.validate_python(saved)

    async def read_template(
        self, *, name: str | None = None, template_id: UUID | None = None
    ) -> TemplateRecord:
        """See ``Repository``."""
        found = await self._value(statements.READ_TEMPLATE, template_id, name)
        if found is not None:
            return rows.TEMPLATES.validate_python(found)
        if name is None:
            raise NotFound(f"There is no template with the id {template_id}.", code="template_not_found")
        known = [row["name"] for row in await self._rows(statements.TEMPLATE_NAMES)]
        raise NotFound(
            f"There is no template named {name!r}.",
            code="template_not_found",
            suggestion=did_you_mean(name, known, noun="template"),
        )

    async def list_templates(self, which: TemplateFilter, *, offset: int, limit: int) -> Page[TemplateRecord]:
        """See ``Repository``."""
        found = await self._rows(
            statements.LIST_TEMPLATES,
            (which.text or "").lower().split(),
            list(which.statuses) or None,
            which.category,
            list(which.tags) or None,
            which.visible_to,
            offset,
            limit,
        )
        records = [row["record"] for row in found if row["record"] is not None]
        return Page(rows.records_of(rows.TEMPLATES, records), found[0]["total"])

    async def delete_template(self, template_id: UUID) -> None:
        """See ``Repository``."""
        await self._value(statements.DELETE_TEMPLATE, template_id)

    async def list_versions(self, template_id: UUID, *, offset: int, limit: int) -> Page[VersionRecord]:
        """See ``Repository``."""
        return _page(rows.VERSIONS, await self._rows(statements.LIST_VERSIONS, template_id, offset, limit))

    async def read_version(
        self,
        *,
        version_id: UUID | None = None,
        template_id: UUID | None = None,
        version_number: int | None = None,
        version_tag: str | None = None,
    ) -> VersionRecord:
        """See ``Repository``."""
        found = await self._rows(
            statements.READ_VERSION, version_id, template_id, version_number, version_tag
        )
        if found:
            return rows.VERSIONS.validate_python(dict(found[0]))
        known = await self._rows(statements.KNOWN_VERSIONS, template_id)
        shown = ", ".join(f"{row['version_number']} ({row['version_tag']})" for row in known)
        raise NotFound(
            f"There is no version {version_tag or version_number or version_id}.",
            code="version_not_found",
            suggestion=f"Known versions: {shown}." if shown else "List the template's versions.",
        )

    async def create_execution(self, new: NewExecution, *, taker: Taker | None = None) -> CreatedExecution:
        """See ``Repository``."""
        created = await self._value(
            statements.CREATE_EXECUTION, rows.execution_json(new), rows.taker_json(taker)
        )
        return rows.CREATED.validate_python(created)

    async def read_queue(self, execution_id: UUID) -> Queue | None:
        """See ``Repository``."""
        return rows.QUEUES.validate_python(await self._value(statements.READ_QUEUE, execution_id))

    async def read_execution(self, execution_id: UUID) -> ExecutionRecord:
        """See ``Repository``."""
        found = await self._value(statements.READ_EXECUTION, execution_id)
        if found is None:
            raise NotFound(
                f"There is no execution with the id {execution_id}.",
                code="execution_not_found",
                suggestion="List the executions to find the one that is meant.",
            )
        return rows.EXECUTIONS.validate_python(found)

    async def read_executions(self, execution_ids: Sequence[UUID]) -> tuple[ExecutionRecord, ...]:
        """See ``Repository``."""
        found = await self._rows(statements.READ_EXECUTIONS, list(execution_ids))
        return rows.records_of(rows.EXECUTIONS, [row["record"] for row in found])

    async def list_executions(
        self, which: ExecutionFilter, *, offset: int, limit: int
    ) -> Page[ExecutionRecord]:
        """See ``Repository``."""
        found = await self._rows(
            statements.LIST_EXECUTIONS,
            which.workflow_name,
            list(which.statuses) or None,
            which.triggered_by,
            which.parent_execution_id,
            which.created_after,
            which.created_before,
            which.caller,
            offset,
            limit,
        )
        return _page(rows.EXECUTIONS, found)

    async def read_steps(
        self,
        execution_id: UUID,
        which: StepFilter | None = None,
        *,
        offset: int = 0,
        limit: int | None = None,
    ) -> Page[StepRecord]:
        """See ``Repository``."""
        which = which or StepFilter()
        found = await self._rows(
            statements.READ_STEPS,
            execution_id,
            list(which.statuses) or None,
            which.path_prefix,
            offset,
            limit,
        )
        return _page(rows.STEPS, found)

    async def count_tree(self, root_execution_id: UUID) -> TreeCount:
        """See ``Repository``."""
        return rows.TREE_COUNTS.validate_python(await self._value(statements.COUNT_TREE, root_execution_id))

    async def claim(
        self,
        owner_id: str,
        *,
        lease_seconds: float,
        limit: int = 1,
        execution_id: UUID | None = None,
        offered_tools: Sequence[str] | None = None,
    ) -> tuple[Claim, ...]:
        """See ``Repository``."""
        claims = await self._value(
            statements.CLAIM, owner_id, lease_seconds, limit, execution_id, offered_tools
        )
        return rows.CLAIMS.validate_python(claims)

    async def report_worker(self, report: WorkerReport, *, lifetime_seconds: float) -> frozenset[str]:
        """See ``Repository``."""
        return frozenset(
            await self._value(statements.REPORT_WORKER, rows.worker_json(report), lifetime_seconds)
        )

    async def remove_worker(self, owner_id: str) -> None:
        """See ``Repository``."""
        await self._value(statements.REMOVE_WORKER, owner_id)

    async def list_workers(self) -> tuple[WorkerRecord, ...]:
        """See ``Repository``."""
        found = await self._rows(statements.LIST_WORKERS)
        return rows.records_of(rows.WORKERS, [dict(row) for row in found])

    async def read_prospect(self, execution_id: UUID) -> Prospect:
        """See ``Repository``."""
        return rows.PROSPECT.validate_python(await self._value(statements.PROSPECT, execution_id))

    async def record(self, entries: Sequence[JournalEntry]) -> tuple[JournalAnswer, ...]:
        """See ``Repository``."""
        if not entries:
            return ()
        letter = await self._value(statements.RECORD, [rows.entry_json(entry) for entry in entries])
        return rows.entry_answers(entries, letter)

    async def renew(
        self, held: Sequence[tuple[UUID, int]], *, lease_seconds: float
    ) -> tuple[JournalAnswer, ...]:
        """See ``Repository``."""
        if not held:
            return ()
        return rows.lease_answers(
            held, await self._value(statements.RENEW, rows.held_json(held), lease_seconds)
        )

    async def release(self, held: Sequence[tuple[UUID, int]]) -> None:
        """See ``Repository``."""
        await self._value(statements.RELEASE, rows.held_json(held))

    async def request_control(self, execution_id: UUID, request: ControlRequest) -> ExecutionRecord:
        """See ``Repository``."""
        changed = await self._value(statements.REQUEST_CONTROL, execution_id, rows.request_json(request))
        return rows.EXECUTIONS.validate_python(changed)

    async def save_schedule(self, new: NewSchedule) -> ScheduleRecord:
        """See ``Repository``."""
        return rows.SCHEDULES.validate_python(
            await self._value(statements.SAVE_SCHEDULE, rows.schedule_json(new))
        )

    async def list_schedules(self, which: ScheduleFilter, *, offset: int, limit: int) -> Page[ScheduleRecord]:
        """See ``Repository``."""
        found = await self._rows(
            statements.LIST_SCHEDULES,
            which.name,
            which.workflow_name,
            which.caller,
            which.schedule_id,
            offset,
            limit,
        )
        return _page(rows.SCHEDULES, found)

    async def delete_schedule(self, schedule_id: UUID) -> None:
        """See ``Repository``."""
        await self._value(statements.DELETE_SCHEDULE, schedule_id)

    async def read_due_schedules(self, *, limit: int) -> DueSchedules:
        """See ``Repository``."""
        return rows.DUE_SCHEDULES.validate_python(await self._value(statements.DUE_SCHEDULES, limit))

    async def fire_schedule(self, firing: Firing) -> Fired | None:
        """See ``Repository``."""
        return rows.FIRED.validate_python(
            await self._value(statements.FIRE_SCHEDULE, rows.firing_json(firing))
        )

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Announcement]]:
        """See ``Repository``; while its session is lost it hears nothing, and comes back by itself."""
        return announcements(self._open_session)

    async def aclose(self) -> None:
        """See ``Repository``; calls under way are finished first, within the time limit of a statement."""
        try:
            async with translated():
                await self._sessions.close()
        finally:
            self._sessions.terminate()

    async def _open_session(self) -> Session:
        return await open_session(self.url, self._limits)

    async def _value(self, statement: str, *arguments: Any) -> Any:
        """Return the first column of the first row."""
        return await repeated(
            lambda: self._sessions.call(lambda session: session.fetchval(statement, *arguments))
        )

    async def _rows(self, statement: str, *arguments: Any) -> Sequence[Row]:
        return await repeated(
            lambda: self._sessions.call(lambda session: session.fetch(statement, *arguments))
        )


def _page(reader: RowReader[RecordT], found: Sequence[Row]) -> Page[RecordT]:
    """Read a page whose rows carry ``total``; an empty page is one row of nulls."""
    records = [dict(row) for row in found if row["created_at"] is not None]
    return Page(rows.records_of(reader, records), found[0]["total"])
