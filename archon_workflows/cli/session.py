"""One call of the command: settings, the application it opens, and how it ends.

Every command runs through ``perform``: an error becomes a letter and an exit code, never a traceback.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType

import anyio
import typer
from pydantic import ValidationError

from archon_workflows.bootstrap import Application, open_application
from archon_workflows.cli.exits import ExitCode, exit_code_of_error
from archon_workflows.cli.printable import printable
from archon_workflows.cli.printer import Printer
from archon_workflows.errors import InvalidRequest, WorkflowError
from archon_workflows.settings import Settings

logger = logging.getLogger(__name__)

Work = Callable[[], Awaitable[ExitCode]]

_KEPT = (
    "Interrupted. An execution that was running is kept; the next process that executes "
    "(`archon-workflows serve`) goes on with it."
)


def perform(printer: Printer, work: Work, *, when_stopped: ExitCode = ExitCode.INTERRUPTED) -> None:
    """Do the command's work and end the process with its exit code.

    Args:
        printer: where errors go.
        work: the command itself.
        when_stopped: the code after Ctrl-C or SIGTERM.

    Raises:
        typer.Exit: always.
    """
    raise typer.Exit(_performed(printer, work, when_stopped))


def load_settings(*, tools: Path | None = None) -> Settings:
    """Return the settings of the environment, with what the command line says instead.

    Raises:
        InvalidRequest: a setting has an impossible value.
    """
    try:
        settings = Settings() if tools is None else Settings(tools=tools)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise InvalidRequest(
            f"The settings are not valid: {problems}",
            code="invalid_settings",
            suggestion="Settings are read from the environment variables ARCHON_WORKFLOWS_*.",
        ) from error
    log_to_stderr(settings.log_level)
    return settings


@asynccontextmanager
async def application(
    *, execute: bool, is_worker: bool = False, tools: Path | None = None
) -> AsyncGenerator[Application]:
    """Open the application with the settings of the environment.

    With ``execute`` this process advances executions; without it, it only reads and asks. A worker advances
    what the dispatch hands to it.
    """
    async with open_application(load_settings(tools=tools), execute=execute, is_worker=is_worker) as opened:
        yield opened


class PrintableFormatter(logging.Formatter):
    """Formats log records so that nothing in them steers the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        return printable(super().format(record), lines=True)


class StandardErrorHandler(logging.Handler):
    """Writes log records to what standard error is at that moment: above a live display if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        sys.stderr.write(self.format(record) + "\n")


def log_to_stderr(level: str) -> None:
    """Send the program's log to standard error, unless someone has already sent it somewhere."""
    handler = StandardErrorHandler()
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=level.upper())
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line for every request


def _performed(printer: Printer, work: Work, when_stopped: ExitCode) -> ExitCode:
    try:
        return anyio.run(_interruptible, work)
    except (KeyboardInterrupt, asyncio.CancelledError):
        if when_stopped is ExitCode.INTERRUPTED:
            printer.note(_KEPT)
        return when_stopped
    except BrokenPipeError:
        return _reader_has_gone()
    except Exception as error:  # noqa: BLE001 - the last door: whatever it is becomes a letter
        letter = _letter_of(error)
        printer.letter(letter)
        return exit_code_of_error(letter)


async def _interruptible(work: Work) -> ExitCode:
    """Let SIGTERM end the work as Ctrl-C does: leases are given back, tool servers ended.

    A plain handler instead of the loop's own, so that a web server may put its own in front for a while.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop(_number: int, _frame: FrameType | None) -> None:
        if task is not None:
            task.cancel()
        loop.call_soon_threadsafe(lambda: None)  # wakes the loop, as asyncio does for SIGINT

    before = signal.signal(signal.SIGTERM, stop)
    try:
        return await work()
    finally:
        signal.signal(signal.SIGTERM, before)


def _letter_of(error: Exception) -> WorkflowError:
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, WorkflowError):
            return cause
    if isinstance(causes[0], OSError):
        return WorkflowError(f"The system refuses: {causes[0]}", code="system_error")
    logger.debug("Unexpected error", exc_info=error)
    return WorkflowError(
        f"The program has a defect: {type(causes[0]).__name__}: {causes[0]}",
        code="internal_error",
        suggestion="Run it again with ARCHON_WORKFLOWS_LOG_LEVEL=debug and report what it prints.",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield what is inside the groups that task groups make."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - a group of anything
            yield from _causes(one)  # pyright: ignore[reportUnknownArgumentType] - likewise
    else:
        yield error


def _reader_has_gone() -> ExitCode:
    """Whoever read the output (``| head``) has enough; the interpreter must not complain when it flushes."""
    sys.stdout = None  # pyright: ignore[reportAttributeAccessIssue] - documented to be None without output
    return ExitCode.SUCCESS
