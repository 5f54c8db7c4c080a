"""Records to JSON and rows to records: what every tenant of the repository writes and reads.

Not here: how the JSON travels. The keys are those that the functions of the migration unpack.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from functools import cached_property
from types import UnionType
from typing import Any, Final, Generic, TypeVar, cast
from uuid import UUID

from pydantic import TypeAdapter

from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.records import (
    Claim,
    ControlRequest,
    CreatedExecution,
    ExecutionChange,
    ExecutionRecord,
    JournalAnswer,
    JournalEntry,
    LogEntry,
    NewExecution,
    Prospect,
    Queue,
    StepRecord,
    Taker,
    TemplateRecord,
    TemplateSave,
    TreeCount,
    VersionRecord,
    WorkerRecord,
    WorkerReport,
)
from archon_workflows.model.schedules import DueSchedules, Fired, Firing, NewSchedule, ScheduleRecord

RecordT = TypeVar("RecordT")
Row = Mapping[str, Any]
HeldLease = tuple[UUID, int]


class RowReader(Generic[RecordT]):
    """Reads a row, or a value that a function answers, as a record.

    It is made when it is first used: all of them together would take a tenth of a program's start.

    Args:
        record: the type.
    """

    def __init__(self, record: type[RecordT] | UnionType) -> None:
        self._record = record

    @cached_property
    def _adapter(self) -> TypeAdapter[RecordT]:
        return TypeAdapter(cast("type[RecordT]", self._record))

    def validate_python(self, row: object) -> RecordT:
        """Return the record.

        Raises:
            pydantic.ValidationError: the row is not one of this project's.
        """
        return self._adapter.validate_python(row)


TEMPLATES: Final = RowReader(TemplateRecord)
VERSIONS: Final = RowReader(VersionRecord)
EXECUTIONS: Final = RowReader(ExecutionRecord)
STEPS: Final = RowReader(StepRecord)
CLAIMS: Final = RowReader(tuple[Claim, ...])
TREE_COUNTS: Final = RowReader(TreeCount)
CREATED: Final = RowReader(CreatedExecution)
WORKERS: Final = RowReader(WorkerRecord)
PROSPECT: Final = RowReader(Prospect)
SCHEDULES: Final = RowReader(ScheduleRecord)
DUE_SCHEDULES: Final = RowReader(DueSchedules)
FIRED: Final = RowReader[Fired | None](Fired | None)
QUEUES: Final = RowReader[Queue | None](Queue | None)
_REQUESTS: Final = RowReader(tuple[ControlRequest, ...])
_MOMENT: Final = RowReader(datetime)

_CHANGE_COLUMNS: Final = tuple(column.name for column in fields(ExecutionChange))
_LOG_KEYS: Final = tuple(key.name for key in fields(LogEntry))
_NEW_COLUMNS: Final = tuple(column.name for column in fields(NewExecution))
_TAKER_KEYS: Final = tuple(key.name for key in fields(Taker))
_WORKER_COLUMNS: Final = tuple(column.name for column in fields(WorkerReport))
_SCHEDULE_COLUMNS: Final = tuple(column.name for column in fields(NewSchedule))
_FIRING_KEYS: Final = tuple(key.name for key in fields(Firing) if key.name != "execution")
_REQUEST_KEYS: Final = tuple(key.name for key in fields(ControlRequest))


def records_of(reader: RowReader[RecordT], rows: Sequence[Row]) -> tuple[RecordT, ...]:
    """Read rows, each a mapping from column to value; columns that the record does not have are ignored."""
    return tuple(reader.validate_python(row) for row in rows)


def fingerprints_json(save: TemplateSave) -> dict[str, JsonValue]:
    """Return what the column ``tool_fingerprints`` keeps."""
    return {
        name: {"address": one.address, "sha256": one.sha256} for name, one in save.tool_fingerprints.items()
    }


def execution_json(new: NewExecution) -> dict[str, JsonValue]:
    """Return what ``archon_workflow_create_execution`` takes."""
    return _given(new, _NEW_COLUMNS)


def taker_json(taker: Taker | None) -> dict[str, JsonValue] | None:
    """Return what ``archon_workflow_create_execution`` takes besides."""
    return _given(taker, _TAKER_KEYS) if taker is not None else None


def entry_json(entry: JournalEntry) -> dict[str, JsonValue]:
    """Return one element of what ``archon_workflow_record`` takes; of two steps with one path the last."""
    letter = _given(entry.change, _CHANGE_COLUMNS)
    letter["execution_id"] = entry.execution_id
    letter["fencing_token"] = entry.fencing_token
    letter["sequence"] = entry.sequence
    if entry.steps:
        by_path = {step.step_path: step for step in entry.steps}
        letter["steps"] = [_given_of_step(step) for step in by_path.values()]
    if entry.log:
        letter["log"] = [{key: getattr(line, key) for key in _LOG_KEYS} for line in entry.log]
    if entry.log_dropped:
        letter["log_dropped"] = entry.log_dropped
    if entry.acknowledged:
        letter["acknowledged"] = list(entry.acknowledged)
    if entry.cancelled_children:
        letter["cancelled_children"] = list(entry.cancelled_children)
    if entry.release:
        letter["release"] = True
    if entry.read_back:
        letter["read_back"] = True
    return letter


def request_json(request: ControlRequest) -> dict[str, JsonValue]:
    """Return what ``archon_workflow_request_control`` keeps in the row."""
    return _given(request, _REQUEST_KEYS)


def worker_json(report: WorkerReport) -> dict[str, JsonValue]:
    """Return what ``archon_workflow_report_worker`` takes."""
    return _given(report, _WORKER_COLUMNS)


def schedule_json(new: NewSchedule) -> dict[str, JsonValue]:
    """Return what ``archon_workflow_save_schedule`` takes."""
    return _given(new, _SCHEDULE_COLUMNS)


def firing_json(firing: Firing) -> dict[str, JsonValue]:
    """Return what ``archon_workflow_fire_schedule`` takes."""
    letter = _given(firing, _FIRING_KEYS)
    if firing.execution is not None:
        letter["execution"] = execution_json(firing.execution)
    return letter


def held_json(held: Sequence[HeldLease]) -> list[dict[str, JsonValue]]:
    """Return what ``archon_workflow_renew`` and ``archon_workflow_release`` take."""
    return [{"execution_id": execution_id, "fencing_token": token} for execution_id, token in held]


def entry_answers(entries: Sequence[JournalEntry], letter: Row) -> tuple[JournalAnswer, ...]:
    """Put the answers of ``archon_workflow_record`` into the order of the entries."""
    return _answers([(entry.execution_id, entry.sequence) for entry in entries], letter, "sequence")


def lease_answers(held: Sequence[HeldLease], letter: Row) -> tuple[JournalAnswer, ...]:
    """Put the answers of ``archon_workflow_renew`` into the order of the leases."""
    return _answers(held, letter, "fencing_token")


def _answers(asked: Sequence[tuple[UUID, int]], letter: Row, number: str) -> tuple[JournalAnswer, ...]:
    now = _MOMENT.validate_python(letter["now"])
    answers = {(answer["execution_id"], answer[number]): answer for answer in letter["answers"]}
    return tuple(_answer(execution_id, answers[str(execution_id), n], now) for execution_id, n in asked)


def _answer(execution_id: UUID, answer: Row, now: datetime) -> JournalAnswer:
    requests = answer["control_requests"]
    execution = answer.get("execution")
    return JournalAnswer(
        execution_id=execution_id,
        accepted=answer["accepted"],
        control_requests=_REQUESTS.validate_python(requests) if requests else (),
        now=now,
        execution=EXECUTIONS.validate_python(execution) if execution is not None else None,
    )


def _given(record: object, names: Sequence[str]) -> dict[str, JsonValue]:
    """Return the fields that are not ``None``: leaving one out is how JSON says it here."""
    return {name: value for name in names if (value := getattr(record, name)) is not None}


def _given_of_step(record: StepRecord) -> dict[str, JsonValue]:
    return {name: value for name, value in vars(record).items() if value is not None}
