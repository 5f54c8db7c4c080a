"""A world for the interpreter: it performs commands in memory, in any order, and can lose its process.

Tools are functions of their arguments and of the attempt's number, so that two runs of one template can be
compared however often the process was lost in between.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid5

from archon_workflows.interpreter import (
    CallTool,
    CancelCall,
    CancelChild,
    CancelTimer,
    ChildFinished,
    Controlled,
    DeadlinePassed,
    Event,
    ExecutionFacts,
    Interpreter,
    InterruptionDecided,
    LookUpInterrupted,
    LookUpTool,
    SetTimer,
    StartChild,
    Started,
    TimerFired,
    ToolFinished,
    ToolLookedUp,
    Turn,
    compile_plan,
    records_to_reset,
)
from archon_workflows.model.outcomes import Failed, Outcome, StepError, Succeeded
from archon_workflows.model.parsing import parse_template
from archon_workflows.model.records import TERMINAL_STATUSES, ControlRequest, StepRecord
from archon_workflows.model.template import Template

EXECUTION_ID = UUID("00000000-0000-4000-8000-000000000001")
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)

Tool = Callable[[Mapping[str, Any], int], Outcome]
Crash = Literal["before_recording", "after_recording", "after_calling"]


def template_of(document: Mapping[str, Any]) -> Template:
    parsed = parse_template({"name": "under_test", **document})
    assert parsed.template is not None, parsed.findings
    return parsed.template


def succeed(arguments: Mapping[str, Any], attempt: int) -> Outcome:
    """A tool that answers with what it was told to."""
    del attempt
    return Succeeded(arguments.get("answer", dict(arguments)), {"raw": True})


def fail(arguments: Mapping[str, Any], attempt: int) -> Outcome:
    """A tool that fails; with ``until`` it fails before that attempt and then answers."""
    if attempt >= arguments.get("until", 10**9):
        return Succeeded({"attempt": attempt})
    code = arguments.get("code", "tool_error")
    return Failed(StepError(code, f"no luck with attempt {attempt}"))


TOOLS: dict[str, Tool] = {"succeed": succeed, "fail": fail}


def hangs(tool_name: str) -> bool:
    """Whether calls of the tool never return by themselves."""
    return tool_name == "hang"


@dataclass
class World:
    """One execution of one template.

    Attributes:
        order: chooses which of ``n`` pending effects happens next.
        crashes: after which turns (counted from 0) the process is lost, and at which moment.
        destructive: tools whose interrupted calls must not be repeated unasked.
    """

    template: Template
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    linked: Mapping[str, Template] = field(default_factory=dict[str, Template])
    tools: Mapping[str, Tool] = field(default_factory=lambda: TOOLS)
    order: Callable[[int], int] = lambda _: 0
    crashes: Mapping[int, Crash] = field(default_factory=dict[int, Crash])
    destructive: frozenset[str] = frozenset()
    execution_id: UUID = EXECUTION_ID
    trigger_context: Mapping[str, Any] = field(default_factory=dict[str, Any])
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])
    moves_per_turn: int = 1_000

    def __post_init__(self) -> None:
        self.plan = compile_plan(self.template)
        self.now = BEGINNING
        self.status: Any = "pending"
        self.pause_reason: Any = None
        self.started_at: datetime | None = None
        self.records: dict[str, StepRecord] = {}
        self.columns: dict[str, Any] = {
            "progress_percentage": 0.0,
            "execution_context": dict(self.trigger_context),
        }
        self.log: list[Any] = []
        self.log_dropped = 0
        self.calls: list[CallTool] = []
        self.calls_after_result: list[str] = []
        self.turns = 0
        self.children: dict[UUID, World] = {}
        self.progress_seen: list[float] = []
        self._pending: list[Event | CallTool | StartChild] = []
        self._timers: dict[str, datetime] = {}
        self._interpreter: Interpreter | None = None

    # -- what a test does ------------------------------------------------------------------------

    def run(self, *requests: ControlRequest) -> "World":
        """Advance until the execution has ended, is paused, or nothing can happen any more."""
        self._open(requests)
        while self.status not in TERMINAL_STATUSES and self._interpreter is not None:
            if not self._happen():
                break
        return self

    def step_once(self) -> bool:
        """Let one pending effect happen."""
        return self._happen()

    def control(self, action: Any, **fields: Any) -> "World":
        """Send a control request to the process, or to the one that takes the execution up for it."""
        name = f"{action}{len(self.log)}{self.turns}"
        request = ControlRequest(id=uuid5(self.execution_id, name), action=action, **fields)
        if self._interpreter is not None:
            self._turn([Controlled(request, self.now)])
            return self
        return self.run(request)

    def retry(self, from_step: str | None = None, template: Template | None = None) -> "World":
        """Reopen a failed or cancelled execution as the engine does."""
        self.template = template or self.template
        self.plan = compile_plan(self.template)
        for record in records_to_reset(self.plan, tuple(self.records.values()), from_step):
            self.records[record.step_path] = record
        self.status = "pending"
        return self.run()

    def run_out_of_time(self) -> "World":
        """Let ``timeout_minutes`` pass."""
        self._turn([DeadlinePassed(self.now)])
        return self

    def lose_process(self) -> "World":
        """Forget everything that is not recorded."""
        self._interpreter = None
        self._pending.clear()
        self._timers.clear()
        return self

    def start(self) -> "World":
        """Take the execution up without letting any effect happen."""
        self._open(())
        return self

    @property
    def output(self) -> Any:
        return self.columns.get("output_data")

    @property
    def error(self) -> Any:
        return self.columns.get("error_details")

    @property
    def statuses(self) -> dict[str, str]:
        return {path: record.status for path, record in self.records.items()}

    @property
    def called_paths(self) -> list[str]:
        return [call.path for call in self.calls]

    # -- how it happens --------------------------------------------------------------------------

    def _open(self, requests: Sequence[ControlRequest]) -> None:
        self._interpreter = Interpreter(
            self.plan, self._facts(), self.records.values(), moves_per_turn=self.moves_per_turn
        )
        self._turn([Started(self.now), *(Controlled(request, self.now) for request in requests)])

    def _facts(self) -> ExecutionFacts:
        return ExecutionFacts(
            id=self.execution_id,
            template_id=self.execution_id,
            parameters=self.parameters,
            trigger_context=self.trigger_context,
            triggered_by="a test",
            status=self.status,
            pause_reason=self.pause_reason,
            progress_percentage=self.columns["progress_percentage"],
            started_at=self.started_at,
            log_length=len(self.log),
            secrets=self.secrets,
        )

    def _turn(self, events: Sequence[Event]) -> None:
        assert self._interpreter is not None
        turn = self._interpreter.handle(events)
        has_moves_left = self._interpreter.has_moves_left
        crash = self.crashes.get(self.turns)
        self.turns += 1
        if crash == "before_recording":
            self._crash()
            return
        self._record(turn)
        if turn.released:
            self._interpreter = None
            self._pending.clear()
            self._timers.clear()
        elif crash == "after_recording":
            self._crash()
        else:
            self._perform(turn)
            if crash == "after_calling":
                self._crash()
            elif has_moves_left:
                self._turn(())

    def _crash(self) -> None:
        self.lose_process()
        if self.status not in TERMINAL_STATUSES:
            self._open(())

    def _record(self, turn: Turn) -> None:
        for path, record in turn.steps.items():
            before = self.records.get(path)
            assert record.attempt_number <= record.max_attempts
            if before is not None and before.status == "completed":
                assert record.status == "completed", f"{path} was completed and is {record.status}"
            self.records[path] = record
        self.columns |= {name: value for name, value in _columns(turn).items() if value is not None}
        self.progress_seen.append(self.columns["progress_percentage"])
        self.log.extend(turn.log)
        self.log_dropped += turn.log_dropped
        if turn.change.status is not None:
            self.status = turn.change.status
            if self.started_at is None:
                self.started_at = self.now
        self.pause_reason = turn.change.pause_reason if self.status == "paused" else None

    def _perform(self, turn: Turn) -> None:
        for command in turn.commands:
            match command:
                case CallTool():
                    self._note_call(command)
                case StartChild():
                    self._pending.append(command)
                case SetTimer():
                    self._timers[command.key] = command.at
                case CancelTimer():
                    self._timers.pop(command.key, None)
                case CancelCall():
                    self._pending = [
                        one for one in self._pending if getattr(one, "path", None) != command.path
                    ]
                case CancelChild():
                    pass
                case LookUpInterrupted():
                    decision = "pause" if command.tool_name in self.destructive else "retry"
                    self._pending.append(
                        InterruptionDecided(command.path, decision, "by its annotations", self.now)
                    )
                case LookUpTool():
                    reason = "it is destructive" if command.tool_name in self.destructive else None
                    self._pending.append(ToolLookedUp(command.path, reason, self.now))

    def _note_call(self, command: CallTool) -> None:
        self.calls.append(command)
        if self.records[command.path].status == "completed":
            self.calls_after_result.append(command.path)
        self._pending.append(command)

    def _happen(self) -> bool:
        ready = [one for one in self._pending if not (isinstance(one, CallTool) and hangs(one.tool_name))]
        if ready:
            chosen = ready[self.order(len(ready))]
            self._pending.remove(chosen)
            self._turn([self._event(chosen)])
            return True
        if self._timers:
            key = min(self._timers, key=lambda one: (self._timers[one], one))
            self.now = max(self.now, self._timers.pop(key))
            self._turn([TimerFired(key, self.now)])
            return True
        return False

    def _event(self, chosen: Event | CallTool | StartChild) -> Event:
        self.now += timedelta(milliseconds=1)
        if isinstance(chosen, CallTool):
            attempt = self.records[chosen.path].attempt_number
            outcome = self.tools[chosen.tool_name](chosen.arguments, attempt)
            return ToolFinished(chosen.path, outcome, self.now)
        if isinstance(chosen, StartChild):
            return self._child(chosen)
        return replace(chosen, now=self.now)

    def _child(self, command: StartChild) -> ChildFinished:
        if command.workflow_name not in self.linked:
            error = StepError("workflow_not_found", f"no workflow {command.workflow_name!r}")
            return ChildFinished(command.path, "failed", None, error, self.now)
        child = self.children.get(command.child_id)
        if child is None:
            child = World(
                self.linked[command.workflow_name],
                command.parameters,
                self.linked,
                self.tools,
                execution_id=command.child_id,
            )
            self.children[command.child_id] = child
            child.run()
        error = StepError.from_json(child.error) if child.error else None
        return ChildFinished(command.path, child.status, child.output, error, self.now)


def _columns(turn: Turn) -> dict[str, Any]:
    change = turn.change
    return {
        "output_data": change.output_data,
        "error_message": change.error_message,
        "error_details": change.error_details,
        "execution_context": change.execution_context,
        "progress_percentage": change.progress_percentage,
        "current_step_index": change.current_step_index,
    }
