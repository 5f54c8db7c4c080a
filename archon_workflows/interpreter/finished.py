"""Finished steps: their errors and what references see of them."""

from archon_workflows.errors import ExpressionError
from archon_workflows.expressions import JsonValue
from archon_workflows.interpreter.scope import StepView
from archon_workflows.model.outcomes import StepError
from archon_workflows.model.records import StepRecord

EARLIER_ERRORS_KEPT = 20


def recorded_error(record: StepRecord) -> StepError:
    """Return the error of a failed step's row."""
    details = record.error_details or {}
    return StepError(
        str(details.get("code", "unknown")), record.error_message or "", details.get("details") or {}
    )


def earlier_errors(record: StepRecord) -> list[JsonValue]:
    """Return the errors of earlier attempts, the row's present one included: ``{attempt, code, message}``."""
    details = record.error_details or {}
    last = {key: details[key] for key in ("attempt", "code", "message") if key in details}
    return [*details.get("earlier", ()), *([last] if last else [])][-EARLIER_ERRORS_KEPT:]


def error_view(record: StepRecord) -> dict[str, JsonValue]:
    """Return the error of a failed step as expressions see it."""
    error = recorded_error(record).as_json()
    return {**error, "step": record.step_name, "attempt": record.attempt_number}


def view_of(record: StepRecord) -> StepView:
    """Return a finished step as references see it."""
    failed = record.status == "failed"
    return StepView(
        name=record.step_name,
        status=record.status,
        output=None if failed else record.output_data,
        error=error_view(record) if failed else None,
        attempts=record.attempt_number,
        truncated=record.output_truncated,
    )


def step_error(error: ExpressionError) -> StepError:
    """Return an expression's error as the failure of its step."""
    code = error.code if error.code == "payload_too_large" else "expression_error"
    message = f"{error.message} {error.suggestion}" if error.suggestion else error.message
    details: dict[str, JsonValue] = {"rule": error.code}
    if error.path is not None:
        details["path"] = error.path
    return StepError(code, message, details)
