"""What an execution did, on request: its steps, its log, its input."""

from collections.abc import Mapping, Sequence
from typing import Any

from archon_workflows.engine.vault import without_secrets
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.records import ExecutionRecord, Page, StepRecord
from archon_workflows.server.presentation.answer import (
    Answer,
    PageFacts,
    compact,
    moment,
    page_line,
    seconds_between,
    short,
    size_of,
    without_empty,
)

VALUE_SHOWN = 200
TEXT_LIMIT = 5_000


def present_steps(page: Page[StepRecord], facts: PageFacts, *, whole: bool, tool_results: bool) -> Answer:
    """Return a page of steps in the order in which they began.

    Args:
        page: the rows.
        facts: which page this is.
        whole: show inputs and outputs however long they are; otherwise outputs of at most 200 characters.
        tool_results: show the raw results of the calls.
    """
    rows = [_row(step, whole=whole, tool_results=tool_results) for step in page.records]
    lines = [_line(step, whole=whole, tool_results=tool_results) for step in page.records]
    content = {"steps": {"records": rows, **facts}}
    return Answer([f"steps ({facts['total']}):", *lines, *page_line(facts, len(rows))], content)


def present_log(execution: ExecutionRecord, page: int, page_size: int) -> Answer:
    """Return a page of the log; the first one holds the newest entries, in the order of time."""
    entries = execution.execution_log
    until = max(0, len(entries) - (page - 1) * page_size)
    shown = entries[max(0, until - page_size) : until]
    facts = PageFacts(page=page, page_size=page_size, total=len(entries))
    dropped = execution.log_dropped_count
    lines = [f"{_time_of_day(entry)} {entry.get('level')}: {entry.get('message')}" for entry in shown]
    more = [f"{dropped} entries were left out of the log"] if dropped else []
    content = {"log": {"entries": [dict(entry) for entry in shown], "dropped": dropped, **facts}}
    return Answer([f"log ({len(entries)}):", *lines, *page_line(facts, len(shown)), *more], content)


def present_input(execution: ExecutionRecord) -> Answer:
    """Return the input, the trigger context and the context; secret parameters are masked."""
    parts = {
        "parameters": without_secrets(execution.input_parameters),
        "trigger_context": dict(execution.trigger_context),
        "context": dict(execution.execution_context),
    }
    return Answer(
        [f"{name}: {compact(value, TEXT_LIMIT)}" for name, value in parts.items()], {"input": parts}
    )


def _row(step: StepRecord, *, whole: bool, tool_results: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"step_path": step.step_path, "type": step.step_type, "status": step.status}
    row |= without_empty(
        {
            "tool_name": step.tool_name,
            "attempts": step.attempt_number if step.max_attempts > 1 else None,
            "started_at": moment(step.started_at) if step.started_at else None,
            "duration_seconds": seconds_between(step.started_at, step.completed_at),
            "awaiting": step.awaiting,
            "child_execution_id": str(step.sub_workflow_execution_id)
            if step.sub_workflow_execution_id
            else None,
            "error": _error(step, whole=whole),
        }
    )
    if whole and step.input_data is not None:
        row["input"] = step.input_data
    if step.status == "completed":
        row |= _output(step.output_data, whole=whole)
    if tool_results and step.tool_result is not None:
        row["tool_result"] = step.tool_result
    return row


def _output(output: JsonValue, *, whole: bool) -> dict[str, Any]:
    size = size_of(output)
    return {"output": output} if whole or size <= VALUE_SHOWN else {"output_characters": size}


def _error(step: StepRecord, *, whole: bool) -> dict[str, Any]:
    if step.error_message is None:
        return {}
    details = dict(step.error_details or {})
    code = str(details.get("code", "failed"))
    return {
        "code": code,
        "message": step.error_message,
        **without_empty({"details": details if whole else None}),
    }


def _line(step: StepRecord, *, whole: bool, tool_results: bool) -> str:
    duration = seconds_between(step.started_at, step.completed_at)
    words = [step.step_path, f"waits for {step.awaiting}" if step.awaiting else step.status]
    words += [f"attempt {step.attempt_number}/{step.max_attempts}"] if step.attempt_number > 1 else []
    words += [f"{duration:g} s"] if duration is not None else []
    words += [f"({step.tool_name})"] if step.tool_name else []
    words += (
        [f"input {compact(step.input_data, TEXT_LIMIT)}"] if whole and step.input_data is not None else []
    )
    if step.error_message is not None and step.status in ("failed", "retrying"):
        words.append(f"{(step.error_details or {}).get('code', 'failed')}: {short(step.error_message, 300)}")
    if step.status == "completed":
        words.append(f"-> {compact(step.output_data, TEXT_LIMIT if whole else VALUE_SHOWN)}")
    if tool_results and step.tool_result is not None:
        words.append(f"result {compact(step.tool_result, TEXT_LIMIT)}")
    return " ".join(words)


def _time_of_day(entry: Mapping[str, JsonValue]) -> str:
    return str(entry.get("timestamp", ""))[11:23]


def shown_steps(steps: Sequence[StepRecord]) -> list[dict[str, Any]]:
    """Return step rows as lists show them."""
    return [_row(step, whole=False, tool_results=False) for step in steps]
