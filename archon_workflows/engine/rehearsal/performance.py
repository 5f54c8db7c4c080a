"""One dry execution: the real interpreter, given and made-up results, and a clock that jumps.

Tools answer at once; timers are waited for by turning the clock forward; whoever is asked for approval says
yes. A child runs to its end when it is started, with a clock of its own that begins at that moment.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from uuid import UUID, uuid4

from archon_workflows.engine.mask import Mask
from archon_workflows.engine.rehearsal.pieces import Piece
from archon_workflows.engine.rehearsal.readings import Reading
from archon_workflows.engine.rehearsal.stage import Stage
from archon_workflows.engine.rehearsal.stubs import CHILD, failure_in, static_path
from archon_workflows.engine.timers import Timers
from archon_workflows.engine.vault import secret_values
from archon_workflows.errors import Conflict, WorkflowError
from archon_workflows.interpreter import (
    CallTool,
    CancelCall,
    CancelChild,
    CancelTimer,
    ChildFinished,
    Command,
    Controlled,
    DeadlinePassed,
    Event,
    ExecutionFacts,
    Interpreter,
    LookUpInterrupted,
    LookUpTool,
    SetTimer,
    StartChild,
    Started,
    TimerFired,
    ToolFinished,
    ToolLookedUp,
    Turn,
)
from archon_workflows.interpreter.plan import StepPlan
from archon_workflows.model.outcomes import Failed, JsonValue, Outcome, StepError, Succeeded
from archon_workflows.model.parameters import bind_parameters
from archon_workflows.model.records import ControlRequest, StepRecord
from archon_workflows.model.steps import WorkflowLinkStep

APPROVER = "dry run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One execution that is to be performed.

    Attributes:
        parameters: after defaults, secret ones in clear.
        secrets: clear texts that must not be seen, those of the executions around it included.
        prefix: what its step paths begin with: the link's step path and ``/``.
        depth: links around it.
        result: what is read of its result by the link.
    """

    piece: Piece
    parameters: Mapping[str, JsonValue]
    secrets: frozenset[str]
    begins_at: datetime
    prefix: str = ""
    depth: int = 0
    result: Reading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartEnd:
    """How a dry execution ended; ``steps`` are its rows, each child's after its link's."""

    status: str
    output: JsonValue
    error: StepError | None
    steps: tuple[StepRecord, ...]
    at: datetime


async def perform(stage: Stage, part: Part) -> PartEnd:
    """Perform an execution to its end.

    Raises:
        InvalidRequest: ``dry_run_too_long``.
    """
    return await _Performance(stage, part).run()


class _Performance:
    def __init__(self, stage: Stage, part: Part) -> None:
        template = part.piece.plan.template
        script = stage.script_of(part.piece)
        self._stage = stage
        self._part = part
        self._now = part.begins_at
        self._deadline = part.begins_at + timedelta(minutes=template.timeout_minutes)
        self._mask = Mask(part.secrets)
        self._readings = stage.readings_of(part.piece, part.result)
        self._plans = script.steps
        self._records: dict[str, StepRecord] = {}
        self._children: dict[str, list[StepRecord]] = {}
        self._child_paths: dict[UUID, str] = {}
        self._approved: set[str] = set()
        self._timers = Timers()
        self._pending: list[tuple[datetime, int, Event]] = []
        self._numbers = count()
        facts = ExecutionFacts(
            id=uuid4(),
            template_id=part.piece.record.id,
            parameters=part.parameters,
            trigger_context=stage.trigger_context,
            triggered_by=stage.triggered_by,
            status="pending",
            secrets=stage.secrets,
            asks_before_destructive=stage.tools.asks_before_destructive,
        )
        self._interpreter = Interpreter(script.plan, facts)

    async def run(self) -> PartEnd:
        """Feed events until the execution has ended."""
        events: Sequence[Event] = [Started(self._now)]
        while True:
            await self._stage.take_turn()
            turn = self._interpreter.handle(events)
            self._mask.turn(turn)
            self._records |= turn.steps
            if self._interpreter.has_ended:
                return self._end(turn)
            for command in turn.commands:
                await self._carry_out(command)
            if self._interpreter.has_moves_left:
                events = ()
                continue
            self._approve()
            events = self._next_events()

    def _end(self, turn: Turn) -> PartEnd:
        change = turn.change
        error = StepError.from_json(change.error_details) if change.error_details else None
        return PartEnd(
            status=str(change.status),
            output=change.output_data,
            error=error,
            steps=tuple(self._rows()),
            at=self._now,
        )

    def _rows(self) -> Iterator[StepRecord]:
        for path, record in self._records.items():
            yield replace(record, step_path=self._part.prefix + path)
            yield from self._children.get(path, ())

    # -- commands --------------------------------------------------------------------------------

    async def _carry_out(self, command: Command) -> None:
        match command:
            case CallTool():
                outcome = self._mask.outcome(await self._outcome(command))
                self._expect(ToolFinished(command.path, outcome, self._now), self._now)
            case StartChild():
                self._child_paths[command.child_id] = command.path
                finished = await self._child(command)
                self._expect(finished, finished.now)
            case CancelCall():
                self._forget(command.path)
            case CancelChild():
                self._forget(self._child_paths.get(command.child_id, ""))
            case SetTimer():
                self._timers.set(command.key, command.at)
            case CancelTimer():
                self._timers.cancel(command.key)
            case LookUpTool():
                reason = self._stage.tools.approval_reason(command.tool_name)
                self._expect(ToolLookedUp(command.path, reason, self._now), self._now)
            case LookUpInterrupted():
                pass  # nothing is interrupted where nothing is called

    async def _outcome(self, command: CallTool) -> Outcome:
        step = self._plans[static_path(command.path)]
        tool = self._stage.tools.entry(command.tool_name)
        error = self._stage.tools.lookup_error(command.tool_name)
        if tool is not None:
            made_up = list(self._stage.invention.made_up_texts(command.arguments))
            refusal = self._stage.tools.refusal(self._part.piece.plan.template, tool)
            error = refusal or await self._stage.tools.argument_error(tool, command.arguments, made_up)
        if error is not None:
            return Failed(error)
        stub = self._stage.stubs.find(self._part.prefix + command.path, step)
        if stub is not None:
            given_error = failure_in(stub[0])
            return Succeeded(stub[0]) if given_error is None else Failed(given_error)
        return Succeeded(self._made_up(command.path, step, tool.output_schema if tool else None))

    def _made_up(self, path: str, step: StepPlan, schema: Mapping[str, JsonValue] | None) -> JsonValue:
        name = step.name if step.is_named else self._part.prefix + path
        self._stage.generated[name] = None
        return self._stage.invention.output(name, self._readings.of(step.step), schema)

    # -- children --------------------------------------------------------------------------------

    async def _child(self, command: StartChild) -> ChildFinished:
        step = self._plans[static_path(command.path)]
        stub = self._stage.stubs.find(self._part.prefix + command.path, step)
        if stub is not None:
            error = failure_in(stub[0])
            status = "completed" if error is None else "failed"
            return ChildFinished(command.path, status, stub[0] if error is None else None, error, self._now)
        try:
            end = await perform(self._stage, self._child_part(command, step))
        except WorkflowError as error:
            if error.code == "dry_run_too_long":
                raise
            failure = StepError(error.code, error.message, error.details)
            return ChildFinished(command.path, "failed", None, failure, self._now)
        self._children.setdefault(command.path, []).extend(end.steps)
        status = "completed" if end.status == "completed" else "failed"
        return ChildFinished(command.path, status, end.output, end.error, end.at)

    def _child_part(self, command: StartChild, step: StepPlan) -> Part:
        link = step.step
        assert isinstance(link, WorkflowLinkStep)  # noqa: S101 - only links start children
        depth = self._part.depth + 1
        if depth > self._stage.max_link_depth:
            message = (
                f"{link.workflow_name!r} would be linked {depth} deep; "
                f"the limit is {self._stage.max_link_depth}."
            )
            raise Conflict(message, code="link_too_deep")
        piece = self._stage.pieces.behind(link)
        if isinstance(piece, WorkflowError):
            raise piece
        parameters = bind_parameters(piece.plan.template, command.parameters)
        run = self._records[command.path].run_number
        occurrence = command.path + (f"~{run}" if run > 1 else "")
        return Part(
            piece=piece,
            parameters=parameters,
            secrets=self._part.secrets.union(secret_values(piece.plan.template, parameters)),
            begins_at=self._now,
            prefix=f"{self._part.prefix}{occurrence}{CHILD}",
            depth=depth,
            result=self._readings.of(link),
        )

    # -- events ----------------------------------------------------------------------------------

    def _approve(self) -> None:
        """Say yes to whoever asks; nothing is interrupted here, so nobody asks for anything else."""
        for path in self._interpreter.awaited_steps():
            if path not in self._approved:
                self._approved.add(path)
                self._stage.approvals.append(self._part.prefix + path)
                request = ControlRequest(id=uuid4(), action="approve", requested_by=APPROVER, step_path=path)
                self._expect(Controlled(request, self._now), self._now)

    def _expect(self, event: Event, at: datetime) -> None:
        heapq.heappush(self._pending, (at, next(self._numbers), event))

    def _forget(self, path: str) -> None:
        """Do not let the call or child of a step finish any more."""
        self._pending = [
            one
            for one in self._pending
            if not (isinstance(one[2], (ToolFinished, ChildFinished)) and one[2].path == path)
        ]
        heapq.heapify(self._pending)

    def _next_events(self) -> Sequence[Event]:
        """Turn the clock to what comes next and return it."""
        timer_at = self._timers.next_at()
        pending_at = self._pending[0][0] if self._pending else None
        times = [at for at in (timer_at, pending_at) if at is not None]
        if not times:
            raise RuntimeError(
                f"Nothing can happen any more in the dry run of {self._part.piece.record.name!r}."
            )
        self._now = max(self._now, min(times))
        if self._now > self._deadline:
            self._now = self._deadline
            return [DeadlinePassed(self._now)]
        if pending_at is not None and pending_at <= self._now:
            return [heapq.heappop(self._pending)[2]]
        return [TimerFired(key, self._now) for key in self._timers.take_due(self._now)]
