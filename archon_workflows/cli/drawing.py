"""An execution drawn for people: head line, step tree with statuses and durations, log lines."""

from collections.abc import Mapping
from datetime import UTC, datetime

from rich.text import Text

from archon_workflows.cli.history import History, Line, Wait, lines_of, waits_in
from archon_workflows.cli.printable import one_line_json, printable
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.records import FINISHED_STEP_STATUSES, ExecutionRecord, StepRecord

_MARKS = {
    "pending": ("○", "dim"),
    "running": ("●", "bold cyan"),
    "retrying": ("↻", "yellow"),
    "waiting": ("⏸", "bold yellow"),
    "paused": ("⏸", "bold yellow"),
    "completed": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "cancelled": ("✗", "bold red"),
    "skipped": ("–", "dim"),  # noqa: RUF001 - a dash, for nothing was done
}
_ASCII_MARKS = {
    "pending": ".",
    "running": ">",
    "retrying": "~",
    "waiting": "?",
    "paused": "?",
    "completed": "+",
    "failed": "x",
    "cancelled": "x",
    "skipped": "-",
}
_LEVEL_STYLES = {"warning": "yellow", "error": "red"}
_SECONDS_PER_MINUTE = 60
_LOG_LINES = 5


class Drawing:
    """Turns histories into lines of text.

    Args:
        ascii_only: the terminal's encoding has no check marks.
    """

    def __init__(self, *, ascii_only: bool) -> None:
        self._ascii_only = ascii_only

    def head(self, execution: ExecutionRecord, now: datetime) -> Text:
        """Return name, version, status, progress and duration of an execution."""
        text = self.mark(execution.status)
        text.append(f" {printable(execution.workflow_name)}", "bold")
        text.append(f" {printable(execution.version_tag)}  ", "dim")
        text.append(execution.status, _MARKS[execution.status][1])
        text.append(why_not_running(execution))
        text.append(f"  {execution.progress_percentage:.0f} %")
        return text.append(f"  {duration(execution.started_at, execution.completed_at, now)}", "dim")

    def step(self, line: Line, now: datetime) -> Text:
        """Return one step: mark, name, tool, attempts, duration, and why it failed."""
        step = line.step
        text = Text("  " * (line.depth + 1)).append_text(self.mark(shown_status(step)))
        text.append(f" {printable(line.label)}", "dim" if step.status == "skipped" else "")
        text.append(f"  {printable(step.tool_name or step.step_type)}", "dim")
        if step.attempt_number > 1:
            text.append(f"  attempt {step.attempt_number}/{step.max_attempts}", "yellow")
        if step.started_at is not None:
            text.append(f"  {duration(step.started_at, step.completed_at, now)}", "dim")
        said = _said(step)
        return text.append(f"  {said}", _style_of_said(step)) if said else text

    def mark(self, status: str) -> Text:
        """Return the sign of a status."""
        sign, style = _MARKS[status]
        return Text(_ASCII_MARKS[status] if self._ascii_only else sign, style)

    def tree(self, history: History, now: datetime, *, room: int | None = None) -> list[Text]:
        """Return all steps, at most ``room`` lines: finished steps inside others give way first."""
        lines = lines_of(history)
        kept = lines if room is None else _fitting(lines, room)
        drawn = [self.step(line, now) for line in kept]
        if len(kept) < len(lines):
            drawn.append(Text(f"  {len(lines) - len(kept)} more steps are not shown", "dim"))
        return drawn


def why_not_running(execution: ExecutionRecord) -> str:
    """Return in brackets what an execution is paused for, or that it awaits a place; else nothing."""
    if execution.pause_reason is not None:
        return f" ({execution.pause_reason})"
    return " (awaits a place)" if execution.place == "awaited" else ""


def shown_status(step: StepRecord) -> str:
    """Return the step's status, ``waiting`` when it waits for someone's word."""
    return "waiting" if step.awaiting is not None else step.status


def duration(started_at: datetime | None, completed_at: datetime | None, now: datetime) -> str:
    """Return the time between two moments, up to now for what has not ended, as ``0.4s`` or ``2m05s``."""
    if started_at is None:
        return ""
    seconds = max(0.0, ((completed_at or now) - started_at).total_seconds())
    if seconds < _SECONDS_PER_MINUTE:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), _SECONDS_PER_MINUTE)
    hours, minutes = divmod(minutes, _SECONDS_PER_MINUTE)
    return f"{hours}h{minutes:02d}m{rest:02d}s" if hours else f"{minutes}m{rest:02d}s"


def log_lines(execution: ExecutionRecord, last: int | None = _LOG_LINES) -> list[Text]:
    """Return log entries, newest last; ``last`` is how many."""
    entries = execution.execution_log if last is None else execution.execution_log[-last:]
    return [_log_line(entry) for entry in entries]


def outcome_lines(history: History) -> list[Text]:
    """Return what the reader needs after the tree: the output, the error, or for whom it waits."""
    execution = history.execution
    if execution.status == "completed":
        return [Text.assemble(("output ", "bold"), one_line_json(execution.output_data, limit=2_000))]
    if execution.error_message is not None:
        code = str((execution.error_details or {}).get("code", "failed"))
        return [Text.assemble(("failed ", "bold red"), f"{code}: {printable(execution.error_message)}")]
    return [line for wait in waits_in(history) for line in _wait_lines(wait)] or _resume_lines(execution)


def now_utc() -> datetime:
    """Return this machine's time, against which running durations are shown."""
    return datetime.now(UTC)


def _said(step: StepRecord) -> str:
    if step.error_message is not None and step.status in {"failed", "retrying"}:
        return printable(step.error_message)
    if step.status == "running" and step.progress is not None:
        return _progress_text(step.progress)
    if step.status == "completed" and step.poll_number > 1:
        return f"poll {step.poll_number}"
    return ""


def _style_of_said(step: StepRecord) -> str:
    if step.status == "running":
        return "cyan"
    return "yellow" if step.failure_handled or step.status == "retrying" else "red"


def _progress_text(progress: Mapping[str, JsonValue]) -> str:
    done, total, message = (progress.get(name) for name in ("progress", "total", "message"))
    figures = f"{done:g}/{total:g}" if total else f"{done:g}"
    return printable(f"{figures} {message}" if message else figures)


def _fitting(lines: list[Line], room: int) -> list[Line]:
    surplus = len(lines) - max(room - 1, 1)
    if len(lines) <= room:
        return lines
    droppable = sorted(range(len(lines)), key=lambda index: _weight(lines[index], index))
    dropped = set(droppable[:surplus])
    return [line for index, line in enumerate(lines) if index not in dropped]


def _weight(line: Line, index: int) -> tuple[bool, bool, int]:
    """Order lines by how little a reader misses them: finished before open, nested first, old first."""
    return (line.step.status not in FINISHED_STEP_STATUSES, line.depth == 0, index)


def _log_line(entry: Mapping[str, JsonValue]) -> Text:
    time = str(entry.get("timestamp", ""))[11:19]
    level = str(entry.get("level", ""))
    message = printable(str(entry.get("message", "")))
    return Text(f"  {printable(time)} {message}", _LEVEL_STYLES.get(level, "dim"))


def _wait_lines(wait: Wait) -> list[Text]:
    path = printable(wait.step.step_path)
    command = "approve" if wait.awaiting == "approval" else "resolve --resolution succeeded|failed|rerun"
    return [
        Text.assemble(("waits ", "bold yellow"), f"{path}: {printable(_question(wait))}"),
        Text(f"  archon-workflows control {wait.execution.id} {command} --step {path}", "cyan"),
    ]


def _question(wait: Wait) -> str:
    """Return what the one who decides is asked."""
    if wait.awaiting == "resolution":
        return "what became of its call is unknown"
    inputs: Mapping[str, JsonValue] = wait.step.input_data or {}
    approval: Mapping[str, JsonValue] = inputs.get("approval") or {}
    return str(approval.get("message", "approval"))


def _resume_lines(execution: ExecutionRecord) -> list[Text]:
    if execution.status != "paused":
        return []
    return [Text(f"  archon-workflows control {execution.id} resume", "cyan")]
