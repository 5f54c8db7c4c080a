"""``workflow_link``: one child execution a run; the parent waits for it."""

from typing import Any
from uuid import UUID, uuid5

from archon_workflows.expressions import JsonValue
from archon_workflows.interpreter.steps.container import ContainerFrame
from archon_workflows.interpreter.turn import CancelChild, ChildFinished, StartChild
from archon_workflows.model.outcomes import NEVER_RETRIED, StepError
from archon_workflows.model.steps import WorkflowLinkStep


class WorkflowLinkFrame(ContainerFrame):
    """Names the child before it exists, so that a crash between the two never makes a second one."""

    @property
    def step(self) -> WorkflowLinkStep:
        """The step as the document has it."""
        assert isinstance(self.plan.step, WorkflowLinkStep)  # noqa: S101 - frames are made by step type
        return self.plan.step

    def intent(self, inputs: JsonValue) -> dict[str, Any]:
        """Record the child's id before it is started; a child that someone's retry kept stays the child."""
        kept = self.record.sub_workflow_execution_id
        return {"input_data": inputs, "sub_workflow_execution_id": kept or self._new_child_id()}

    def begin(self, inputs: JsonValue) -> None:
        """Start the child."""
        child_id = self.record.sub_workflow_execution_id
        assert child_id is not None  # noqa: S101 - the intent has just set it
        self.core.watch_call(self)
        name, version = self.step.workflow_name, self.step.version
        self.core.command(StartChild(self.path, child_id, name, version, inputs))

    def resume(self) -> None:
        """Find the child again; creating it twice is creating it once."""
        self.begin(self.evaluate_inputs())

    def cancel_run(self) -> None:
        """Cancel the child and everything below it."""
        if self.record.sub_workflow_execution_id is not None:
            self.core.command(CancelChild(self.record.sub_workflow_execution_id))

    def child_finished(self, event: ChildFinished) -> None:
        """Take the child's output, or its failure."""
        self.core.forget_call(self)
        if event.status == "completed":
            self.run_succeeded(event.output)
        else:
            self.run_failed(self._child_error(event))

    def _child_error(self, event: ChildFinished) -> StepError:
        error = event.error or StepError("cancelled", "it was cancelled")
        if error.code in NEVER_RETRIED and event.status == "failed":
            return error
        details = {"child_execution_id": str(self.record.sub_workflow_execution_id), "cause": error.as_json()}
        message = f"The workflow {self.step.workflow_name!r} ended as {event.status}: {error.message}"
        return StepError("child_failed", message, details)

    def _new_child_id(self) -> UUID:
        name = f"{self.path}|{self.record.run_number}|{self.record.generation}"
        return uuid5(self.core.execution_id, name)
