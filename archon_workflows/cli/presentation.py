"""Records as ``--json`` gives them: JSON objects whose fields are the columns of the tables."""

from typing import Any

from archon_workflows.cli.history import History
from archon_workflows.cli.printable import as_json
from archon_workflows.engine.vault import without_secrets
from archon_workflows.model.records import ExecutionRecord, Page, TemplateRecord

_OF_THE_OWNER = ("owner_id", "fencing_token", "lease_expires_at", "journal_sequence")


def execution_json(execution: ExecutionRecord) -> dict[str, Any]:
    """Return an execution; secret parameters are masked, and what only its owner needs is left out."""
    row: dict[str, Any] = as_json(execution)
    row["input_parameters"] = without_secrets(execution.input_parameters)
    return {name: value for name, value in row.items() if name not in _OF_THE_OWNER}


def history_json(history: History) -> dict[str, Any]:
    """Return an execution with its ``steps``; a step that linked has its ``child``, likewise."""
    steps: list[dict[str, Any]] = []
    for step in history.steps:
        row: dict[str, Any] = as_json(step)
        child = history.children.get(step.step_path)
        steps.append(row if child is None else {**row, "child": history_json(child)})
    return {**execution_json(history.execution), "steps": steps}


def template_json(template: TemplateRecord) -> dict[str, Any]:
    """Return a template without its document, as lists show it."""
    row: dict[str, Any] = as_json(template)
    return {name: value for name, value in row.items() if name != "document"}


def page_json(name: str, records: list[dict[str, Any]], page: Page[Any], offset: int) -> dict[str, Any]:
    """Return one page of a list: the records under ``name``, ``total`` and ``offset``."""
    return {name: records, "total": page.total, "offset": offset}
