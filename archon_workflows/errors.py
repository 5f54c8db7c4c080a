"""The errors of the project: letters to the reader, who is often an agent that can mend its own mistake.

::

    WorkflowError                     root; never raised itself
    ├── InvalidTemplate               the document has findings of severity error; carries all of them
    ├── InvalidParameters             the input of a run does not fit the template's parameters
    ├── InvalidRequest                an argument of a verb is wrong (unknown action, bad page, ...)
    ├── ExpressionError               see ``archon_workflows.expressions`` for its children
    ├── NotFound                      no such template, version, execution or step
    ├── Conflict                      the thing exists but its state forbids what was asked
    ├── Fenced                        another owner holds the execution; this one must stop
    ├── ToolServerError               a tool server cannot be reached or its configuration is wrong
    └── StorageError                  the database is away, not migrated, or newer than the program
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from traceback import format_tb
from typing import Any, ClassVar


class WorkflowError(Exception):
    """What happened, where, with which value, and what to do about it.

    Attributes:
        message: one sentence for the reader; it shows the value that was wrong.
        code: a stable snake_case code, the same in every transport.
        path: JSON pointer into what was given, or ``None`` where the whole is meant.
        suggestion: what to do, with the nearest valid name where there is one.
        details: further JSON facts (candidates, findings, sizes).
    """

    default_code: ClassVar[str] = "workflow_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        path: str | None = None,
        suggestion: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.path = path
        self.suggestion = suggestion
        self.details: dict[str, Any] = dict(details or {})

    def as_json(self) -> dict[str, Any]:
        """Return ``{code, message, path?, suggestion?, details?}`` without empty entries."""
        letter: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.path is not None:
            letter["path"] = self.path
        if self.suggestion:
            letter["suggestion"] = self.suggestion
        if self.details:
            letter["details"] = self.details
        return letter


class InvalidTemplate(WorkflowError):
    """The template has findings of severity error; nothing was stored. ``details["findings"]`` holds all."""

    default_code = "invalid_template"


class InvalidParameters(WorkflowError):
    """The input parameters do not fit the template's ``parameters``; nothing was started."""

    default_code = "invalid_parameters"


class InvalidRequest(WorkflowError):
    """An argument of a verb is missing, unknown or contradicts another."""

    default_code = "invalid_request"


class ExpressionError(WorkflowError):
    """An expression cannot be parsed or has no value."""

    default_code = "expression_error"


class NotFound(WorkflowError):
    """Nothing has that name or id; ``suggestion`` names the nearest one."""

    default_code = "not_found"


class Conflict(WorkflowError):
    """The thing exists, but its state forbids what was asked (name taken, stale version, has executions)."""

    default_code = "conflict"


class Fenced(WorkflowError):
    """Another owner took the execution over; the write was refused and this owner must stop."""

    default_code = "fenced"


class ToolServerError(WorkflowError):
    """A tool server cannot be reached, or its configuration is wrong."""

    default_code = "tool_server_error"


class StorageError(WorkflowError):
    """The database is away (``database_unavailable``), not migrated (``migration_missing``) or too new."""

    default_code = "storage_error"


def nearest(name: str, known: Sequence[str]) -> str | None:
    """Return the known name that is spelled most like ``name``, or ``None`` where none is alike."""
    matches = get_close_matches(name, known, n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(name: str, known: Sequence[str], *, noun: str) -> str:
    """Return the sentence that helps someone who wrote ``name`` where one of ``known`` was meant."""
    match = nearest(name, known)
    if match is not None:
        return f"Did you mean {match!r}?"
    if not known:
        return f"There is no {noun} to choose from."
    shown = ", ".join(repr(one) for one in sorted(known)[:12])
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""  # noqa: PLR2004 - a readable list
    return f"Known {noun}s: {shown}{more}."


def origin_of(error: BaseException) -> str:
    """Return an unexpected error's type and trace for a log, without its text, which may hold a secret."""
    return f"{type(error).__name__}\n{''.join(format_tb(error.__traceback__))}".rstrip()
