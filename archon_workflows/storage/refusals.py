"""The database's errors as the project's own: SQLSTATE in, letter out. Knows no driver.

The class AW is documented at the top of ``migration/add_workflow_system.sql``.
"""

from typing import Final

from archon_workflows.errors import Conflict, NotFound, StorageError, WorkflowError

_MISSING: Final = {
    "AW001": "template_not_found",
    "AW002": "version_not_found",
    "AW003": "execution_not_found",
    "AW004": "schedule_not_found",
}
_CONFLICTS: Final = {
    "AW101": "name_taken",
    "AW102": "stale_version",
    "AW103": "template_in_use",
    "AW104": "wrong_status",
    "AW105": "idempotency_key_reused",
    "AW106": "parent_ended",
    "AW107": "journal_gap",
    "AW108": "version_is_immutable",
    "AW109": "too_many_executions",
    "AW110": "template_changed",
}
_MIGRATIONS: Final = {"AW201": "schema_newer", "AW202": "foreign_tables"}

_UNDEFINED: Final = frozenset({"42883", "42P01", "42703", "3F000"})
_LOGIN_CLASSES: Final = frozenset({"28", "3D"})
_VALUE_CLASSES: Final = frozenset({"22", "23", "54"})
_PASSING_CLASSES: Final = frozenset({"08", "40", "53", "57", "58"})
_PASSING: Final = frozenset({"55P03", "25006"})

REPEAT_AT_ONCE: Final = frozenset({"40001", "40P01"})
"""The transaction was rolled back for another's sake (serialisation, deadlock): repeat it."""

CURABLE: Final = frozenset(
    {
        "database_unavailable",
        "login_refused",
        "permission_denied",
        "migration_missing",
        "project_paused",
        "schema_not_exposed",
        "supabase_url_invalid",
    }
)
"""Codes of what is wrong with a database as a whole: it passes by itself or when somebody mends it.

What was to be written is not to blame, so it can wait. At a program's start only ``database_unavailable``
is worth waiting for; the others are for somebody to mend first.
"""

MIGRATE = (
    "Run `archon-workflows migrate`, or paste migration/add_workflow_system.sql into the Supabase SQL editor."
)


def refusal(sqlstate: str | None, message: str, hint: str | None = None) -> WorkflowError:
    """Return the project's error for a SQLSTATE; what is not known is a ``StorageError``.

    Its code is ``database_unavailable`` only where trying again can help.
    """
    code = sqlstate or ""
    if code in _MISSING:
        return NotFound(_sentence(message), code=_MISSING[code], suggestion=hint)
    if code in _CONFLICTS:
        return Conflict(_sentence(message), code=_CONFLICTS[code], suggestion=hint)
    if code in _MIGRATIONS:
        return StorageError(_sentence(message), code=_MIGRATIONS[code], suggestion=hint)
    return _trouble(code, message, hint)


def unavailable(cause: BaseException) -> StorageError:
    """Return the error for a database that did not answer."""
    what = str(cause) or type(cause).__name__
    return StorageError(
        f"The database does not answer: {what}",
        code="database_unavailable",
        suggestion="Check that it runs and that its URL is right, then try again.",
    )


def _trouble(sqlstate: str, message: str, hint: str | None) -> StorageError:
    text = f"The database says: {message} (SQLSTATE {sqlstate or 'unknown'})"
    if sqlstate in _UNDEFINED:
        return StorageError(text, code="migration_missing", suggestion=MIGRATE)
    if sqlstate == "42501":
        suggestion = "Connect as the owner of the tables, or as service_role; then run the migration again."
        return StorageError(text, code="permission_denied", suggestion=suggestion)
    if sqlstate[:2] in _LOGIN_CLASSES:
        return StorageError(text, code="login_refused", suggestion="Check user, password and database name.")
    if sqlstate[:2] in _VALUE_CLASSES:
        return StorageError(text, code="value_refused", suggestion=hint)
    if sqlstate[:2] in _PASSING_CLASSES or sqlstate in _PASSING:
        return StorageError(text, code="database_unavailable", suggestion=hint)
    return StorageError(text, suggestion=hint)


def _sentence(message: str) -> str:
    return f"{message[:1].upper()}{message[1:]}."
