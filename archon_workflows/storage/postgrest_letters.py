"""PostgREST's answers that are refusals, as the project's own errors: what happened, and what to do.

Three voices speak here: Postgres through PostgREST (a SQLSTATE), PostgREST itself (``PGRST...``), and the
gateway in front of both (a status, often with a page of HTML). Not here: sending, repeating, reading rows.
"""

from typing import Any, Final

import httpx
from pydantic import TypeAdapter

from archon_workflows.errors import StorageError, WorkflowError
from archon_workflows.storage.refusals import refusal
from archon_workflows.storage.supabase_project import WHERE_KEYS_ARE, WHERE_URLS_ARE, WRITER

_LETTER: Final = TypeAdapter(dict[str, Any])

UNAVAILABLE: Final = "database_unavailable"
RETRY_AFTER: Final = "retry_after_seconds"
"""Key of ``details``: how long the gateway asked to be left alone."""

MIGRATE: Final = (
    "Paste migration/add_workflow_system.sql ('archon-workflows migrate --print') into the project's SQL "
    "editor. If that was done before, its API has not noticed: run  notify pgrst, 'reload schema';  there."
)
UPGRADE: Final = "Upgrade the project in its dashboard under Settings, Infrastructure."
RESUME: Final = "Restore the project in its dashboard; executions go on by themselves then."

_SQLSTATE_LENGTH: Final = 5
_NOT_IN_SCHEMA_CACHE: Final = frozenset(
    {"PGRST200", "PGRST201", "PGRST202", "PGRST203", "PGRST204", "PGRST205"}
)
_NOT_IN_DATABASE: Final = frozenset({"42883", "42P01", "42703", "3F000"})
_SCHEMA_HIDDEN: Final = "PGRST106"
PAST_THE_END: Final = "PGRST103"

TOO_MANY_REQUESTS: Final = 429
PROJECT_PAUSED: Final = 540
_TOO_LARGE: Final = frozenset({413, 414, 431})
_REQUEST_TIMEOUT: Final = 408
_LONGEST_EXCERPT: Final = 200


def letter_of(response: httpx.Response) -> WorkflowError:
    """Return the error for an answer that is no success; its body has been read."""
    said = _said(response)
    code = said.get("code")
    if isinstance(code, str) and code.startswith("PGRST"):
        return _postgrests(code, said)
    if isinstance(code, str) and len(code) == _SQLSTATE_LENGTH:
        return _databases(code, said)
    return _gateways(response, said)


def not_an_api(response: httpx.Response) -> StorageError:
    """Return the error for an address where something else than PostgREST answers."""
    return StorageError(
        f"{response.url.netloc.decode()} answers {response.status_code}, but not as a Supabase project does.",
        code="supabase_url_invalid",
        suggestion=WHERE_URLS_ARE,
    )


def cut_short(response: httpx.Response) -> StorageError:
    """Return the error for an answer of which a part is missing."""
    return StorageError(
        f"An answer of {response.url.netloc.decode()} was cut after {len(response.content)} bytes.",
        code=UNAVAILABLE,
        suggestion="The connection is bad. Every write is harmless to repeat: try again.",
    )


def no_answer(host: str, cause: Exception) -> StorageError:
    """Return the error for a request that was not answered at all."""
    what = str(cause) or type(cause).__name__
    return StorageError(
        f"{host} does not answer: {what}",
        code=UNAVAILABLE,
        suggestion="Check the network and SUPABASE_URL. The name of a project that was paused for long or "
        "deleted is not found at all.",
    )


def left_alone(seconds: float) -> StorageError:
    """Return the error for a request that was not sent, since the gateway asked to be left alone."""
    return StorageError(
        f"The project asked for no further request within {seconds:.0f} seconds.",
        code=UNAVAILABLE,
        suggestion="Wait; or give the project more compute in its dashboard.",
        details={RETRY_AFTER: seconds},
    )


def wait_asked_for(response: httpx.Response) -> float | None:
    """Return the seconds of ``Retry-After``; dates, which no gateway here sends, count as none."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None


def _said(response: httpx.Response) -> dict[str, Any]:
    try:
        return _LETTER.validate_json(response.content)
    except ValueError:
        return {}


def _postgrests(code: str, said: dict[str, Any]) -> StorageError:
    text = f"The project's API says: {said.get('message')} ({code})"
    if code in _NOT_IN_SCHEMA_CACHE:
        return StorageError(text, code="migration_missing", suggestion=MIGRATE)
    if code == _SCHEMA_HIDDEN:
        advice = "Add 'public' to the exposed schemas in the dashboard under Settings, Data API."
        return StorageError(text, code="schema_not_exposed", suggestion=advice)
    match code.removeprefix("PGRST")[0]:
        case "0" | "X":
            return StorageError(text, code=UNAVAILABLE, suggestion=said.get("hint") or "Try again.")
        case "1":
            advice = f"PostgREST 12 or newer is needed. {UPGRADE}"
            return StorageError(text, code="postgrest_too_old", suggestion=advice)
        case "3":
            return StorageError(text, code="login_refused", suggestion=WHERE_KEYS_ARE)
        case _:
            return StorageError(text, suggestion=said.get("hint"))


def _databases(sqlstate: str, said: dict[str, Any]) -> WorkflowError:
    message, hint = str(said.get("message")), said.get("hint")
    if sqlstate in _NOT_IN_DATABASE:
        text = f"The database says: {message} (SQLSTATE {sqlstate})"
        return StorageError(text, code="migration_missing", suggestion=MIGRATE)
    if sqlstate == "42501":
        return StorageError(
            f"The database says: {message} (SQLSTATE {sqlstate})",
            code="permission_denied",
            suggestion=f"Only {WRITER} may. {WHERE_KEYS_ARE} If it is one, run "
            "migration/add_workflow_system.sql again: it repairs the grants.",
        )
    return refusal(sqlstate, message, hint)


def _gateways(response: httpx.Response, said: dict[str, Any]) -> StorageError:
    status, host = response.status_code, response.url.netloc.decode()
    text = f"{host} answers {status}: {_excerpt(response, said)}"
    if status in (401, 403):
        return StorageError(text, code="login_refused", suggestion=WHERE_KEYS_ARE)
    if status == PROJECT_PAUSED:
        return StorageError(f"The project {host} is paused.", code="project_paused", suggestion=RESUME)
    if status == TOO_MANY_REQUESTS:
        wait = wait_asked_for(response)
        details = {} if wait is None else {RETRY_AFTER: wait}
        advice = "Too many requests: wait, or give the project more compute."
        return StorageError(text, code=UNAVAILABLE, suggestion=advice, details=details)
    if status in _TOO_LARGE:
        advice = "The gateway refuses requests of this size; set ARCHON_WORKFLOWS_DATABASE_URL as well."
        return StorageError(text, code="value_refused", suggestion=advice)
    if status >= 500 or status == _REQUEST_TIMEOUT:  # noqa: PLR2004 - the class of server errors
        advice = "The project is starting, overloaded or under repair; see status.supabase.com."
        return StorageError(text, code=UNAVAILABLE, suggestion=advice)
    return not_an_api(response)


def _excerpt(response: httpx.Response, said: dict[str, Any]) -> str:
    text = said.get("message") or said.get("msg") or said.get("error") or response.reason_phrase
    return str(text)[:_LONGEST_EXCERPT]
