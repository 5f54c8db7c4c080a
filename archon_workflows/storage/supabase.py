"""The Supabase tenant: the repository over a project's API, for whoever has its URL and secret key only.

Every write is one call of a function of the migration, which PostgREST runs in a transaction of its own.
Reads are filters and pages of the tables. Nothing announces changes here: ``watch`` stays silent.
"""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import fields
from datetime import datetime
from functools import partial
from typing import Any, Final, Self
from uuid import UUID

import anyio
from postgrest import AsyncSelectRequestBuilder as Query

from archon_workflows.errors import NotFound, StorageError, did_you_mean
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
from archon_workflows.storage import rows
from archon_workflows.storage.migrations import SchemaState, state_of_version
from archon_workflows.storage.postgrest_api import PostgrestApi, RequestLimits
from archon_workflows.storage.repository import Repository
from archon_workflows.storage.rows import Row
from archon_workflows.storage.shared_reads import SharedReads
from archon_workflows.storage.supabase_project import read_project

_JOINED: Final = frozenset({"workflow_name", "version_number", "version_tag"})
_EXECUTION_COLUMNS: Final = ",".join(
    [
        *(
            column.name
            for column in fields(ExecutionRecord)
            if column.name not in _JOINED | {"execution_log"}
        ),
        "workflow:archon_workflow_templates!template_with_executions_stays!inner(name)",
        "version:archon_workflow_template_versions!runs_a_version_of_its_template(version_number,version_tag)",
    ]
)
_WITH_LOG: Final = f"{_EXECUTION_COLUMNS},execution_log"
_TEMPLATE_COLUMNS: Final = (
    "id,name,title,description,version,status,category,tags,is_public,created_by,version_number,created_at,"
    "updated_at,newest:archon_workflow_template_versions!version_of_a_template(id,template_snapshot)"
)
_VERSION_COLUMNS: Final = ",".join(column.name for column in fields(VersionRecord))
_STEP_COLUMNS: Final = ",".join(column.name for column in fields(StepRecord))

_WORKER_COLUMNS: Final = ",".join(column.name for column in fields(WorkerRecord))

_SCHEDULE_COLUMNS: Final = "*,workflow:archon_workflow_templates!inner(name)"

_WORKERS_READ: Final = 1_000
_IDS_IN_ONE_URL: Final = 100
"""A URL of 4 kB: gateways begin to refuse them at 8."""

_SHOWN_VERSIONS: Final = 12
_NAMES_TO_CHOOSE_FROM: Final = 10_000


class SupabaseRepository(Repository):
    """The repository over one project's API; open it with ``connect``."""

    def __init__(self, api: PostgrestApi) -> None:
        self._api = api
        self._executions = SharedReads(self._read_executions)

    @classmethod
    async def connect(cls, url: str, key: str, *, limits: RequestLimits | None = None) -> Self:
        """Prepare the client of the project at ``url``; nothing is sent yet, see ``schema_state``.

        Raises:
            StorageError: ``supabase_url_invalid`` or ``supabase_key_invalid``, as far as it can be seen.
        """
        return cls(await PostgrestApi.connect(read_project(url, key), limits))

    async def schema_state(self) -> SchemaState:
        """Tell how the project's schema relates to this program.

        Raises:
            StorageError: the project cannot be reached or refuses the key.
        """
        try:
            return state_of_version(await self._api.call("schema_version"))
        except StorageError as error:
            if error.code == "migration_missing":
                return "missing"
            raise

    async def save_template(self, save: TemplateSave) -> TemplateRecord:
        """See ``Repository``."""
        saved = await self._api.call(
            "save_template",
            version_id=save.version_id,
            template_id=save.template_id,
            document=save.document,
            version_tag=save.version_tag,
            change_type=save.change_type,
            change_summary=save.change_summary,
            breaking_changes=save.breaking_changes,
            created_by=save.created_by,
            expected_version_number=save.expected_version_number,
            tool_fingerprints=rows.fingerprints_json(save),
        )
        return rows.TEMPLATES.validate_python(saved)

    async def read_template(
        self, *, name: str | None = None, template_id: UUID | None = None
    ) -> TemplateRecord:
        """See ``Repository``."""

        def narrow(query: Query) -> Query:
            query = _if_given(query, "name", name)
            return _newest_version(_if_given(query, "id", template_id))

        found = await self._api.rows("templates", _TEMPLATE_COLUMNS, narrow, limit=1)
        if found:
            return rows.TEMPLATES.validate_python(_template_row(found[0]))
        if name is None:
            raise NotFound(f"There is no template with the id {template_id}.", code="template_not_found")
        known = await self._api.page("templates", "name", _by_name, limit=_NAMES_TO_CHOOSE_FROM)
        raise NotFound(
            f"There is no template named {name!r}.",
            code="template_not_found",
            suggestion=did_you_mean(name, [row["name"] for row in known.found], noun="template"),
        )

    async def list_templates(self, which: TemplateFilter, *, offset: int, limit: int) -> Page[TemplateRecord]:
        """See ``Repository``."""

        def narrow(query: Query) -> Query:
            query = _if_given(query, "category", which.category)
            if which.statuses:
                query = query.in_("status", which.statuses)
            if which.visible_to is not None:
                query = query.or_(f"is_public.is.true,created_by.eq.{_quoted(which.visible_to)}")
            if which.tags:
                query = query.filter("tags", "cs", json.dumps(list(which.tags)))
            for word in (which.text or "").lower().split():
                query = query.filter("search_text", "match", f"***={word}")  # literally, wherever it stands
            return _by_name(_newest_version(query))

        page = await self._api.page("templates", _TEMPLATE_COLUMNS, narrow, offset=offset, limit=limit)
        records = [_template_row(row) for row in page.found]
        return Page(rows.records_of(rows.TEMPLATES, records), page.total)

    async def delete_template(self, template_id: UUID) -> None:
        """See ``Repository``; it is sent once, since the second one would find nothing to delete."""
        await self._api.call("delete_template", is_repeatable=False, template_id=template_id)

    async def list_versions(self, template_id: UUID, *, offset: int, limit: int) -> Page[VersionRecord]:
        """See ``Repository``."""

        def narrow(query: Query) -> Query:
            return _newest_first(query.eq("workflow_template_id", template_id))

        page = await self._api.page("template_versions", _VERSION_COLUMNS, narrow, offset=offset, limit=limit)
        return Page(rows.records_of(rows.VERSIONS, page.found), page.total)

    async def read_version(
        self,
        *,
        version_id: UUID | None = None,
        template_id: UUID | None = None,
        version_number: int | None = None,
        version_tag: str | None = None,
    ) -> VersionRecord:
        """See ``Repository``."""

        def narrow(query: Query) -> Query:
            query = _if_given(query, "id", version_id)
            query = _if_given(query, "workflow_template_id", template_id)
            query = _if_given(query, "version_number", version_number)
            return _newest_first(_if_given(query, "version_tag", version_tag))

        found = await self._api.rows("template_versions", _VERSION_COLUMNS, narrow, limit=1)
        if found:
            return rows.VERSIONS.validate_python(found[0])
        raise NotFound(
            f"There is no version {version_tag or version_number or version_id}.",
            code="version_not_found",
            suggestion=await self._known_versions(template_id),
        )

    async def create_execution(self, new: NewExecution, *, taker: Taker | None = None) -> CreatedExecution:
        """See ``Repository``."""
        created = await self._api.call(
            "create_execution", execution=rows.execution_json(new), taker=rows.taker_json(taker)
        )
        return rows.CREATED.validate_python(created)

    async def read_queue(self, execution_id: UUID) -> Queue | None:
        """See ``Repository``."""
        return rows.QUEUES.validate_python(await self._api.call("queue", execution_id=execution_id))

    async def read_execution(self, execution_id: UUID) -> ExecutionRecord:
        """See ``Repository``."""
        row = await self._executions.row(execution_id)
        if row is None:
            raise NotFound(
                f"There is no execution with the id {execution_id}.",
                code="execution_not_found",
                suggestion="List the executions to find the one that is meant.",
            )
        return rows.EXECUTIONS.validate_python(row)

    async def read_executions(self, execution_ids: Sequence[UUID]) -> tuple[ExecutionRecord, ...]:
        """See ``Repository``."""
        found = await self._read_executions(execution_ids)
        return rows.records_of(rows.EXECUTIONS, tuple(found.values()))

    async def list_executions(
        self, which: ExecutionFilter, *, offset: int, limit: int
    ) -> Page[ExecutionRecord]:
        """See ``Repository``."""

        def narrow(query: Query) -> Query:
            query = _if_given(query, "workflow.name", which.workflow_name)
            query = _if_given(query, "triggered_by", which.triggered_by)
            query = _if_given(query, "caller", which.caller)
            query = _if_given(query, "parent_execution_id", which.parent_execution_id)
            if which.statuses:
                query = query.in_("status", which.statuses)
            query = _if_given(query, "created_at", which.created_after, "gt")
            query = _if_given(query, "created_at", which.created_before, "lt")
            return query.order("created_at", desc=True).order("id", desc=True)

        page = await self._api.page("executions", _EXECUTION_COLUMNS, narrow, offset=offset, limit=limit)
        records = [{**_execution_row(row), "execution_log": ()} for row in page.found]
        return Page(rows.records_of(rows.EXECUTIONS, records), page.total)

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

        def narrow(query: Query) -> Query:
            query = query.eq("workflow_execution_id", execution_id)
            if which.statuses:
                query = query.in_("status", which.statuses)
            if which.path_prefix is not None:
                inside = rf"^{re.escape(which.path_prefix)}($|[.\[~#])"
                query = query.filter("step_path", "match", inside)
            return query.order("position")

        page = await self._api.page("step_executions", _STEP_COLUMNS, narrow, offset=offset, limit=limit)
        return Page(rows.records_of(rows.STEPS, page.found), page.total)

    async def count_tree(self, root_execution_id: UUID) -> TreeCount:
        """See ``Repository``."""
        counted = await self._api.call("count_tree", root_id=root_execution_id)
        return rows.TREE_COUNTS.validate_python(counted)

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
        claims = await self._api.call(
            "claim",
            owner_id=owner_id,
            lease_seconds=lease_seconds,
            max_count=limit,
            execution_id=execution_id,
            offered_tools=list(offered_tools) if offered_tools is not None else None,
        )
        return rows.CLAIMS.validate_python(claims)

    async def report_worker(self, report: WorkerReport, *, lifetime_seconds: float) -> frozenset[str]:
        """See ``Repository``."""
        return frozenset(
            await self._api.call(
                "report_worker", worker=rows.worker_json(report), lifetime_seconds=lifetime_seconds
            )
        )

    async def remove_worker(self, owner_id: str) -> None:
        """See ``Repository``."""
        await self._api.call("remove_worker", owner_id=owner_id)

    async def list_workers(self) -> tuple[WorkerRecord, ...]:
        """See ``Repository``."""
        found = await self._api.rows(
            "workers",
            _WORKER_COLUMNS,
            lambda query: query.filter("expires_at", "gt", "now").order("created_at"),
            limit=_WORKERS_READ,
        )
        return rows.records_of(rows.WORKERS, found)

    async def read_prospect(self, execution_id: UUID) -> Prospect:
        """See ``Repository``."""
        return rows.PROSPECT.validate_python(await self._api.call("prospect", execution_id=execution_id))

    async def record(self, entries: Sequence[JournalEntry]) -> tuple[JournalAnswer, ...]:
        """See ``Repository``."""
        if not entries:
            return ()
        letter = await self._api.call("record", entries=[rows.entry_json(entry) for entry in entries])
        return rows.entry_answers(entries, letter)

    async def renew(
        self, held: Sequence[tuple[UUID, int]], *, lease_seconds: float
    ) -> tuple[JournalAnswer, ...]:
        """See ``Repository``."""
        if not held:
            return ()
        letter = await self._api.call("renew", held=rows.held_json(held), lease_seconds=lease_seconds)
        return rows.lease_answers(held, letter)

    async def release(self, held: Sequence[tuple[UUID, int]]) -> None:
        """See ``Repository``."""
        await self._api.call("release", held=rows.held_json(held))

    async def request_control(self, execution_id: UUID, request: ControlRequest) -> ExecutionRecord:
        """See ``Repository``."""
        changed = await self._api.call(
            "request_control", execution_id=execution_id, request=rows.request_json(request)
        )
        return rows.EXECUTIONS.validate_python(changed)

    async def save_schedule(self, new: NewSchedule) -> ScheduleRecord:
        """See ``Repository``."""
        saved = await self._api.call("save_schedule", schedule=rows.schedule_json(new))
        return rows.SCHEDULES.validate_python(saved)

    async def list_schedules(self, which: ScheduleFilter, *, offset: int, limit: int) -> Page[ScheduleRecord]:
        """See ``Repository``."""

        def narrow(query: Query) -> Query:
            query = _if_given(query, "name", which.name)
            query = _if_given(query, "workflow.name", which.workflow_name)
            query = _if_given(query, "id", which.schedule_id)
            return _by_name(_if_given(query, "caller", which.caller)).order("id")

        page = await self._api.page("schedules", _SCHEDULE_COLUMNS, narrow, offset=offset, limit=limit)
        records = [{**row, "workflow_name": row["workflow"]["name"]} for row in page.found]
        return Page(rows.records_of(rows.SCHEDULES, records), page.total)

    async def delete_schedule(self, schedule_id: UUID) -> None:
        """See ``Repository``; it is sent once, since the second one would find nothing to delete."""
        await self._api.call("delete_schedule", is_repeatable=False, schedule_id=schedule_id)

    async def read_due_schedules(self, *, limit: int) -> DueSchedules:
        """See ``Repository``."""
        return rows.DUE_SCHEDULES.validate_python(await self._api.call("due_schedules", max_count=limit))

    async def fire_schedule(self, firing: Firing) -> Fired | None:
        """See ``Repository``."""
        return rows.FIRED.validate_python(
            await self._api.call("fire_schedule", firing=rows.firing_json(firing))
        )

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Announcement]]:
        """See ``Repository``; an API that is asked cannot announce anything."""
        return _silence()

    async def aclose(self) -> None:
        """See ``Repository``."""
        await self._api.aclose()

    async def _read_executions(self, execution_ids: Sequence[UUID]) -> dict[UUID, Row]:
        found: list[Row] = []
        for start in range(0, len(execution_ids), _IDS_IN_ONE_URL):
            some = [str(one) for one in execution_ids[start : start + _IDS_IN_ONE_URL]]
            found += await self._api.rows(
                "executions", _WITH_LOG, partial(_with_ids, ids=some), limit=_IDS_IN_ONE_URL
            )
        return {UUID(row["id"]): _execution_row(row) for row in found}

    async def _known_versions(self, template_id: UUID | None) -> str:
        if template_id is None:
            return "List the template's versions."
        known = await self._api.rows(
            "template_versions",
            "version_number,version_tag",
            lambda query: _newest_first(query.eq("workflow_template_id", template_id)),
            limit=_SHOWN_VERSIONS,
        )
        shown = ", ".join(f"{row['version_number']} ({row['version_tag']})" for row in known)
        return f"Known versions: {shown}." if shown else "List the template's versions."


@asynccontextmanager
async def _silence() -> AsyncGenerator[AsyncIterator[Announcement]]:
    sending, receiving = anyio.create_memory_object_stream[Announcement]()
    with sending, receiving:
        yield receiving


def _if_given(
    query: Query, column: str, value: str | int | UUID | datetime | None, operator: str = "eq"
) -> Query:
    if value is None:
        return query
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return query.filter(column, operator, text)


def _quoted(text: str) -> str:
    """Return a value as it stands inside PostgREST's ``or=(...)``."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _with_ids(query: Query, ids: Sequence[str]) -> Query:
    return query.in_("id", ids)


def _by_name(query: Query) -> Query:
    return query.order("name")


def _newest_first(query: Query) -> Query:
    return query.order("version_number", desc=True)


def _newest_version(query: Query) -> Query:
    return query.order("version_number", desc=True, foreign_table="newest").limit(1, foreign_table="newest")


def _template_row(row: Row) -> dict[str, Any]:
    [version] = row["newest"]
    return {**row, "document": version["template_snapshot"], "version_id": version["id"]}


def _execution_row(row: Row) -> dict[str, Any]:
    return {**row, "workflow_name": row["workflow"]["name"], **row["version"]}
