"""Records to write in tests, with what a test does not care about filled in."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.records import (
    Claim,
    ControlAction,
    ControlRequest,
    ExecutionChange,
    ExecutionStatus,
    JournalAnswer,
    JournalEntry,
    LogEntry,
    NewExecution,
    StepRecord,
    TemplateRecord,
    TemplateSave,
)
from archon_workflows.storage.repository import Repository
from archon_workflows.storage.sessions import Session

LEASE = 60.0
EXPIRED = -1.0
"""A lease of this many seconds has run out when it is given."""

ENTRY_PARTS = ("steps", "log", "log_dropped", "acknowledged", "cancelled_children", "release", "read_back")

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Sql:
    """What an onlooker reads from the tables, and does to them by hand."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def value(self, query: str, *arguments: Any) -> Any:
        return await self._session.fetchval(query, *arguments)

    async def run(self, query: str) -> None:
        await self._session.execute(query)


def document(name: str = "deploy", **changes: JsonValue) -> dict[str, JsonValue]:
    steps = [{"name": "only", "type": "action", "tool_name": "server/tool"}]
    return {"name": name, "title": name.title(), "steps": steps, **changes}


def save(template_id: UUID | None = None, *, name: str = "deploy", **changes: Any) -> TemplateSave:
    template = TemplateSave(
        version_id=uuid4(),
        template_id=template_id,
        document=document(name),
        version_tag="1.0.0",
        change_type="create" if template_id is None else "update",
    )
    return replace(template, **changes)


async def saved(repository: Repository, name: str = "deploy", **changes: JsonValue) -> TemplateRecord:
    return await repository.save_template(save(name=name, document=document(name, **changes)))


def new(template: TemplateRecord, **changes: Any) -> NewExecution:
    execution = NewExecution(
        id=uuid4(),
        workflow_template_id=template.id,
        workflow_version_id=template.version_id,
        total_steps=10,
        timeout_seconds=3600,
    )
    return replace(execution, **changes)


async def created(repository: Repository, name: str = "deploy", **changes: Any) -> UUID:
    template = await saved(repository, name)
    return (await repository.create_execution(new(template, **changes))).id


async def claimed(
    repository: Repository, execution_id: UUID, *, owner: str = "me", lease: float = LEASE
) -> Claim:
    claims = await repository.claim(owner, lease_seconds=lease, execution_id=execution_id)
    assert len(claims) == 1, f"{execution_id} cannot be claimed"
    return claims[0]


class Owner:
    """Someone who holds a claim and writes entries in order."""

    def __init__(self, repository: Repository, claim: Claim) -> None:
        self.repository = repository
        self.claim = claim
        self.execution_id = claim.execution.id
        self.sequence = claim.execution.journal_sequence

    @classmethod
    async def of_new(cls, repository: Repository, *, lease: float = LEASE, **changes: Any) -> "Owner":
        execution_id = await created(repository, f"w_{uuid4().hex[:12]}", **changes)
        return cls(repository, await claimed(repository, execution_id, lease=lease))

    @property
    def held(self) -> tuple[UUID, int]:
        return self.execution_id, self.claim.fencing_token

    def entry(self, status: ExecutionStatus | None = None, **parts: Any) -> JournalEntry:
        """Make the next entry; keywords are an entry's fields or else those of its change."""
        self.sequence += 1
        own = {name: parts.pop(name) for name in ENTRY_PARTS if name in parts}
        return JournalEntry(
            execution_id=self.execution_id,
            fencing_token=self.claim.fencing_token,
            sequence=self.sequence,
            change=ExecutionChange(status=status, **parts),
            **own,
        )

    async def write(self, status: ExecutionStatus | None = None, **parts: Any) -> JournalAnswer:
        return (await self.repository.record([self.entry(status, **parts)]))[0]

    async def row(self) -> Any:
        return await self.repository.read_execution(self.execution_id)


def step(path: str = "only", **changes: Any) -> StepRecord:
    record = StepRecord(
        step_path=path,
        step_index=0,
        step_name=path,
        step_type="action",
        step_config={"name": path},
        status="running",
        started_at=NOON,
    )
    return replace(record, **changes)


def line(message: str, **changes: Any) -> LogEntry:
    return replace(LogEntry(NOON, "info", message), **changes)


def request(action: ControlAction, **changes: Any) -> ControlRequest:
    return replace(ControlRequest(id=uuid4(), action=action, requested_by="tester"), **changes)


def messages(log: Sequence[Mapping[str, JsonValue]]) -> list[JsonValue]:
    return [entry["message"] for entry in log]
