"""The exit codes of the command: what a script can tell apart without reading a word."""

from enum import IntEnum

from archon_workflows.cli.history import History, is_waiting
from archon_workflows.errors import (
    Conflict,
    ExpressionError,
    InvalidParameters,
    InvalidRequest,
    InvalidTemplate,
    NotFound,
    WorkflowError,
)
from archon_workflows.model.json_values import InvalidJson


class ExitCode(IntEnum):
    """Why the command ended."""

    SUCCESS = 0
    """It did what was asked; an execution that was followed has completed."""
    WORKFLOW_FAILED = 1
    """The execution that was followed failed or was cancelled."""
    BAD_INPUT = 2
    """Wrong usage, an invalid template or parameter, an unknown name, a state that forbids the request."""
    TROUBLE = 3
    """The database, a tool server, or the program itself."""
    WAITING = 4
    """The execution that was followed is paused: it waits for an approval, a resolution or a resume."""
    INTERRUPTED = 130
    """Ctrl-C or SIGTERM. An execution that was running stays and goes on with the next process."""


_BAD_INPUT = (
    InvalidTemplate,
    InvalidParameters,
    InvalidRequest,
    InvalidJson,
    ExpressionError,
    NotFound,
    Conflict,
)


def exit_code_of(history: History) -> ExitCode:
    """Return the code for an execution that was followed to its end or until it waits for someone."""
    if history.execution.status in {"failed", "cancelled"}:
        return ExitCode.WORKFLOW_FAILED
    return ExitCode.WAITING if is_waiting(history) else ExitCode.SUCCESS


def exit_code_of_error(error: WorkflowError) -> ExitCode:
    """Return whether the caller has to change something (bad input) or the surroundings are in trouble."""
    return ExitCode.BAD_INPUT if isinstance(error, _BAD_INPUT) else ExitCode.TROUBLE
