"""Where an execution stands: the step that failed it, and whose word it or its children wait for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from archon_workflows.engine.executions import Executions
from archon_workflows.errors import NotFound
from archon_workflows.model.records import Awaiting, ExecutionRecord, Prospect, Queue, StepFilter, StepRecord

STEPS_READ = 200
CHILDREN_READ = 20
LINK_DEPTH = 10

_PASSED_ON = frozenset({"branch_failed", "iteration_failed", "cancelled"})
"""Codes of steps that failed because another one did."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A step that waits for an approval, or for the resolution of an unknown outcome."""

    execution: ExecutionRecord
    step: StepRecord
    awaiting: Awaiting


@dataclass(frozen=True, slots=True)
class Standing:
    """An execution with what keeps it from going on.

    Attributes:
        failed: the step whose failure nothing handled, where there is one.
        running: steps that are under way, the innermost ones.
        waits: in it, and in the executions that its links started.
        prospect: who could advance it, while nobody does.
        queue: what is before it while it awaits a place among its template's executions.
    """

    execution: ExecutionRecord
    failed: StepRecord | None = None
    running: tuple[StepRecord, ...] = ()
    waits: tuple[Wait, ...] = ()
    queue: Queue | None = None
    prospect: Prospect | None = None


async def read_standing(executions: Executions, execution: ExecutionRecord, *, depth: int = 0) -> Standing:
    """Read what the execution's status alone does not say."""
    match execution.status:
        case "failed":
            which = StepFilter(statuses=("failed",))
            page = await executions.read_steps(execution.id, which, limit=STEPS_READ)
            return Standing(execution, failed=_culprit(page.records))
        case "running" | "paused":
            which = StepFilter(statuses=("pending", "running", "retrying"))
            page = await executions.read_steps(execution.id, which, limit=STEPS_READ)
            waits = [Wait(execution, step, step.awaiting) for step in page.records if step.awaiting]
            if depth < LINK_DEPTH:
                waits += await _waits_of_children(executions, page.records, depth)
            prospect = await _prospect(executions, execution)
            running = _innermost(page.records)
            return Standing(execution, running=running, waits=tuple(waits), prospect=prospect)
        case "pending" if execution.place == "awaited":
            return Standing(execution, queue=await executions.read_queue(execution.id))
        case "pending":
            return Standing(execution, prospect=await _prospect(executions, execution))
        case _:
            return Standing(execution)


async def _prospect(executions: Executions, execution: ExecutionRecord) -> Prospect | None:
    if execution.status == "paused" and not execution.control_requests:
        return None
    prospect = await executions.read_prospect(execution.id)
    return prospect if prospect.is_free else None


async def _waits_of_children(executions: Executions, steps: Iterable[StepRecord], depth: int) -> list[Wait]:
    waits: list[Wait] = []
    linked = [step.sub_workflow_execution_id for step in steps if step.status == "running"]
    for child_id in [one for one in linked if one is not None][:CHILDREN_READ]:
        try:
            child = await executions.read(child_id)
        except NotFound:
            continue  # its id is recorded before it is created
        waits += (await read_standing(executions, child, depth=depth + 1)).waits
    return waits


def _culprit(failed: Sequence[StepRecord]) -> StepRecord | None:
    unhandled = [step for step in failed if not step.failure_handled]
    causes = [step for step in unhandled if (step.error_details or {}).get("code") not in _PASSED_ON]
    return next(iter(causes or unhandled), None)


def _innermost(steps: Sequence[StepRecord]) -> tuple[StepRecord, ...]:
    active = [step for step in steps if step.status in ("running", "retrying") and step.awaiting is None]
    paths = [step.step_path for step in active]
    return tuple(one for one in active if not any(_is_inside(path, one.step_path) for path in paths))


def _is_inside(path: str, container: str) -> bool:
    return path.startswith(container) and path[len(container) : len(container) + 1] in (".", "[", "~")
