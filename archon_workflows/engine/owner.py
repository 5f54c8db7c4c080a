"""One execution while this process owns it: events in, turns recorded, commands performed.

Intent before effect: a turn's commands are performed only after its journal entry is durable. When the
database refuses an entry, another owner has the execution; this one stops and leaves everything to it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from uuid import UUID

import anyio
import anyio.lowlevel
from pydantic_core import to_json

from archon_workflows.engine.calls import ToolCaller
from archon_workflows.engine.clock import DatabaseClock
from archon_workflows.engine.journal import Journal
from archon_workflows.engine.lease import Lease
from archon_workflows.engine.mask import Mask
from archon_workflows.engine.timers import Alarm, Timers
from archon_workflows.engine.tool_policy import Admission
from archon_workflows.engine.tree_limits import TreeShare
from archon_workflows.gateway.port import ToolEntry, ToolProgress
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
    Interpreter,
    LimitPassed,
    LookUpInterrupted,
    LookUpTool,
    Remarked,
    SetTimer,
    StartChild,
    Started,
    TimerFired,
    ToolFinished,
    ToolProgressed,
    Turn,
)
from archon_workflows.model.outcomes import Outcome, StepError, Unknown
from archon_workflows.model.records import ControlRequest, ExecutionRecord, JournalAnswer, JournalEntry

logger = logging.getLogger(__name__)

PROGRESS_INTERVAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What an owner can do to the world, shared by all owners of the process.

    Attributes:
        run_child: starts the child (or finds it) and returns when it has ended; told which of the child's
            parameters hold a secret.
        hint: looks soon at an execution that may have something new.
        changed: tells those who wait for the execution's every change that something was recorded.
        is_awaited: whether anybody waits for the execution.
    """

    caller: ToolCaller
    journal: Journal
    clock: DatabaseClock
    run_child: Callable[[UUID, StartChild, frozenset[str]], Awaitable[ChildFinished]]
    hint: Callable[[UUID], None]
    changed: Callable[[UUID], None]
    is_awaited: Callable[[UUID], bool]


class Owner:
    """Advances one execution until it ends, is paused, or another owner takes over.

    Args:
        admission: which tools the steps may call.
        share: what the execution does is counted there.
        fencing_token: proves the ownership in every journal entry.
        lease: no tool is called when it may have run out.
        journal_sequence: the number of the last entry in the database.
        deadline_at: when the execution has run for ``timeout_minutes``.

    Attributes:
        row_left: the execution's row as the last entry left it, if anybody waited for that.
    """

    def __init__(
        self,
        effects: Effects,
        interpreter: Interpreter,
        mask: Mask,
        admission: Admission,
        share: TreeShare,
        *,
        execution_id: UUID,
        root_id: UUID,
        fencing_token: int,
        lease: Lease,
        journal_sequence: int,
        deadline_at: datetime,
    ) -> None:
        self.execution_id = execution_id
        self.fencing_token = fencing_token
        self.lease = lease
        self.row_left: ExecutionRecord | None = None
        self._root_id = root_id
        self._effects = effects
        self._interpreter = interpreter
        self._mask = mask
        self._admission = admission
        self._share = share
        self._sequence = journal_sequence
        self._deadline_at = deadline_at
        self._events: list[Event] = []
        self._arrived = asyncio.Event()
        self._timers = Timers()
        self._alarm = Alarm(effects.clock, self._arrived.set)
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._effects_running: set[asyncio.Task[None]] = set()
        self._progress_posted: dict[str, float] = {}
        self._seen_requests: set[UUID] = set()
        self._draining = False
        self._scope = anyio.CancelScope()

    async def run(self, waiting: Sequence[ControlRequest]) -> bool:
        """Advance the execution; return whether its lease was given back with the last entry.

        Args:
            waiting: the control requests from before the execution was claimed; a pause among them holds
                even for its first step.
        """
        self.take_requests(one for one in waiting if one.action in ("pause", "resume"))
        self._post(Started(self._now()))
        self.take_requests(waiting)
        released = False
        with self._scope:
            async with asyncio.TaskGroup() as tasks:
                released = await self._advance(tasks)
                for effect in self._effects_running:
                    effect.cancel()
        self._alarm.cancel()
        return released

    def take_requests(self, requests: Iterable[ControlRequest]) -> None:
        """Hand in control requests; those already taken are passed over."""
        for request in requests:
            if request.id not in self._seen_requests:
                self._seen_requests.add(request.id)
                self._post(Controlled(request, self._now()))

    def drain(self) -> None:
        """Start nothing further and stop when the running calls have their outcomes."""
        self._draining = True
        self._interpreter.hold()
        self._arrived.set()

    def stop(self) -> None:
        """Stop at once: another owner has the execution, or the grace period is over."""
        self._scope.cancel()

    async def _advance(self, tasks: asyncio.TaskGroup) -> bool:
        while True:
            events = await self._next_events()
            turn = self._interpreter.handle(events)
            excess = self._share.count_turn(turn)
            if turn.released:
                await self._stop_calls(turn)
            self._mask.turn(turn)
            answer = await self._record(turn)
            if answer is not None and not answer.accepted:
                logger.warning("Execution %s has another owner now; this one stops", self.execution_id)
                return True
            if excess is not None and not turn.released:
                self._post(LimitPassed(excess, self._now()))
                continue
            self._perform(turn.commands, tasks)
            if turn.released:
                return True
            if self._interpreter.has_moves_left:
                await anyio.lowlevel.checkpoint()
            elif self._draining and not self._interpreter.calls_running:
                return False

    async def _next_events(self) -> Sequence[Event]:
        while not (self._events or self._interpreter.has_moves_left):
            if self._arrived.is_set():
                self._arrived.clear()
                if self._draining:
                    return ()
            self._alarm.set(min(self._timers.next_at() or self._deadline_at, self._deadline_at))
            await self._arrived.wait()
            self._fire_due_timers()
        events, self._events = self._events, []
        return events

    def _post(self, event: Event) -> None:
        self._events.append(event)
        self._arrived.set()

    def _now(self) -> datetime:
        return self._effects.clock.now()

    # -- recording -------------------------------------------------------------------------------

    async def _record(self, turn: Turn) -> JournalAnswer | None:
        if turn.is_empty:
            return None
        self._sequence += 1
        entry = JournalEntry(
            execution_id=self.execution_id,
            fencing_token=self.fencing_token,
            sequence=self._sequence,
            change=turn.change,
            steps=tuple(turn.steps.values()),
            log=turn.log,
            log_dropped=turn.log_dropped,
            acknowledged=turn.acknowledged,
            cancelled_children=[one.child_id for one in turn.commands if isinstance(one, CancelChild)],
            release=turn.released,
            read_back=turn.released and self._effects.is_awaited(self.execution_id),
        )
        answer = await self._effects.journal.write(entry)
        self._effects.changed(self.execution_id)
        self.row_left = answer.execution
        self.take_requests(answer.control_requests)
        return answer

    async def _stop_calls(self, turn: Turn) -> None:
        """Before the last entry: cancel what still runs, and take the answers that came meanwhile into it."""
        for command in turn.commands:
            if isinstance(command, CancelCall):
                self._cancel_call(command.path)
        await anyio.lowlevel.checkpoint()
        late = [event for event in self._events if isinstance(event, ToolFinished)]
        if late and self._interpreter.has_ended:
            turn.steps |= self._interpreter.handle(late).steps

    # -- commands --------------------------------------------------------------------------------

    def _perform(self, commands: Sequence[Command], tasks: asyncio.TaskGroup) -> None:
        for command in commands:
            match command:
                case CallTool():
                    self._calls[command.path] = self._start(self._call(command), tasks)
                case CancelCall():
                    self._cancel_call(command.path)
                case StartChild():
                    self._start(self._run_child(command), tasks)
                case CancelChild():
                    self._effects.hint(command.child_id)
                case SetTimer():
                    self._timers.set(command.key, command.at)
                case CancelTimer():
                    self._timers.cancel(command.key)
                case LookUpInterrupted():
                    self._start(self._look_up_interrupted(command), tasks)
                case LookUpTool():
                    self._start(self._look_up(command), tasks)

    def _start(self, effect: Coroutine[None, None, None], tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
        """Perform an effect beside the others; an anyio task would cost as much as all else of a step."""
        task = tasks.create_task(effect)
        self._effects_running.add(task)
        task.add_done_callback(self._effects_running.discard)
        return task

    def _cancel_call(self, path: str) -> None:
        call = self._calls.pop(path, None)
        if call is not None:
            call.cancel()

    async def _call(self, command: CallTool) -> None:
        outcome = await self._effects.caller.call(
            command,
            trace_id=self._root_id,
            lease=self.lease,
            admission=lambda tool: self._admitted(command.tool_name, tool),
            on_progress=lambda step: self._progressed(command.path, step),
        )
        self._share.count_output(_size_of(outcome))
        self._calls.pop(command.path, None)
        self._progress_posted.pop(command.path, None)
        self._post(ToolFinished(command.path, self._mask.outcome(outcome), self._now()))

    def _admitted(self, tool_name: str, tool: ToolEntry) -> StepError | None:
        return self._admission.error(
            tool_name, tool, lambda message, details: self._post(Remarked(message, details, self._now()))
        )

    def _progressed(self, path: str, progress: ToolProgress) -> None:
        """Record a call's progress, but not every word of a tool that talks a lot."""
        if (
            monotonic() - self._progress_posted.get(path, -PROGRESS_INTERVAL_SECONDS)
            < PROGRESS_INTERVAL_SECONDS
        ):
            return
        self._progress_posted[path] = monotonic()
        step = {"progress": progress.progress, "total": progress.total, "message": progress.message}
        said = {name: value for name, value in step.items() if value is not None}
        self._post(ToolProgressed(path, said, self._now()))

    async def _look_up(self, command: LookUpTool) -> None:
        self._post(await self._effects.caller.look_up(command, self._now))

    async def _look_up_interrupted(self, command: LookUpInterrupted) -> None:
        self._post(await self._effects.caller.decide_interruption(command, self._now))

    async def _run_child(self, command: StartChild) -> None:
        secret = frozenset(name for name, value in command.parameters.items() if self._mask.hides(value))
        self._post(await self._effects.run_child(self.execution_id, command, secret))

    # -- time ------------------------------------------------------------------------------------

    def _fire_due_timers(self) -> None:
        now = self._now()
        for key in self._timers.take_due(now):
            self._post(TimerFired(key, now))
        if now >= self._deadline_at:
            self._post(DeadlinePassed(now))


def _size_of(outcome: Outcome) -> int:
    result = None if isinstance(outcome, Unknown) else outcome.result
    return len(to_json(result)) if result is not None else 0
