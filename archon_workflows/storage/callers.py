"""The repository as one caller sees it: what belongs to others is answered as what does not exist.

The one room that knows whose a thing is. The verbs that stand on this view need no checks of their own, and
what they store carries the caller's name whatever they were told.

- An execution belongs to its ``caller``; a child to its parent's.
- A schedule belongs to its ``caller``, and so do the executions that it starts.
- A template belongs to its ``created_by``. A public one can be read and run by everyone; a private one by its
  creator alone. Only the creator can save, archive or delete it.

Names of templates are one another's business all the same: nobody can save one that is taken.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import NoReturn
from uuid import UUID

from archon_workflows.errors import Conflict, NotFound, did_you_mean
from archon_workflows.model.outcomes import JsonValue
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
from archon_workflows.storage.repository import Repository

NAMES_READ = 200
"""Among how many templates the one that may have been meant is looked for."""


class CallersRepository(Repository):
    """A view for the verbs; what only owners of executions do is not in it.

    Args:
        repository: everybody's.
        caller: whom authentication knows.
    """

    def __init__(self, repository: Repository, caller: str) -> None:
        self._repository = repository
        self._caller = caller

    async def save_template(self, save: TemplateSave) -> TemplateRecord:
        """See ``Repository``.

        Raises:
            Conflict: ``not_the_creator`` besides.
        """
        if save.template_id is not None:
            await self._require_creator(save.template_id)
        return await self._repository.save_template(
            replace(save, created_by=self._caller, document=self._signed(save.document))
        )

    async def read_template(
        self, *, name: str | None = None, template_id: UUID | None = None
    ) -> TemplateRecord:
        """See ``Repository``; the nearest name is one that the caller can see."""
        try:
            template = await self._repository.read_template(name=name, template_id=template_id)
        except NotFound:
            template = None
        if template is not None and (template.is_public or template.created_by == self._caller):
            return template
        raise await self._no_template(name, template_id)

    async def list_templates(self, which: TemplateFilter, *, offset: int, limit: int) -> Page[TemplateRecord]:
        """See ``Repository``."""
        visible = replace(which, visible_to=self._caller)
        return await self._repository.list_templates(visible, offset=offset, limit=limit)

    async def delete_template(self, template_id: UUID) -> None:
        """See ``Repository``.

        Raises:
            Conflict: ``not_the_creator`` besides.
        """
        await self._require_creator(template_id)
        await self._repository.delete_template(template_id)

    async def list_versions(self, template_id: UUID, *, offset: int, limit: int) -> Page[VersionRecord]:
        """See ``Repository``."""
        if not await self._sees_template(template_id):
            return Page((), 0)
        return await self._repository.list_versions(template_id, offset=offset, limit=limit)

    async def read_version(
        self,
        *,
        version_id: UUID | None = None,
        template_id: UUID | None = None,
        version_number: int | None = None,
        version_tag: str | None = None,
    ) -> VersionRecord:
        """See ``Repository``."""
        if template_id is not None and not await self._sees_template(template_id):
            raise _no_version(version_tag or version_number or version_id)
        version = await self._repository.read_version(
            version_id=version_id,
            template_id=template_id,
            version_number=version_number,
            version_tag=version_tag,
        )
        if template_id is None and not await self._sees_template(version.workflow_template_id):
            raise _no_version(version_id)
        return version

    async def create_execution(self, new: NewExecution, *, taker: Taker | None = None) -> CreatedExecution:
        """See ``Repository``; an idempotency key is one of the caller's own."""
        mine = replace(new, caller=self._caller, triggered_by=self._caller)
        try:
            return await self._repository.create_execution(mine, taker=taker)
        except Conflict as error:
            if error.code != "too_many_executions":
                raise
            # The places may be other callers', whose executions the database names.
            raise Conflict(
                "The template's executions, yours and those of others, have all the places that its limit "
                "allows.",
                code=error.code,
                suggestion="Try again when one of them has ended.",
            ) from None

    async def read_queue(self, execution_id: UUID) -> Queue | None:
        """See ``Repository``; whose places those of others are stays unsaid."""
        if not await self.read_executions([execution_id]):
            return None
        queue = await self._repository.read_queue(execution_id)
        if queue is None:
            return None
        mine = {one.id for one in await self.read_executions(queue.taken_by)}
        return replace(queue, taken_by=tuple(one for one in queue.taken_by if one in mine))

    async def read_execution(self, execution_id: UUID) -> ExecutionRecord:
        """See ``Repository``."""
        try:
            execution = await self._repository.read_execution(execution_id)
        except NotFound:
            execution = None
        if execution is not None and self.shows(execution):
            return execution
        raise NotFound(
            f"There is no execution with the id {execution_id}.",
            code="execution_not_found",
            suggestion="List the executions to find the one that is meant.",
        )

    def shows(self, execution: ExecutionRecord) -> bool:
        """See ``Repository``."""
        return execution.caller == self._caller

    async def read_executions(self, execution_ids: Sequence[UUID]) -> tuple[ExecutionRecord, ...]:
        """See ``Repository``."""
        found = await self._repository.read_executions(execution_ids)
        return tuple(filter(self.shows, found))

    async def list_executions(
        self, which: ExecutionFilter, *, offset: int, limit: int
    ) -> Page[ExecutionRecord]:
        """See ``Repository``."""
        mine = replace(which, caller=self._caller)
        return await self._repository.list_executions(mine, offset=offset, limit=limit)

    async def read_steps(
        self,
        execution_id: UUID,
        which: StepFilter | None = None,
        *,
        offset: int = 0,
        limit: int | None = None,
    ) -> Page[StepRecord]:
        """See ``Repository``."""
        if not await self.read_executions([execution_id]):
            return Page((), 0)
        return await self._repository.read_steps(execution_id, which, offset=offset, limit=limit)

    async def request_control(self, execution_id: UUID, request: ControlRequest) -> ExecutionRecord:
        """See ``Repository``."""
        await self.read_execution(execution_id)
        mine = replace(request, requested_by=self._caller)
        return await self._repository.request_control(execution_id, mine)

    async def count_tree(self, root_execution_id: UUID) -> TreeCount:
        """Refuse."""
        self._refuse(root_execution_id)

    async def claim(
        self,
        owner_id: str,
        *,
        lease_seconds: float,
        limit: int = 1,
        execution_id: UUID | None = None,
        offered_tools: Sequence[str] | None = None,
    ) -> tuple[Claim, ...]:
        """Refuse."""
        del lease_seconds, limit, execution_id, offered_tools
        self._refuse(owner_id)

    async def report_worker(self, report: WorkerReport, *, lifetime_seconds: float) -> frozenset[str]:
        """Refuse."""
        del lifetime_seconds
        self._refuse(report)

    async def remove_worker(self, owner_id: str) -> None:
        """Refuse."""
        self._refuse(owner_id)

    async def list_workers(self) -> tuple[WorkerRecord, ...]:
        """See ``Repository``."""
        return await self._repository.list_workers()

    async def read_prospect(self, execution_id: UUID) -> Prospect:
        """See ``Repository``; of one's own executions only."""
        await self.read_execution(execution_id)
        return await self._repository.read_prospect(execution_id)

    async def record(self, entries: Sequence[JournalEntry]) -> tuple[JournalAnswer, ...]:
        """Refuse."""
        self._refuse(entries)

    async def renew(
        self, held: Sequence[tuple[UUID, int]], *, lease_seconds: float
    ) -> tuple[JournalAnswer, ...]:
        """Refuse."""
        del lease_seconds
        self._refuse(held)

    async def release(self, held: Sequence[tuple[UUID, int]]) -> None:
        """Refuse."""
        self._refuse(held)

    async def save_schedule(self, new: NewSchedule) -> ScheduleRecord:
        """See ``Repository``; of templates that the caller can see."""
        await self.read_template(template_id=new.workflow_template_id)
        return await self._repository.save_schedule(
            replace(new, caller=self._caller, created_by=self._caller)
        )

    async def list_schedules(self, which: ScheduleFilter, *, offset: int, limit: int) -> Page[ScheduleRecord]:
        """See ``Repository``."""
        mine = replace(which, caller=self._caller)
        return await self._repository.list_schedules(mine, offset=offset, limit=limit)

    async def delete_schedule(self, schedule_id: UUID) -> None:
        """See ``Repository``."""
        which = ScheduleFilter(schedule_id=schedule_id)
        if not (await self.list_schedules(which, offset=0, limit=1)).records:
            raise NotFound(f"There is no schedule with the id {schedule_id}.", code="schedule_not_found")
        await self._repository.delete_schedule(schedule_id)

    async def read_due_schedules(self, *, limit: int) -> DueSchedules:
        """See ``Repository``; of none but the clock."""
        del limit
        return replace(await self._repository.read_due_schedules(limit=0), due=(), next_due_at=None)

    async def fire_schedule(self, firing: Firing) -> Fired | None:
        """Refuse."""
        self._refuse(firing)

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Announcement]]:
        """Refuse."""
        self._refuse(None)

    async def aclose(self) -> None:
        """Refuse: the view has nothing of its own to close."""
        self._refuse(None)

    def _signed(self, document: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        return {**document, "created_by": self._caller} if "created_by" in document else document

    def _refuse(self, asked: object) -> NoReturn:
        raise PermissionError(
            f"only owners of executions do that, not the caller {self._caller!r}: {asked!r}"
        )

    async def _sees_template(self, template_id: UUID) -> bool:
        try:
            await self.read_template(template_id=template_id)
        except NotFound:
            return False
        return True

    async def _require_creator(self, template_id: UUID) -> None:
        template = await self.read_template(template_id=template_id)
        if template.created_by != self._caller:
            raise Conflict(
                f"The template {template.name!r} was created by {template.created_by or 'nobody known'}, "
                f"not by {self._caller!r}.",
                code="not_the_creator",
                suggestion="Clone it under another name, and change the copy.",
            )

    async def _no_template(self, name: str | None, template_id: UUID | None) -> NotFound:
        if name is None:
            return NotFound(f"There is no template with the id {template_id}.", code="template_not_found")
        page = await self.list_templates(TemplateFilter(), offset=0, limit=NAMES_READ)
        return NotFound(
            f"There is no template named {name!r}.",
            code="template_not_found",
            suggestion=did_you_mean(name, [one.name for one in page.records], noun="template"),
        )


def _no_version(which: object) -> NotFound:
    return NotFound(
        f"There is no version {which}.",
        code="version_not_found",
        suggestion="List the template's versions.",
    )


def seen_by(caller: str | None, repository: Repository) -> Repository:
    """Return the caller's view; without a caller, where nobody has to say who they are, everything."""
    return repository if caller is None else CallersRepository(repository, caller)
