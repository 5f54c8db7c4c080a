"""The door: events in, turns out.

The interpreter keeps one agenda of moves. An event puts the first move on it; the turn is over when the
agenda is empty and it is clear whether the execution ended, is paused, or waits for further events.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from archon_workflows.errors import ExpressionError, WorkflowError
from archon_workflows.expressions import JsonValue
from archon_workflows.interpreter.core import Frame, RunningSequence
from archon_workflows.interpreter.finished import step_error
from archon_workflows.interpreter.logbook import Logbook
from archon_workflows.interpreter.outputs import evaluate_outputs
from archon_workflows.interpreter.plan import Plan, StepPlan
from archon_workflows.interpreter.scope import Context, Scope
from archon_workflows.interpreter.sequences import SequenceFrame
from archon_workflows.interpreter.steps import ActionFrame, WorkflowLinkFrame, new_frame
from archon_workflows.interpreter.turn import (
    CancelTimer,
    ChildFinished,
    Command,
    Controlled,
    DeadlinePassed,
    Event,
    InterruptionDecided,
    LimitPassed,
    Remarked,
    SetTimer,
    Started,
    TimerFired,
    ToolFinished,
    ToolLookedUp,
    ToolProgressed,
    Turn,
)
from archon_workflows.model.json_values import truncate_oversized
from archon_workflows.model.outcomes import StepError
from archon_workflows.model.records import (
    ControlRequest,
    ExecutionChange,
    ExecutionStatus,
    LogEntry,
    LogLevel,
    PauseReason,
    StepRecord,
)

MOVES_PER_TURN = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionFacts:
    """What the interpreter needs to know of the execution's row when an owner takes it.

    Attributes:
        parameters: the input after defaults, secret parameters in clear.
        secrets: what ``secrets.X`` may read, in clear.
        started_at: ``None`` for an execution that has not begun.
        log_length: entries in ``execution_log``.
        asks_before_destructive: whether someone must approve each step that calls a destructive tool.
        steps_allowed: how many rows it may have; ``None``: any number.
        timeout_minutes: how long it may run, when the server allows less than the template.
    """

    id: UUID
    template_id: UUID
    parameters: Mapping[str, JsonValue]
    trigger_context: Mapping[str, JsonValue]
    triggered_by: str | None
    status: ExecutionStatus
    pause_reason: PauseReason | None = None
    progress_percentage: float = 0.0
    started_at: datetime | None = None
    log_length: int = 0
    secrets: Mapping[str, str] | None = None
    asks_before_destructive: bool = False
    steps_allowed: int | None = None
    timeout_minutes: float | None = None


@dataclass(frozen=True, slots=True)
class _Timer:
    fired: Callable[[], None]
    at: datetime
    patient: bool


class Interpreter:
    """Advances one execution of one plan.

    Args:
        plan: the pinned version.
        facts: the execution's row.
        records: the step rows recorded so far, in any order.
        moves_per_turn: how many moves one turn makes; what is left is made by the next one, so that a loop
            without any effect neither blocks its owner nor fills one journal entry.
    """

    def __init__(
        self,
        plan: Plan,
        facts: ExecutionFacts,
        records: Iterable[StepRecord] = (),
        *,
        moves_per_turn: int = MOVES_PER_TURN,
    ) -> None:
        self.now = facts.started_at or datetime.min.replace(tzinfo=UTC)
        self._pause_requested = facts.status == "paused" and facts.pause_reason == "requested"
        self._draining = False
        self.secrets: Mapping[str, str] = facts.secrets or {}
        self._moves_per_turn = moves_per_turn
        self._plan = plan
        self._facts = facts
        self._status: ExecutionStatus = facts.status
        self._progress = facts.progress_percentage
        self._recorded = {record.step_path: record for record in records}
        self._paths = set(self._recorded)
        self._last_visits = _last_visits(self._recorded.values())
        self._logbook = Logbook(facts.log_length)
        self._agenda: deque[Callable[[], None]] = deque()
        self._held: list[Callable[[], None]] = []
        self._calls: dict[str, Frame] = {}
        self._cancelled_calls: dict[str, Frame] = {}
        self._awaiting: dict[str, Frame] = {}
        self._timers: dict[str, _Timer] = {}
        self._changes: dict[str, Any] = {}
        self._turn = Turn()
        self._root: SequenceFrame | None = None
        self._ended = False

    # -- for the engine --------------------------------------------------------------------------

    def handle(self, events: Sequence[Event]) -> Turn:
        """Take events in order and return the one turn that they led to.

        While ``has_moves_left``, call this again, with no events if there are none.
        """
        self._turn = Turn()
        moves_left = self._moves_per_turn
        for event in events:
            self.now = max(self.now, event.now)
            self._take(event)
            moves_left = self._make_moves(moves_left)
        self._make_moves(moves_left)
        if not (self._ended or self._agenda):
            self._settle()
        return self._close_turn()

    def hold(self) -> None:
        """Start nothing further: the owner is shutting down and somebody else goes on from here."""
        self._draining = True

    @property
    def holding(self) -> bool:
        """Whether nothing may be started now."""
        return self._pause_requested or self._draining

    @property
    def has_moves_left(self) -> bool:
        """Whether the last turn was cut short."""
        return bool(self._agenda) and not self._ended

    @property
    def has_ended(self) -> bool:
        """Whether the execution has a terminal status."""
        return self._ended

    @property
    def calls_running(self) -> bool:
        """Whether a tool call's outcome is still to come."""
        return any(isinstance(frame, ActionFrame) for frame in self._calls.values())

    def awaited_steps(self) -> tuple[str, ...]:
        """Return the step paths that wait for someone's word."""
        return tuple(self._awaiting)

    # -- events ----------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:  # noqa: C901, PLR0912 - one arm an event
        match event:
            case Started():
                self._start()
            case ToolFinished():
                self._tool_finished(event)
            case ToolProgressed():
                frame = self._calls.get(event.path)
                if isinstance(frame, ActionFrame):
                    frame.progressed(event.progress)
            case ChildFinished():
                frame = self._calls.get(event.path)
                if isinstance(frame, WorkflowLinkFrame):
                    frame.child_finished(event)
            case InterruptionDecided():
                frame = self._calls.get(event.path)
                if isinstance(frame, ActionFrame):
                    frame.interruption_decided(event.decision, event.reason)
            case ToolLookedUp():
                frame = self._calls.get(event.path)
                if isinstance(frame, ActionFrame):
                    frame.looked_up(event.approval_reason)
            case Remarked():
                self.log("warning", event.message, details=event.details)
            case TimerFired():
                timer = self._timers.pop(event.key, None)
                if timer is not None:
                    timer.fired()
            case Controlled():
                self._control(event.request)
            case LimitPassed():
                self._stop_short(event.error)
            case DeadlinePassed():
                self._run_out_of_time()

    def _start(self) -> None:
        if self._facts.started_at is None:
            self.log("info", "Execution started")
        if self._status == "pending":
            self._set_status("running")
        started_at = self._facts.started_at or self.now
        scope = Scope(
            context=Context(self._facts.trigger_context), global_names=self._global_names(started_at)
        )
        self._root = SequenceFrame(self, self._plan.sequence, scope, prefix="", owner=self)
        self._root.start()

    def _global_names(self, started_at: datetime) -> dict[str, object]:
        template, facts = self._plan.template, self._facts
        return {
            "workflow": {
                "name": template.name,
                "version": template.version,
                "id": str(facts.template_id),
                "parameters": facts.parameters,
            },
            "execution": {
                "id": str(facts.id),
                "started_at": started_at.astimezone(UTC).isoformat(),
                "triggered_by": facts.triggered_by,
            },
        }

    def _tool_finished(self, event: ToolFinished) -> None:
        frame = self._calls.get(event.path)
        if isinstance(frame, ActionFrame):
            frame.call_finished(event.outcome)
            return
        cancelled = self._cancelled_calls.pop(event.path, None)
        if isinstance(cancelled, ActionFrame):
            cancelled.answered_late(event.outcome)

    def _control(self, request: ControlRequest) -> None:
        self._turn.acknowledged.append(request.id)
        if self._ended:
            return
        match request.action:
            case "pause":
                self._hold_on_request(request)
            case "resume":
                self._resume(request)
            case "cancel":
                self._cancel(request)
            case "approve" | "reject" | "resolve":
                self._give_word(request)
            case "retry":
                self.log("info", _said("Retried", request), details=_retry_details(request))

    def _hold_on_request(self, request: ControlRequest) -> None:
        self._pause_requested = True
        self.log("info", _said("Pause requested", request))

    def _resume(self, request: ControlRequest) -> None:
        self.log("info", _said("Resumed", request))
        self._pause_requested = False
        held, self._held = self._held, []
        self._agenda.extend(held)

    def _cancel(self, request: ControlRequest) -> None:
        self._stop_everything()
        message = _said("Cancelled", request)
        self.log("warning", message)
        self._end("cancelled", error=StepError("cancelled", message))

    def _give_word(self, request: ControlRequest) -> None:
        frame = self._frame_waiting_for(request)
        if frame is not None:
            frame.word_came(request)
            return
        waiting = ", ".join(self._awaiting) or "none"
        self.log(
            "warning",
            f"Nothing done with {request.action}: no step waits for it at {request.step_path!r} "
            f"(waiting: {waiting})",
        )

    def _frame_waiting_for(self, request: ControlRequest) -> Frame | None:
        wanted = "resolution" if request.action == "resolve" else "approval"
        waiting = {path: one for path, one in self._awaiting.items() if one.record.awaiting == wanted}
        if request.step_path is None:
            return next(iter(waiting.values())) if len(waiting) == 1 else None
        return waiting.get(request.step_path)

    def _run_out_of_time(self) -> None:
        minutes, name = self._plan.template.timeout_minutes, "timeout_minutes"
        if self._facts.timeout_minutes is not None and self._facts.timeout_minutes < minutes:
            minutes, name = self._facts.timeout_minutes, "the server's limit of minutes"
        message = f"The execution ran longer than {name} ({minutes:g}); running steps were cancelled."
        self._stop_short(StepError("execution_timeout", message))

    def _stop_short(self, error: StepError) -> None:
        if self._ended:
            return
        self._stop_everything()
        self.log("error", error.message)
        self._end("failed", error=error)

    def _stop_everything(self) -> None:
        if self._root is not None:
            self._root.cancel()
        self._agenda.clear()
        self._held.clear()

    # -- the end of the top level ----------------------------------------------------------------

    def sequence_completed(self, sequence: SequenceFrame) -> None:
        """Every step is done: evaluate the outputs."""
        try:
            output = evaluate_outputs(self._plan, sequence)
        except ExpressionError as error:
            self._fail_outputs(step_error(error))
        except WorkflowError as error:
            self._fail_outputs(StepError(error.code, error.message, error.details))
        else:
            self.log("info", "Execution completed")
            self._end("completed", output=truncate_oversized(output)[0])

    def sequence_failed(self, sequence: SequenceFrame, error: StepError) -> None:
        """A failure was left unhandled."""
        del sequence
        self.log("error", f"Execution failed: {error.message}", details={"code": error.code})
        self._end("failed", error=error)

    def _fail_outputs(self, error: StepError) -> None:
        self.log("error", f"The outputs cannot be given: {error.message}", details={"code": error.code})
        self._end("failed", error=error)

    def _end(
        self, status: ExecutionStatus, *, output: JsonValue = None, error: StepError | None = None
    ) -> None:
        self._ended = True
        self._set_status(status)
        if error is not None:
            self._changes |= {"error_message": error.message, "error_details": error.as_json()}
        if status == "completed":
            self._changes |= {"output_data": output, "progress_percentage": 100.0}
        for key in list(self._timers):
            self.cancel_timer(key)
        self._turn.released = True

    # -- pausing ---------------------------------------------------------------------------------

    def _settle(self) -> None:
        reason = self._reason_to_pause()
        if reason is not None:
            self._pause(reason)
        elif self._status == "paused" and not self._draining:
            self._set_status("running")

    def _reason_to_pause(self) -> PauseReason | None:
        if self.calls_running:
            return None
        if self._pause_requested:
            return "requested"
        if self._draining:
            return None
        impatient = any(not timer.patient for timer in self._timers.values())
        if not self._awaiting or self._calls or impatient:
            return None
        in_doubt = any(frame.record.awaiting == "resolution" for frame in self._awaiting.values())
        return "in_doubt" if in_doubt else "approval"

    def _pause(self, reason: PauseReason) -> None:
        if self._status != "paused":
            self.log("info", f"Execution paused ({reason})")
        self._set_status("paused")
        self._changes["pause_reason"] = reason
        if reason != "requested":
            self._changes["wake_at"] = min((timer.at for timer in self._timers.values()), default=None)
        self._turn.released = True

    def _set_status(self, status: ExecutionStatus) -> None:
        if status != self._status:
            self._changes["status"] = status
        self._status = status

    # -- for frames ------------------------------------------------------------------------------

    @property
    def asks_before_destructive(self) -> bool:
        """Whether tools must be looked up, and destructive ones approved, before a step calls them."""
        return self._facts.asks_before_destructive

    @property
    def execution_id(self) -> UUID:
        """The execution's id."""
        return self._facts.id

    def later(self, move: Callable[[], None]) -> None:
        """Put a move on the agenda of this turn."""
        self._agenda.append(move)

    def gate(self, move: Callable[[], None]) -> None:
        """Make a move that starts something now, or when nothing holds the execution any more."""
        if self.holding:
            self._held.append(move)
        else:
            move()

    def recall(self, path: str) -> StepRecord | None:
        """Take what was recorded of that step path before this owner came; at most once."""
        return self._recorded.pop(path, None)

    def recall_last(self, path: str) -> StepRecord | None:
        """Return the last recorded visit of the step with that path (without a visit's number)."""
        return self._last_visits.get(path)

    def save(self, record: StepRecord) -> None:
        """Record the row with this turn."""
        self._paths.add(record.step_path)
        self._turn.steps[record.step_path] = record

    def log(
        self,
        level: LogLevel,
        message: str,
        frame: Frame | None = None,
        details: Mapping[str, JsonValue] | None = None,
    ) -> None:
        """Write a log entry."""
        entry = LogEntry(
            self.now,
            level,
            message,
            frame.plan.top_index if frame is not None else None,
            frame.plan.name if frame is not None else None,
            details or {},
        )
        self._logbook.write(entry, nested=frame is not None and not frame.sequence.is_top_level)

    def command(self, command: Command) -> None:
        """Ask for an effect after this turn is recorded."""
        self._turn.commands.append(command)

    def set_timer(self, key: str, at: datetime, fired: Callable[[], None], *, patient: bool = False) -> None:
        """Call ``fired`` at that time."""
        self._timers[key] = _Timer(fired, at, patient)
        self.command(SetTimer(key, at))

    def cancel_timer(self, key: str) -> None:
        """Forget the timer, if there is one."""
        if self._timers.pop(key, None) is not None:
            self.command(CancelTimer(key))

    def watch_call(self, frame: Frame) -> None:
        """Tell the frame the outcome of the call or child that it started."""
        self._calls[frame.path] = frame

    def forget_call(self, frame: Frame) -> None:
        """Do not tell the frame any more."""
        self._calls.pop(frame.path, None)

    def expect_late_answer(self, frame: Frame) -> None:
        """Record what a cancelled call still answers."""
        self._cancelled_calls[frame.path] = frame

    def await_word(self, frame: Frame) -> None:
        """Hand control requests for the frame's path to it."""
        self._awaiting[frame.path] = frame

    def stop_awaiting(self, frame: Frame) -> None:
        """The word came, or is not wanted any more."""
        self._awaiting.pop(frame.path, None)

    def context_changed(self, context: Context) -> None:
        """These context variables are to be recorded."""
        self._changes["execution_context"] = context.snapshot()

    def progressed(self, top_index: int, fraction: float) -> None:
        """A top-level step got so far; what is recorded never falls and is 100 only at the end."""
        percentage = min(round(100 * (top_index + fraction) / self._plan.total_steps, 2), 99.99)
        self._changes["current_step_index"] = top_index
        if percentage > self._progress:
            self._progress = percentage
            self._changes["progress_percentage"] = percentage

    def frame_for(self, sequence: RunningSequence, plan: StepPlan, path: str) -> Frame:
        """Return a new frame of the step's type."""
        return new_frame(self, sequence, plan, path)

    # -- within ----------------------------------------------------------------------------------

    def _make_moves(self, moves_left: int) -> int:
        while self._agenda and moves_left > 0 and not self._ended:
            self._agenda.popleft()()
            moves_left -= 1
            if self._facts.steps_allowed is not None and len(self._paths) > self._facts.steps_allowed:
                self._stop_short(_too_many_steps(self._facts.steps_allowed))
        return moves_left

    def _close_turn(self) -> Turn:
        turn = self._turn
        if self._changes:
            turn.change = ExecutionChange(**self._changes)
        turn.log, turn.log_dropped = self._logbook.take()
        self._changes = {}
        return turn


def _too_many_steps(allowed: int) -> StepError:
    message = f"The execution came to more than the {allowed:,} steps that are left to it and its links."
    return StepError("too_many_steps", message, {"limit": allowed})


def _last_visits(records: Iterable[StepRecord]) -> dict[str, StepRecord]:
    """Return the records by step path without the visit's number; of several visits the last."""
    last: dict[str, tuple[int, StepRecord]] = {}
    for record in records:
        path, _, visit = record.step_path.rpartition("#")
        base, number = (path, int(visit)) if path and visit.isdigit() else (record.step_path, 1)
        if base not in last or last[base][0] < number:
            last[base] = (number, record)
    return {base: record for base, (_, record) in last.items()}


def _said(what: str, request: ControlRequest) -> str:
    by = f" by {request.requested_by}" if request.requested_by else ""
    because = f": {request.reason}" if request.reason else ""
    return f"{what}{by}{because}"


def _retry_details(request: ControlRequest) -> dict[str, JsonValue]:
    asked = {"from_step": request.from_step, "version_number": request.version_number}
    return {name: value for name, value in asked.items() if value is not None}
