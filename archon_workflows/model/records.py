"""The rows as the program sees them: executions, step executions, versions, and the journal's writes.

Field names are column names. Times are aware ``datetime`` in UTC, durations are seconds. Rows that come
out of the database are trusted: whatever wrote them passed the normaliser.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, Self, TypeVar, get_args
from uuid import UUID

from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.steps import StepType
from archon_workflows.model.template import ChangeType, TemplateStatus
from archon_workflows.model.tools import ToolFingerprint

ExecutionStatus = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
EXECUTION_STATUSES: tuple[str, ...] = get_args(ExecutionStatus)
TERMINAL_STATUSES = frozenset({"completed", "failed", "cancelled"})

StepStatus = Literal["pending", "running", "completed", "failed", "skipped", "retrying"]
STEP_STATUSES: tuple[str, ...] = get_args(StepStatus)
FINISHED_STEP_STATUSES = frozenset({"completed", "failed", "skipped"})

RecordT = TypeVar("RecordT")

Place = Literal["awaited", "taken"]
PauseReason = Literal["requested", "approval", "in_doubt"]
ControlAction = Literal["pause", "resume", "cancel", "retry", "approve", "reject", "resolve"]
AnnouncementKind = Literal["free", "asked", "changed"]
WorkerKind = Literal["server", "worker"]
LogLevel = Literal["debug", "info", "warning", "error"]
Awaiting = Literal["approval", "resolution"]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of ``execution_log``."""

    timestamp: datetime
    level: LogLevel
    message: str
    step_index: int | None = None
    step_name: str | None = None
    details: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One row of ``archon_workflow_step_executions``: one step path of one execution.

    Attributes:
        step_index: index of the top-level step that this one is or belongs to, from 0.
        run_number: how often the step was started, over attempts and polls; nested paths of run 2 and
            later carry ``~2``.
        poll_number: which poll of ``repeat_until`` this is, from 1.
        interruptions: how often an owner died while the step was running.
        generation: 1, and one more each time someone retries from this step although it had completed.
        wake_at: when a waiting step goes on.
        awaiting: whose word it waits for: an approval, or the resolution of an unknown outcome.
        output_truncated: the output was over the size limit; ``output_data`` holds its head, size, SHA-256.
        context_updates: what ``set_context`` wrote when the step completed.
        failure_handled: the step failed and ``on_failure`` (its own or a parent's) went on from there.
        error_details: the ``StepError`` as JSON, plus ``earlier``: the errors of earlier attempts.
    """

    step_path: str
    step_index: int
    step_name: str
    step_type: StepType
    step_config: Mapping[str, JsonValue]
    status: StepStatus
    attempt_number: int = 1
    max_attempts: int = 1
    run_number: int = 1
    poll_number: int = 1
    interruptions: int = 0
    generation: int = 1
    wake_at: datetime | None = None
    awaiting: Awaiting | None = None
    input_data: JsonValue = None
    output_data: JsonValue = None
    output_truncated: bool = False
    tool_name: str | None = None
    tool_parameters: JsonValue = None
    tool_result: JsonValue = None
    sub_workflow_execution_id: UUID | None = None
    context_updates: Mapping[str, JsonValue] | None = None
    failure_handled: bool = False
    error_message: str | None = None
    error_details: Mapping[str, JsonValue] | None = None
    progress: Mapping[str, JsonValue] | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None

    def changed(self, **columns: Any) -> Self:
        """Return a copy with these columns; ten times as fast as ``replace``, for every step has several."""
        copy = object.__new__(type(self))
        vars(copy).update(vars(self), **columns)
        return copy


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRequest:
    """Someone's word to an execution, kept in its row until the owner has acted on it.

    Attributes:
        id: made by whoever asks; the same id twice is one request.
        step_path: which waiting step ``approve``, ``reject`` or ``resolve`` means (``None``: the only one).
        from_step: for ``retry``.
        version_number: for ``retry`` on a newer version.
        resolution: for ``resolve``: ``succeeded`` (with ``output``), ``failed`` or ``rerun``.
        required_tools: for ``retry`` on a newer version: what that version calls.
    """

    id: UUID
    action: ControlAction
    requested_by: str | None = None
    requested_at: datetime | None = None
    reason: str | None = None
    step_path: str | None = None
    from_step: str | None = None
    version_number: int | None = None
    resolution: Literal["succeeded", "failed", "rerun"] | None = None
    output: JsonValue = None
    required_tools: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRecord:
    """One row of ``archon_workflow_executions``, with the name and number of its pinned version.

    Attributes:
        priority: higher ones are taken first.
        place: whether it awaits one of the places that its template's limit allows, or has one; ``None``
            without a limit.
        caller: whom authentication knew as the one who started it; ``None`` where nobody asked.
    """

    id: UUID
    workflow_template_id: UUID
    workflow_version_id: UUID
    workflow_name: str
    version_number: int
    version_tag: str
    status: ExecutionStatus
    triggered_by: str | None
    trigger_context: Mapping[str, JsonValue]
    input_parameters: Mapping[str, JsonValue]
    execution_context: Mapping[str, JsonValue]
    required_tools: tuple[str, ...]
    current_step_index: int
    total_steps: int
    progress_percentage: float
    priority: int
    place: Place | None
    idempotency_key: str | None
    parent_execution_id: UUID | None
    parent_step_path: str | None
    root_execution_id: UUID
    link_depth: int
    caller: str | None = None
    pause_reason: PauseReason | None
    control_requests: tuple[ControlRequest, ...]
    output_data: JsonValue
    error_message: str | None
    error_details: Mapping[str, JsonValue] | None
    execution_log: tuple[Mapping[str, JsonValue], ...]
    log_dropped_count: int
    owner_id: str | None
    fencing_token: int
    lease_expires_at: datetime | None
    journal_sequence: int
    wake_at: datetime | None
    deadline_at: datetime | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    paused_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeCount:
    """What the rows of an execution tree add up to; ``output_bytes`` as the database stores them."""

    steps: int
    calls: int
    output_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionChange:
    """What a journal entry changes in the execution's row; ``None`` leaves a column as it is."""

    status: ExecutionStatus | None = None
    pause_reason: PauseReason | None = None
    current_step_index: int | None = None
    progress_percentage: float | None = None
    execution_context: Mapping[str, JsonValue] | None = None
    output_data: JsonValue = None
    error_message: str | None = None
    error_details: Mapping[str, JsonValue] | None = None
    workflow_version_id: UUID | None = None
    total_steps: int | None = None
    wake_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One atomic write of an owner about one execution.

    Attributes:
        fencing_token: the owner's; the database refuses the entry when it is not the row's.
        sequence: one more than the entry before; an entry that was already written is not written again.
        steps: rows to insert or replace, by step path; of two with one path the later wins.
        log: entries to append; ``log_dropped`` counts those that were left out.
        acknowledged: ids of control requests that the owner has acted on.
        cancelled_children: executions that are to be cancelled together with all below them.
        release: give the lease back with this write (the execution ended, paused, or the owner stops).
        read_back: answer with the execution's row as this write leaves it.
    """

    execution_id: UUID
    fencing_token: int
    sequence: int
    change: ExecutionChange = field(default_factory=ExecutionChange)
    steps: Sequence[StepRecord] = ()
    log: Sequence[LogEntry] = ()
    log_dropped: int = 0
    acknowledged: Sequence[UUID] = ()
    cancelled_children: Sequence[UUID] = ()
    release: bool = False
    read_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalAnswer:
    """The database's word on one entry or one renewed lease.

    Attributes:
        accepted: false: the token is stale and nothing was written.
        control_requests: those not yet acknowledged, oldest first.
        now: the database's clock, by which every timer of the project runs.
        execution: the row, when the entry asked to read it back and was written just now.
    """

    execution_id: UUID
    accepted: bool
    control_requests: tuple[ControlRequest, ...]
    now: datetime
    execution: ExecutionRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An execution that this owner may now advance, until the lease runs out."""

    execution: ExecutionRecord
    fencing_token: int
    taken_over: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class Announcement:
    """What the database says of an execution: a hint, never the news itself.

    Attributes:
        kind: someone may take it or the place that it had, someone asked something of it, or it changed.
    """

    execution_id: UUID
    kind: AnnouncementKind


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExecution:
    """An execution to create; ``id`` is made beforehand, so that creating it twice is creating it once.

    Attributes:
        caller: to whom it belongs; a child belongs to its parent's caller.
        priority: ``None``: the template's newest one, and at least the parent's.
        template_updated_at: refuse it if the template has changed since; ``None``: that does not matter.
    """

    id: UUID
    workflow_template_id: UUID
    workflow_version_id: UUID
    triggered_by: str | None = None
    trigger_context: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    input_parameters: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    required_tools: tuple[str, ...] = ()
    total_steps: int
    timeout_seconds: float
    priority: int | None = None
    idempotency_key: str | None = None
    parent_execution_id: UUID | None = None
    parent_step_path: str | None = None
    caller: str | None = None
    template_updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taker:
    """Who is to advance an execution that is being created.

    Attributes:
        offered_tools: with these the execution is only taken if it needs no others.
    """

    owner_id: str
    lease_seconds: float
    offered_tools: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedExecution:
    """Which execution there is now.

    Attributes:
        existed: it was there before, with the same id or the same idempotency key.
        claim: what its taker got.
    """

    id: UUID
    existed: bool
    claim: Claim | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What an execution that awaits a place has before it.

    Attributes:
        allowed: how many places its template has; ``None`` when the limit was just removed.
        ahead: executions whose turn comes first.
        taken_by: the oldest few of those that have the places.
    """

    allowed: int | None
    ahead: int
    taken_by: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """What a worker says of itself, again and again while it lives.

    Attributes:
        kind: a server that executes besides serving, or a process that does nothing else.
        offered_tools: what its tool servers offer, each tool in every spelling that a step may use.
        has_listed_all: false: it has not yet asked every one of its tool servers.
        max_executions: how many it advances at once.
    """

    owner_id: str
    kind: WorkerKind
    offered_tools: tuple[str, ...]
    has_listed_all: bool
    max_executions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord(WorkerReport):
    """One living worker."""

    created_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """Who could advance an execution that nobody owns.

    Attributes:
        is_free: nobody owns it and it has something to do.
        workers: how many live.
        fitting: how many of them offer every tool that the execution needs.
        listing: how many have not yet asked every one of their tool servers.
        missing_tools: what the execution needs and none of them offers.
    """

    is_free: bool
    workers: int
    fitting: int
    listing: int
    missing_tools: tuple[str, ...]

    @property
    def obstacle(self) -> str | None:
        """Why nobody advances an execution that is free, in a sentence; ``None``: soon someone will."""
        if not self.is_free or self.fitting:
            return None
        if not self.workers:
            return (
                "No process that advances executions is alive; "
                "start `archon-workflows serve` or `archon-workflows worker`."
            )
        living = f"{self.workers} alive" + (
            f", of which {self.listing} did not ask all tool servers yet" if self.listing else ""
        )
        if not self.missing_tools:
            return f"No single worker offers all the tools that it needs ({living})."
        tools = ", ".join(map(repr, self.missing_tools[:10]))
        return f"No worker offers {tools} ({living}); start one whose tool servers do."


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSave:
    """A template to save as its next version; ``template_id`` is ``None`` for a new one.

    ``version_id`` is made by the caller, so that saving it twice is saving it once.

    Attributes:
        tool_fingerprints: by ``tool_name``, of those tools that could be looked up.
    """

    version_id: UUID
    template_id: UUID | None
    document: Mapping[str, JsonValue]
    version_tag: str
    change_type: ChangeType
    change_summary: str | None = None
    breaking_changes: bool = False
    created_by: str | None = None
    expected_version_number: int | None = None
    tool_fingerprints: Mapping[str, ToolFingerprint] = field(default_factory=dict[str, ToolFingerprint])


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRecord:
    """The current state of a template, with the number of its newest version."""

    id: UUID
    name: str
    title: str
    description: str | None
    version: str
    status: TemplateStatus
    category: str | None
    tags: tuple[str, ...]
    is_public: bool
    created_by: str | None
    document: Mapping[str, JsonValue]
    version_id: UUID
    version_number: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """One immutable version; ``template_snapshot`` is the whole document."""

    id: UUID
    workflow_template_id: UUID
    version_number: int
    version_tag: str
    template_snapshot: Mapping[str, JsonValue]
    change_type: ChangeType
    change_summary: str | None
    breaking_changes: bool
    created_by: str | None
    created_at: datetime
    tool_fingerprints: Mapping[str, ToolFingerprint] = field(default_factory=dict[str, ToolFingerprint])


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFilter:
    """Which templates to list; ``text`` is searched in name, title, description, category and tags.

    Attributes:
        visible_to: only public ones, and those that this one created.
    """

    text: str | None = None
    statuses: Sequence[TemplateStatus] = ()
    category: str | None = None
    tags: Sequence[str] = ()
    visible_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionFilter:
    """Which executions to list, newest first.

    Attributes:
        caller: only those that belong to this caller.
    """

    workflow_name: str | None = None
    statuses: Sequence[ExecutionStatus] = ()
    triggered_by: str | None = None
    caller: str | None = None
    parent_execution_id: UUID | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFilter:
    """Which step rows to read; ``path_prefix`` takes a step and everything inside it."""

    statuses: Sequence[StepStatus] = ()
    path_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[RecordT]):
    """One page of a list and how many there are in all."""

    records: tuple[RecordT, ...]
    total: int
