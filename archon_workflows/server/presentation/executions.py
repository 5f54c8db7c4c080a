"""Executions as a model reads them: where they stand, what they gave, and which call helps."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from archon_workflows.expressions.values import is_object
from archon_workflows.model.outcomes import NEVER_RETRIED, JsonValue
from archon_workflows.model.records import (
    TERMINAL_STATUSES,
    ExecutionRecord,
    ExecutionStatus,
    Page,
    Queue,
    StepRecord,
)
from archon_workflows.server.presentation.answer import (
    Answer,
    Next,
    NextCall,
    PageFacts,
    call_lines,
    compact,
    moment,
    page_line,
    seconds_between,
    short,
    size_of,
    without_empty,
)
from archon_workflows.server.standing import Standing, Wait

OUTPUT_SHOWN = 500
TEXT_LIMIT = 20_000
WAIT_AGAIN_SECONDS = 20


class ExecutionError(TypedDict):
    """Why the execution failed."""

    code: str
    message: str
    step_path: NotRequired[Annotated[str, Field(description="The step that failed.")]]
    child_execution_id: NotRequired[Annotated[str, Field(description="The child in which it failed.")]]


class WaitFacts(TypedDict):
    """Someone's word that the execution waits for."""

    execution_id: str
    step_path: str
    awaiting: Annotated[str, Field(description="approval, or resolution: nobody knows what a call did.")]
    message: NotRequired[str]


class QueueFacts(TypedDict):
    """The execution waits until its template's limit lets it start."""

    ahead: Annotated[int, Field(description="How many executions start before it.")]
    max_concurrent_executions: NotRequired[int]
    taken_by: NotRequired[Annotated[list[str], Field(description="Execution ids, the oldest five.")]]


class ExecutionFacts(TypedDict):
    """One execution, short."""

    execution_id: str
    workflow: str
    version: str
    status: ExecutionStatus
    progress_percentage: float
    triggered_by: NotRequired[str]
    started_at: NotRequired[str]
    duration_seconds: NotRequired[float]
    error: NotRequired[ExecutionError]


class ExecutionAnswer(ExecutionFacts):
    """Where an execution stands; further members when they were asked for."""

    updated_at: str
    pause_reason: NotRequired[str]
    running: NotRequired[Annotated[list[str], Field(description="Step paths that are under way.")]]
    waits: NotRequired[list[WaitFacts]]
    queue: NotRequired[QueueFacts]
    output: NotRequired[Any]
    output_characters: NotRequired[
        Annotated[int, Field(description="Size of an output that is too long to be shown unasked.")]
    ]
    warnings: NotRequired[list[str]]
    existed: NotRequired[
        Annotated[bool, Field(description="The idempotency key named this execution before.")]
    ]
    next: NotRequired[Next]
    input: NotRequired[dict[str, Any]]
    log: NotRequired[dict[str, Any]]
    steps: NotRequired[dict[str, Any]]


class ExecutionList(TypedDict):
    """A page of executions, newest first."""

    executions: list[ExecutionFacts]
    page: PageFacts


def present_execution(
    standing: Standing,
    *,
    warnings: Sequence[str] = (),
    existed: bool = False,
    whole_output: bool = False,
    parts: Sequence[Answer] = (),
) -> Answer:
    """Return where the execution stands.

    Args:
        standing: what was read of it.
        warnings: sentences about the template.
        existed: an idempotency key led to it.
        whole_output: show the output however long it is.
        parts: what was asked for besides: steps, log, input.
    """
    execution = standing.execution
    warnings = [*warnings, *_tool_changes(execution), *_obstacles(standing)]
    output = _output_facts(execution, whole=whole_output)
    calls = next_calls(standing)
    content = _facts(execution, standing.failed) | without_empty(
        {
            "updated_at": moment(execution.updated_at),
            "pause_reason": execution.pause_reason if execution.status == "paused" else None,
            "running": [step.step_path for step in standing.running],
            "waits": [_wait_facts(wait) for wait in standing.waits],
            "queue": _queue_facts(standing.queue) if standing.queue is not None else None,
            "warnings": list(warnings),
            "existed": existed or None,
            "next": calls,
        }
    )
    content |= output
    for part in parts:
        content |= part.content
    lines = [
        *_head(standing),
        *(["The idempotency key named this execution before; nothing was started."] if existed else []),
        *(f"warning: {warning}" for warning in warnings),
        *_output_lines(output),
        *(line for part in parts for line in part.lines),
        *call_lines(calls),
    ]
    return Answer(lines, content)


def _obstacles(standing: Standing) -> list[str]:
    obstacle = standing.prospect.obstacle if standing.prospect is not None else None
    return [obstacle] if obstacle is not None else []


def present_executions(page: Page[ExecutionRecord], facts: PageFacts) -> Answer:
    """Return a list of executions, one line each."""
    content = {"executions": [_facts(one, None) for one in page.records], "page": facts}
    lines = [f"{one.id} {_one_line(one)}" for one in page.records] or ["No execution fits."]
    return Answer([*lines, *page_line(facts, len(page.records))], content)


def next_calls(standing: Standing) -> list[NextCall]:
    """Return the calls that lead on from where the execution stands."""
    execution = standing.execution
    match execution.status:
        case "pending" | "running" if not standing.waits:
            return [_get(execution, "wait for the end", wait_seconds=WAIT_AGAIN_SECONDS)]
        case "failed":
            return _after_failure(standing)
        case "cancelled":
            return [_control(execution, "retry", "run what is not completed")]
        case "paused" if execution.pause_reason == "requested":
            return [_control(execution, "resume", "go on")]
        case "completed":
            return _whole_output(execution)
        case _:
            return [call for wait in standing.waits for call in _word_calls(wait)]


def _after_failure(standing: Standing) -> list[NextCall]:
    execution, failed = standing.execution, standing.failed
    if _code(execution, failed) in NEVER_RETRIED - {"rejected", "approval_timeout", "cancelled"}:
        return [
            NextCall(
                tool="manage_workflow_template",
                arguments={"action": "update", "name": execution.workflow_name},
                why="mend the template (or start again with other parameters)",
            ),
            _control(
                execution, "retry", "then go on with the new version_number", version="<version_number>"
            ),
        ]
    step = failed.step_path if failed is not None else "what is not completed"
    calls = [_control(execution, "retry", f"run {step} again; completed steps are kept")]
    if failed is not None and failed.sub_workflow_execution_id is not None:
        child = {"execution_id": str(failed.sub_workflow_execution_id)}
        calls.append(NextCall(tool="get_execution", arguments=child, why="see what failed in the child"))
    return calls


def _word_calls(wait: Wait) -> list[NextCall]:
    where = {"step_path": wait.step.step_path}
    if wait.awaiting == "approval":
        return [
            _control(wait.execution, "approve", "let the step run", **where),
            _control(wait.execution, "reject", "make the step fail; say why in reason", **where),
        ]
    return [
        _control(
            wait.execution, "resolve", "it had its effect (add output)", **where, resolution="succeeded"
        ),
        _control(wait.execution, "resolve", "it had none: call again", **where, resolution="rerun"),
        _control(wait.execution, "resolve", "make the step fail", **where, resolution="failed"),
    ]


def _whole_output(execution: ExecutionRecord) -> list[NextCall]:
    if size_of(execution.output_data) <= OUTPUT_SHOWN:
        return []
    return [_get(execution, "read the whole output", include=["output"])]


def _control(execution: ExecutionRecord, action: str, why: str, **further: JsonValue) -> NextCall:
    arguments = {"execution_id": str(execution.id), "action": action, **further}
    return NextCall(tool="control_execution", arguments=arguments, why=why)


def _get(execution: ExecutionRecord, why: str, **further: JsonValue) -> NextCall:
    return NextCall(tool="get_execution", arguments={"execution_id": str(execution.id), **further}, why=why)


def _facts(execution: ExecutionRecord, failed: StepRecord | None) -> dict[str, Any]:
    return {
        "execution_id": str(execution.id),
        "workflow": execution.workflow_name,
        "version": execution.version_tag,
        "status": execution.status,
        "progress_percentage": execution.progress_percentage,
        **without_empty(
            {
                "triggered_by": execution.triggered_by,
                "started_at": moment(execution.started_at) if execution.started_at else None,
                "duration_seconds": seconds_between(execution.started_at, execution.completed_at),
                "error": _error_facts(execution, failed),
            }
        ),
    }


def _error_facts(execution: ExecutionRecord, failed: StepRecord | None) -> dict[str, Any]:
    if execution.error_message is None:
        return {}
    child_id = failed.sub_workflow_execution_id if failed is not None else None
    return without_empty(
        {
            "code": _code(execution, failed),
            "message": short(_message(execution, failed), 1_000),
            "step_path": failed.step_path if failed is not None else None,
            "child_execution_id": str(child_id) if child_id is not None else None,
        }
    )


def _code(execution: ExecutionRecord, failed: StepRecord | None) -> str:
    details = (failed.error_details if failed is not None else None) or execution.error_details or {}
    return str(details.get("code", execution.status))


def _message(execution: ExecutionRecord, failed: StepRecord | None) -> str:
    own = failed.error_message if failed is not None else None
    return own or execution.error_message or ""


def _tool_changes(execution: ExecutionRecord) -> list[str]:
    """Return what the log says of tools that are not what they were when the version was saved."""
    changes = (str(entry["message"]) for entry in execution.execution_log if _is_tool_change(entry))
    return list(dict.fromkeys(changes))


def _is_tool_change(entry: Mapping[str, JsonValue]) -> bool:
    details = entry.get("details")
    return entry["level"] == "warning" and is_object(details) and details.get("code") == "tool_changed"


def _wait_facts(wait: Wait) -> dict[str, Any]:
    facts = {
        "execution_id": str(wait.execution.id),
        "step_path": wait.step.step_path,
        "awaiting": wait.awaiting,
        "message": short(_asked(wait), 1_000),
    }
    return without_empty(facts)


def _queue_facts(queue: Queue) -> dict[str, Any]:
    further = {
        "max_concurrent_executions": queue.allowed,
        "taken_by": [str(execution_id) for execution_id in queue.taken_by],
    }
    return {"ahead": queue.ahead, **without_empty(further)}


def _queue_line(execution: ExecutionRecord, queue: Queue) -> str:
    taken = f", which {', '.join(map(str, queue.taken_by))} have now" if queue.taken_by else ""
    places = "a place" if queue.allowed is None else f"one of the {queue.allowed} places"
    return f"waits for {places} of {execution.workflow_name}{taken}; {queue.ahead} start before it"


def _asked(wait: Wait) -> str:
    if wait.awaiting == "resolution":
        call = wait.step.tool_name or "the call"
        return f"{call} was interrupted, and nobody knows whether it had its effect"
    given = wait.step.input_data
    approval = given.get("approval") if is_object(given) else None
    return str(approval.get("message", "")) if is_object(approval) else ""


def _head(standing: Standing) -> list[str]:
    execution, failed = standing.execution, standing.failed
    lines = [_one_line(execution, failed)]
    if standing.running and execution.status == "running":
        lines.append(f"running: {', '.join(_under_way(step) for step in standing.running[:5])}")
    if standing.queue is not None:
        lines.append(_queue_line(execution, standing.queue))
    for wait in standing.waits:
        child = f" in execution {wait.execution.id}" if wait.execution.id != execution.id else ""
        lines.append(f"waits for {wait.awaiting} of {wait.step.step_path}{child}: {short(_asked(wait), 500)}")
    return [lines[0], f"execution_id: {execution.id}", *lines[1:]]


def _one_line(execution: ExecutionRecord, failed: StepRecord | None = None) -> str:
    duration = seconds_between(execution.started_at, execution.completed_at)
    took = f" in {duration:g} s" if duration is not None else ""
    progress = "" if execution.status == "completed" else f", {execution.progress_percentage:g} %"
    why = ""
    if execution.error_message is not None and execution.status in TERMINAL_STATUSES:
        at = f" at step {failed.step_path}" if failed is not None else ""
        why = f"{at} ({_code(execution, failed)}): {short(_message(execution, failed), 500)}"
    return f"{execution.workflow_name} {execution.version_tag} {execution.status}{took}{progress}{why}"


def _under_way(step: StepRecord) -> str:
    progress = step.progress or {}
    total = f"/{progress['total']:g}" if progress.get("total") else ""
    figures = f" {progress['progress']:g}{total}" if "progress" in progress else ""
    words = f" {short(str(progress['message']), 80)}" if progress.get("message") else ""
    attempt = f" attempt {step.attempt_number}/{step.max_attempts}" if step.attempt_number > 1 else ""
    return f"{step.step_path}{attempt}{figures}{words}"


def _output_facts(execution: ExecutionRecord, *, whole: bool) -> dict[str, Any]:
    if execution.status != "completed":
        return {}
    size = size_of(execution.output_data)
    if whole or size <= OUTPUT_SHOWN:
        return {"output": execution.output_data}
    return {"output_characters": size}


def _output_lines(output: dict[str, Any]) -> list[str]:
    if "output" in output:
        return [f"output: {compact(output['output'], TEXT_LIMIT)}"]
    if "output_characters" in output:
        return [f"output: {output['output_characters']:,} characters, not shown"]
    return []


def describe_progress(standing: Standing) -> str:
    """Return in a few words what an execution is doing."""
    execution = standing.execution
    at = f"step {min(execution.current_step_index + 1, execution.total_steps)} of {execution.total_steps}"
    under_way = ", ".join(_under_way(step) for step in standing.running[:3])
    return f"{execution.status}, {at}{': ' if under_way else ''}{under_way}"
