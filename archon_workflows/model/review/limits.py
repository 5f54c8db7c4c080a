"""Limits, waits and retries that cannot do what they seem to say."""

from collections.abc import Iterator

from archon_workflows.model.findings import Finding
from archon_workflows.model.outcomes import NEVER_RETRIED
from archon_workflows.model.review.layout import Layout, StepPlace
from archon_workflows.model.rules import finding
from archon_workflows.model.template import Template


def review_limits(layout: Layout) -> Iterator[Finding]:
    """Yield ``on_limit`` without a limit, waits longer than the run may take, and retries that never come."""
    yield from _limit(layout.template)
    for place in layout.steps:
        yield from _waits(place, layout.template.timeout_minutes)
        for number, code in enumerate(place.step.retry_on or ()):
            if code in NEVER_RETRIED:
                path = f"{place.path}/retry_on/{number}"
                yield finding(
                    "never_retried",
                    path,
                    f"{code!r} is never retried: trying again cannot mend it.",
                    suggestion="Remove it, and handle it with on_failure.",
                    patch=({"op": "remove", "path": path},),
                )


def _limit(template: Template) -> Iterator[Finding]:
    if "on_limit" in template.model_fields_set and template.max_concurrent_executions is None:
        yield finding(
            "on_limit_without_limit",
            "/on_limit",
            f"{template.on_limit!r} never happens, since any number of executions may run at a time.",
            suggestion="Add max_concurrent_executions, or remove on_limit.",
            patch=({"op": "remove", "path": "/on_limit"},),
        )


def _waits(place: StepPlace, timeout_minutes: float) -> Iterator[Finding]:
    step = place.step
    waits = {"delay_seconds": step.delay_seconds}
    if step.timeout_seconds is not None:
        waits["timeout_seconds"] = step.timeout_seconds
    if step.repeat_until is not None:
        waits["repeat_until/interval_seconds"] = step.repeat_until.interval_seconds
    for field, seconds in waits.items():
        if seconds > timeout_minutes * 60:
            yield finding(
                "delay_over_timeout",
                f"{place.path}/{field}",
                f"{seconds:g} s is longer than the whole run may take ({timeout_minutes:g} minutes).",
                suggestion="Shorten it, or raise timeout_minutes.",
            )
