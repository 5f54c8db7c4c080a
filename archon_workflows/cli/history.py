"""An execution as it is in the database at one moment: its row, its steps, and the same of its children."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archon_workflows.engine.executions import Executions
from archon_workflows.errors import NotFound
from archon_workflows.model.records import (
    FINISHED_STEP_STATUSES,
    TERMINAL_STATUSES,
    Awaiting,
    ExecutionRecord,
    StepRecord,
)

_RUN_AND_ITEM = re.compile(r"(~\d+)?(\[\d+\])?$")


@dataclass(frozen=True, slots=True)
class History:
    """One execution with its step executions, in the order in which they were first written.

    Attributes:
        children: the child executions by the path of the step that started them.
    """

    execution: ExecutionRecord
    steps: tuple[StepRecord, ...]
    children: Mapping[str, "History"]


@dataclass(frozen=True, slots=True)
class Line:
    """One step of a history as a reader sees it: under its parent, with what it adds to the parent's path.

    Attributes:
        depth: 0 for a top-level step.
        address: the whole step path, with those of the link steps above it: ``setup_backup / plan``.
    """

    step: StepRecord
    depth: int
    label: str
    address: str


@dataclass(frozen=True, slots=True)
class Wait:
    """One step that waits for someone's word, in the execution itself or in one below it."""

    execution: ExecutionRecord
    step: StepRecord
    awaiting: Awaiting


async def read_history(executions: Executions, execution: ExecutionRecord) -> History:
    """Read the steps of an execution and of all executions below it."""
    steps = (await executions.read_steps(execution.id)).records
    children: dict[str, History] = {}
    for step in steps:
        child = await _child_of(executions, step)
        if child is not None:
            children[step.step_path] = await read_history(executions, child)
    return History(execution, steps, children)


async def _child_of(executions: Executions, step: StepRecord) -> ExecutionRecord | None:
    if step.sub_workflow_execution_id is None:
        return None
    try:
        return await executions.read(step.sub_workflow_execution_id)
    except NotFound:
        return None  # its id is recorded before it is created


def waits_in(history: History) -> list[Wait]:
    """Return the steps that wait for an approval or a resolution."""
    own = [Wait(history.execution, step, step.awaiting) for step in history.steps if step.awaiting]
    return own + [wait for child in history.children.values() for wait in waits_in(child)]


def is_settled(history: History) -> bool:
    """Say whether nothing more will happen until someone does something."""
    return history.execution.status in TERMINAL_STATUSES or is_waiting(history)


def is_waiting(history: History) -> bool:
    """Say whether the execution is paused, or does nothing but wait for executions below it that are."""
    execution = history.execution
    if execution.control_requests:
        return False
    if execution.status != "running":
        return execution.status == "paused"
    open_steps = [step for step in history.steps if step.status not in FINISHED_STEP_STATUSES]
    around = {parent_path(step.step_path) for step in open_steps}
    innermost = [step for step in open_steps if step.step_path not in around]
    return bool(innermost) and all(_waits(history, step) for step in innermost)


def _waits(history: History, step: StepRecord) -> bool:
    child = history.children.get(step.step_path)
    return step.awaiting is not None or (child is not None and is_waiting(child))


def lines_of(history: History) -> list[Line]:
    """Return the steps of the history and of its children, each parent right before what is inside it."""
    return _lines(history, depth=0, above="")


def _lines(history: History, *, depth: int, above: str) -> list[Line]:
    inside: dict[str, list[StepRecord]] = {}
    paths = {step.step_path for step in history.steps}
    for step in history.steps:
        parent = parent_path(step.step_path)
        inside.setdefault(parent if parent in paths else "", []).append(step)
    return _lines_inside(history, inside, parent="", depth=depth, above=above)


def _lines_inside(
    history: History, inside: Mapping[str, Sequence[StepRecord]], *, parent: str, depth: int, above: str
) -> list[Line]:
    lines: list[Line] = []
    for step in inside.get(parent, ()):
        label = step.step_path.removeprefix(parent).removeprefix(".")
        address = above + step.step_path
        lines.append(Line(step, depth, label, address))
        lines += _lines_inside(history, inside, parent=step.step_path, depth=depth + 1, above=above)
        child = history.children.get(step.step_path)
        if child is not None:
            lines += _lines(child, depth=depth + 1, above=f"{address} / ")
    return lines


def parent_path(step_path: str) -> str:
    """Return the path of the step that this one is inside of; empty for a top-level step."""
    return _RUN_AND_ITEM.sub("", step_path.rpartition(".")[0])
