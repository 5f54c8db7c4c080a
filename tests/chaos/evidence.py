"""What a chaos run left behind: tables, their history, the ledger, and what the runner did and asked for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none

from archon_workflows.model.records import TERMINAL_STATUSES

_driver: Any = asyncpg

HISTORY_SQL = Path(__file__).with_name("history.sql")
TABLES = (
    "archon_workflow_templates",
    "archon_workflow_template_versions",
    "archon_workflow_executions",
    "archon_workflow_step_executions",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """An execution that was asked for and acknowledged.

    Attributes:
        bias: of the template's version that it was pinned to when it was acknowledged.
        idempotency_key: by which it was asked for, perhaps more than once.
    """

    execution_id: UUID
    workflow: str
    n: int
    bias: int
    version_id: UUID
    idempotency_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that the runner did, or that a tool server did by its seed; times by this machine's clock.

    Attributes:
        pid: the worker that it hit, if it was one.
    """

    kind: str
    at: float
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call as the ledger saw it; ``ended`` is ``None`` where the tool did not get to its end."""

    tool: str
    execution_id: UUID
    path: str
    query: str
    pid: int
    started: float
    ended: float | None
    misbehaviour: str | None

    @property
    def key(self) -> str:
        """The idempotency key."""
        return f"{self.execution_id}/{self.path}" + (f"?{self.query}" if self.query else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionWrite:
    """One write to an execution's row; ``old_`` is what was there before, ``None`` at its creation."""

    at: float
    writer: str
    execution_id: UUID
    status: str
    old_status: str | None
    owner_id: str | None
    old_owner_id: str | None
    fencing_token: int
    old_fencing_token: int | None
    lease_expires_at: float | None
    old_lease_expires_at: float | None
    journal_sequence: int
    old_journal_sequence: int | None
    progress_percentage: float
    log_length: int
    log_dropped_count: int
    log_only_grew: bool
    workflow_version_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWrite:
    """One write to a step execution's row."""

    at: float
    writer: str
    execution_id: UUID
    step_path: str
    status: str
    old_status: str | None
    attempt_number: int
    max_attempts: int
    run_number: int
    poll_number: int
    interruptions: int
    generation: int
    has_error: bool
    sub_workflow_execution_id: UUID | None

    @property
    def is_final(self) -> bool:
        """Whether the step has a result or was passed over."""
        return self.status in ("completed", "failed", "skipped")

    @property
    def is_polled_result(self) -> bool:
        """Whether a poll's answer was recorded, and another poll is to come."""
        return self.status == "retrying" and not self.has_error

    @property
    def query(self) -> str:
        """The part of the idempotency key after the step path."""
        asked = {"poll": self.poll_number, "generation": self.generation}
        return "&".join(f"{name}={number}" for name, number in asked.items() if number > 1)


Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The database's part; writes are in the order in which they were made.

    Attributes:
        text: all rows of the four tables, to look for secrets in.
    """

    executions: Mapping[UUID, Row]
    steps: Sequence[Row]
    execution_writes: Mapping[UUID, Sequence[ExecutionWrite]]
    step_writes: Mapping[tuple[UUID, str], Sequence[StepWrite]]
    text: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(Tables):
    """Everything that the checker looks at.

    Attributes:
        cancelled: executions whose cancellation was asked for and not refused.
        said: what the workers logged.
    """

    lease_seconds: float
    submissions: Sequence[Submission]
    cancelled: Sequence[UUID]
    faults: Sequence[Fault]
    calls: Sequence[ToolCall]
    said: str

    @property
    def misbehaviours(self) -> list[Fault]:
        """What the tool servers did by their seed, as faults."""
        return [
            Fault(kind=f"tool: {call.misbehaviour}", at=call.started)
            for call in self.calls
            if call.misbehaviour is not None
        ]

    def ended(self, execution_id: UUID) -> bool:
        """Whether the execution has a terminal status."""
        row = self.executions.get(execution_id)
        return row is not None and row["status"] in TERMINAL_STATUSES


def read_calls(ledger: Path) -> list[ToolCall]:
    """Return the ledger's calls in the order in which they began."""
    file = ledger / "calls.jsonl"
    lines = [json.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []
    ends = {line["call"]: line["wall"] for line in lines if line["event"] == "end"}
    calls = [_call(line, ends.get(line["call"])) for line in lines if line["event"] == "start"]
    return sorted(calls, key=lambda call: call.started)


def _call(line: Mapping[str, Any], ended: float | None) -> ToolCall:
    execution_id, _, rest = line["key"].partition("/")
    path, _, query = rest.partition("?")
    return ToolCall(
        tool=line["tool"],
        execution_id=UUID(execution_id),
        path=path,
        query=query,
        pid=line["pid"],
        started=line["wall"],
        ended=ended,
        misbehaviour=line["misbehaviour"],
    )


async def keep_history(database_url: str) -> None:
    """Let the database write down every write to executions and steps from now on."""
    connection = await _driver.connect(database_url)
    try:
        await connection.execute(HISTORY_SQL.read_text())
    finally:
        await connection.close()


async def read_tables(database_url: str) -> Tables:
    """Return what the database has of it."""
    connection = await _driver.connect(database_url)
    try:
        await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
        executions = await connection.fetch("select * from archon_workflow_executions")
        steps = await connection.fetch("select * from archon_workflow_step_executions order by position")
        of_executions = await connection.fetch("select * from chaos_execution_history order by id")
        of_steps = await connection.fetch("select * from chaos_step_history order by id")
        dumps = {table: await _dump(connection, table) for table in TABLES}
    finally:
        await connection.close()
    return Tables(
        executions={row["id"]: dict(row) for row in executions},
        steps=[dict(row) for row in steps],
        execution_writes=_grouped([_write(ExecutionWrite, row) for row in of_executions]),
        step_writes=_grouped_by_step([_write(StepWrite, row) for row in of_steps]),
        text=dumps,
    )


async def _dump(connection: Any, table: str) -> str:
    return str(await connection.fetchval(f"select string_agg(to_jsonb(t)::text, E'\\n') from {table} as t"))  # noqa: S608 - our own names


def _write(kind: Any, row: Mapping[str, Any]) -> Any:
    values = {name: _seconds(row[name]) for name in kind.__slots__}
    return kind(**values)


def _seconds(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value


def _grouped(writes: Sequence[ExecutionWrite]) -> dict[UUID, list[ExecutionWrite]]:
    groups: dict[UUID, list[ExecutionWrite]] = {}
    for write in writes:
        groups.setdefault(write.execution_id, []).append(write)
    return groups


def _grouped_by_step(writes: Sequence[StepWrite]) -> dict[tuple[UUID, str], list[StepWrite]]:
    groups: dict[tuple[UUID, str], list[StepWrite]] = {}
    for write in writes:
        groups.setdefault((write.execution_id, write.step_path), []).append(write)
    return groups
