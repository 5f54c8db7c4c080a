"""What a retry of an execution runs again: a pure choice among its rows."""

import re
from collections.abc import Sequence
from dataclasses import replace

from archon_workflows.errors import InvalidRequest, did_you_mean
from archon_workflows.interpreter.finished import earlier_errors
from archon_workflows.interpreter.plan import Plan, StepPlan
from archon_workflows.model.records import StepRecord

_SUFFIX = re.compile(r"(?:#(?P<visit>\d+))?(?:~\d+)?(?:\[\d+\])?$")


def records_to_reset(
    plan: Plan, records: Sequence[StepRecord], from_step: str | None
) -> tuple[StepRecord, ...]:
    """Return the rows that a retry resets to ``pending``, as they are to be recorded.

    Without ``from_step`` these are the failed and unfinished steps whose failure nothing handled, with their
    failure handlers' rows. With it (the name of a top-level step, or a step path) it is that step, everything
    first written after it, and the steps around it.

    Args:
        plan: the version that the retry runs on.
        records: all rows in the order in which they were first written.
        from_step: where to begin again.

    Raises:
        InvalidRequest: no row has that step path or name; the nearest one is named.
    """
    chosen = _unfinished(records) if from_step is None else _from(records, from_step)
    by_path = {record.step_path: record for record in records}
    handlers = {
        record.step_path
        for record in records
        if any(_is_handler_row(plan, around, record.step_path) for around in chosen)
    }
    return tuple(_reset(by_path[path]) for path in by_path if path in chosen | handlers)


def _unfinished(records: Sequence[StepRecord]) -> set[str]:
    final = {record.step_path for record in records if _is_final(record)}
    return {
        record.step_path
        for record in records
        if record.step_path not in final and not any(path in final for path in _around(record.step_path))
    }


def _is_final(record: StepRecord) -> bool:
    return record.status in ("completed", "skipped") or (record.status == "failed" and record.failure_handled)


def _from(records: Sequence[StepRecord], from_step: str) -> set[str]:
    paths = [record.step_path for record in records]
    matching = [path for path in paths if path == from_step] or [
        path for path in paths if "." not in path and _base(path) == from_step
    ]
    if not matching:
        raise InvalidRequest(
            f"No step {from_step!r} has run in this execution, so nothing can be retried from it.",
            code="unknown_step",
            path="/from_step",
            suggestion=did_you_mean(from_step, paths, noun="step"),
        )
    first = paths.index(matching[-1])
    return {*paths[first:], *_around(matching[-1])}


def _around(path: str) -> list[str]:
    """Return the step paths of the steps around one: ``deploy_all[2].deploy`` is inside ``deploy_all``."""
    around: list[str] = []
    segments = path.split(".")
    for depth in range(1, len(segments)):
        prefix = segments[: depth - 1]
        around.append(".".join([*prefix, _without_run(segments[depth - 1])]))
    return around


def _without_run(segment: str) -> str:
    return re.sub(r"(?:~\d+)?(?:\[\d+\])?$", "", segment)


def _base(segment: str) -> str:
    return _SUFFIX.sub("", segment)


def _is_handler_row(plan: Plan, failed: str, path: str) -> bool:
    """Whether ``path`` lies in the failure handler of the step at ``failed``."""
    if not (path.startswith((f"{failed}.", f"{failed}~"))):
        return False
    step = _step_at(plan, failed)
    if step is None or step.handler is None:
        return False
    depth = failed.count(".") + 1
    first_inside = _base(path.split(".")[depth])
    return any(inner.name == first_inside for inner in step.handler.steps)


def _step_at(plan: Plan, path: str) -> StepPlan | None:
    first, *inner = (_base(segment) for segment in path.split("."))
    step = plan.top_level_step(first)
    for name in inner:
        step = step.inner_step(name) if step is not None else None
    return step


def _reset(record: StepRecord) -> StepRecord:
    completed = record.status == "completed"
    earlier = earlier_errors(record)
    return replace(
        record,
        status="pending",
        attempt_number=1,
        poll_number=1,
        interruptions=0,
        generation=record.generation + (1 if completed else 0),
        wake_at=None,
        awaiting=None,
        output_data=None,
        output_truncated=False,
        tool_result=None,
        sub_workflow_execution_id=None if completed else record.sub_workflow_execution_id,
        context_updates=None,
        failure_handled=False,
        error_message=None,
        error_details={"earlier": earlier} if earlier else None,
        progress=None,
        started_at=None,
        completed_at=None,
    )
