"""Records for tests of presentation, with what a test does not care about filled in."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from archon_workflows.cli.history import History
from archon_workflows.model.records import ExecutionRecord, StepRecord

BEGINNING = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def execution(**columns: Any) -> ExecutionRecord:
    """Return an execution that has been running since the beginning."""
    execution_id: UUID = columns.get("id", uuid4())
    row: dict[str, Any] = {
        "id": execution_id,
        "workflow_template_id": uuid4(),
        "workflow_version_id": uuid4(),
        "workflow_name": "deploy",
        "version_number": 1,
        "version_tag": "1.0.0",
        "status": "running",
        "triggered_by": "test",
        "trigger_context": {},
        "input_parameters": {},
        "execution_context": {},
        "current_step_index": 0,
        "total_steps": 2,
        "progress_percentage": 50.0,
        "priority": 0,
        "place": None,
        "idempotency_key": None,
        "parent_execution_id": None,
        "parent_step_path": None,
        "root_execution_id": execution_id,
        "link_depth": 0,
        "required_tools": (),
        "pause_reason": None,
        "control_requests": (),
        "output_data": None,
        "error_message": None,
        "error_details": None,
        "execution_log": (),
        "log_dropped_count": 0,
        "owner_id": None,
        "fencing_token": 1,
        "lease_expires_at": None,
        "journal_sequence": 1,
        "wake_at": None,
        "deadline_at": None,
        "created_at": BEGINNING,
        "updated_at": BEGINNING,
        "started_at": BEGINNING,
        "completed_at": None,
        "paused_at": None,
    }
    return ExecutionRecord(**(row | columns))


def step(path: str, status: str = "completed", **columns: Any) -> StepRecord:
    """Return a step that took two seconds, or has been running since the beginning."""
    row: dict[str, Any] = {
        "step_path": path,
        "step_index": 0,
        "step_name": path.rpartition(".")[2],
        "step_type": "action",
        "step_config": {},
        "status": status,
        "tool_name": "deploy_tool",
        "started_at": BEGINNING,
        "completed_at": BEGINNING + timedelta(seconds=2) if status == "completed" else None,
    }
    return StepRecord(**(row | columns))


def history(*steps: StepRecord, children: dict[str, History] | None = None, **columns: Any) -> History:
    """Return an execution with these steps."""
    return History(execution(**columns), steps, children or {})
