"""Watching an execution: read again at each change and shown as it stands, until nothing more will happen."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from time import monotonic
from uuid import UUID

import anyio
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.text import Text

from archon_workflows.cli.drawing import Drawing, log_lines, now_utc, shown_status
from archon_workflows.cli.history import History, is_settled, lines_of, read_history
from archon_workflows.cli.presentation import execution_json
from archon_workflows.cli.printable import as_json
from archon_workflows.cli.printer import Printer
from archon_workflows.engine.executions import Executions

LOOK_AGAIN_SECONDS = 0.5
"""How soon to look for changes of child executions, which do not touch their parent's row."""

READING_SHARE = 0.25
"""The part of the time that reading may take, so that watching a huge execution does not slow it down."""

SHORTEST_INTERVAL_SECONDS = 0.1
FRAMES_PER_SECOND = 8

Show = Callable[[History], None]


async def follow(executions: Executions, execution_id: UUID, show: Show) -> History:
    """Show the execution at each change; return when it has ended or waits for someone."""
    while True:
        began = monotonic()
        execution = await executions.read(execution_id)
        history = await read_history(executions, execution)
        show(history)
        if is_settled(history):
            return history
        await anyio.sleep(max(SHORTEST_INTERVAL_SECONDS, (monotonic() - began) / READING_SHARE))
        await executions.wait(execution_id, seconds=LOOK_AGAIN_SECONDS, since=execution.updated_at)


class Screen:
    """Shows histories in place on a terminal; the last one stays."""

    def __init__(self, printer: Printer) -> None:
        self._console = printer.out
        self._drawing = Drawing(ascii_only=printer.is_ascii_only)
        self._history: History | None = None

    def show(self, history: History) -> None:
        """Take the newest state; the next frame shows it."""
        self._history = history

    def live(self) -> Live:
        """Return the context in which the screen is redrawn."""
        return Live(self, console=self._console, refresh_per_second=FRAMES_PER_SECOND)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw one frame: running durations are those of this moment."""
        del console
        if self._history is not None:
            yield self._frame(self._history, options.height or options.max_height)

    def _frame(self, history: History, height: int) -> Group:
        now = now_utc()
        log = [] if is_settled(history) else log_lines(history.execution)
        room = None if is_settled(history) else height - len(log) - 2
        lines = [
            self._drawing.head(history.execution, now),
            *self._drawing.tree(history, now, room=room),
            *log,
        ]
        return Group(*(_cut(line) for line in lines))


class Transcript:
    """Writes a line for each change of a status, for terminals that cannot be drawn over and for files."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self._drawing = Drawing(ascii_only=printer.is_ascii_only)
        self._seen: dict[str, tuple[str, int]] = {}
        self._status: str | None = None

    def show(self, history: History) -> None:
        """Write what is new since the last call."""
        now = now_utc()
        for line in lines_of(history):
            state = (shown_status(line.step), line.step.run_number)
            if self._seen.get(line.address) != state:
                self._seen[line.address] = state
                self._printer.line(self._drawing.step(line, now))
        if history.execution.status != self._status:
            self._status = history.execution.status
            self._printer.line(self._drawing.head(history.execution, now))


class EventStream:
    """Writes changes as lines of JSON: ``{"event": "step" | "log" | "execution", ...}``."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self._seen: dict[str, tuple[object, ...]] = {}
        self._logged = 0
        self._last: object = None

    def show(self, history: History) -> None:
        """Write what is new since the last call."""
        self._write_steps(history)
        log = history.execution.execution_log
        for entry in log[self._logged :]:
            self._printer.json_line({"event": "log", **entry})
        self._logged = len(log)
        if history.execution.updated_at != self._last:
            self._last = history.execution.updated_at
            row = execution_json(history.execution)
            self._printer.json_line({"event": "execution", **row, "execution_log": []})

    def _write_steps(self, history: History) -> None:
        for line in lines_of(history):
            step = line.step
            state = (shown_status(step), step.run_number, step.progress)
            if self._seen.get(line.address) != state:
                self._seen[line.address] = state
                self._printer.json_line({"event": "step", "address": line.address, **as_json(step)})


def viewer(printer: Printer, *, stream: bool) -> tuple[Show, AbstractContextManager[object]]:
    """Return how to show an execution that is followed, and the context to be in meanwhile.

    With ``--json`` each change is written as a line (``stream``), or nothing is shown before the end.
    """
    if printer.is_live:
        screen = Screen(printer)
        return screen.show, screen.live()
    if printer.as_json:
        return (EventStream(printer).show if stream else _show_nothing), nullcontext()
    return Transcript(printer).show, nullcontext()


def _show_nothing(history: History) -> None:
    del history


def _cut(line: Text) -> Text:
    line.no_wrap = True
    line.overflow = "ellipsis"
    return line
