"""``action``: one tool call a run."""

from collections.abc import Mapping
from typing import Any, Literal

from archon_workflows.errors import ExpressionError
from archon_workflows.expressions import JsonValue
from archon_workflows.expressions.values import is_object
from archon_workflows.interpreter.finished import step_error
from archon_workflows.interpreter.frames import StepFrame
from archon_workflows.interpreter.turn import CallTool, CancelCall, LookUpInterrupted, LookUpTool
from archon_workflows.model.json_values import truncate_oversized
from archon_workflows.model.outcomes import Failed, Outcome, StepError, Succeeded, Unknown
from archon_workflows.model.steps import ActionStep

MAX_INTERRUPTIONS = 10
"""A step whose owner dies this often while it runs is taken to be what kills it."""


class ActionFrame(StepFrame):
    """Calls the tool, judges its answer, and knows what to do when nobody knows what became of a call."""

    @property
    def step(self) -> ActionStep:
        """The step as the document has it."""
        assert isinstance(self.plan.step, ActionStep)  # noqa: S101 - frames are made by step type
        return self.plan.step

    def go_unasked(self) -> None:
        """Have the tool looked up first where destructive ones need approval."""
        if self.core.asks_before_destructive:
            self.core.watch_call(self)
            self.core.command(LookUpTool(self.path, self.step.tool_name))
        else:
            self.go_on_approved()

    def looked_up(self, approval_reason: str | None) -> None:
        """Ask for approval, or go on without."""
        self.core.forget_call(self)
        if approval_reason is not None:
            self.ask_for_approval(f"Step {self.path!r} waits for approval: {approval_reason}")
        else:
            self.core.gate(self.go_on_approved)

    def evaluate_inputs(self) -> JsonValue:
        """Return the arguments, secrets in clear; what is recorded of them is masked on its way out."""
        return self.evaluate(self.plan.inputs, secrets=self.core.secrets)

    def intent(self, inputs: JsonValue) -> dict[str, Any]:
        """Return the columns that name the call."""
        return {"input_data": inputs, "tool_name": self.step.tool_name, "tool_parameters": inputs}

    def launch(self, inputs: JsonValue) -> None:
        """Call the tool."""
        self.core.watch_call(self)
        timeout = self.step.timeout_seconds
        self.core.command(CallTool(self.path, self.step.tool_name, inputs, self._idempotency_key(), timeout))

    def relaunch(self) -> None:
        """Nobody knows what became of the call: ``on_interrupt`` decides."""
        self._save(interruptions=self.record.interruptions + 1)
        if self.record.interruptions > MAX_INTERRUPTIONS:
            self.fail_for_good(self._interrupted(f"was interrupted {self.record.interruptions} times"))
        elif self.step.on_interrupt is None:
            self.core.watch_call(self)
            self.core.command(LookUpInterrupted(self.path, self.step.tool_name))
        else:
            self.interruption_decided(self.step.on_interrupt, f"on_interrupt is {self.step.on_interrupt}")

    def interruption_decided(self, decision: Literal["retry", "pause", "fail"], reason: str) -> None:
        """Go on after an interruption."""
        self.core.forget_call(self)
        self.core.log(
            "warning", f"Step {self.path!r} was running when its owner went; {decision}: {reason}", self
        )
        if decision == "retry":
            self.core.gate(self._start_run)
        elif decision == "pause":
            self._save(awaiting="resolution")
            self.core.await_word(self)
        else:
            self.fail_for_good(self._interrupted("was interrupted, and on_interrupt is fail"))

    def cancel_run(self) -> None:
        """Cancel the call at the server."""
        self.core.expect_late_answer(self)
        self.core.command(CancelCall(self.path))

    def call_finished(self, outcome: Outcome) -> None:
        """Judge the outcome of the call."""
        self.core.forget_call(self)
        match outcome:
            case Succeeded():
                self._judge(outcome)
            case Failed():
                self.run_failed(outcome.error, tool_result=_stored(outcome.result))
            case Unknown():
                self.run_failed(outcome.error)

    def answered_late(self, outcome: Outcome) -> None:
        """Record what a cancelled call still answered; it changes nothing else."""
        if not isinstance(outcome, Unknown) and outcome.result is not None:
            self._save(tool_result=_stored(outcome.result))

    def progressed(self, progress: Mapping[str, JsonValue]) -> None:
        """Record the tool's progress."""
        self._save(progress=dict(progress))

    def _judge(self, outcome: Succeeded) -> None:
        result = _stored(outcome.result)
        try:
            error = self._failure_in(outcome.output)
        except ExpressionError as problem:
            self.fail_for_good(step_error(problem), tool_result=result)
            return
        if error is None:
            self.run_succeeded(outcome.output, tool_result=result)
        else:
            self.run_failed(error, tool_result=result)

    def _failure_in(self, output: JsonValue) -> StepError | None:
        if self.plan.fail_when is not None:
            if not self.holds(self.plan.fail_when, output=output):
                return None
            message = f"The tool {self.step.tool_name!r} answered, and fail_when holds of its output."
            return StepError("fail_when", message, {"output": output})
        if is_object(output) and output.get("success") is False:
            return _reported_failure(self.step.tool_name, output)
        return None

    def _idempotency_key(self) -> str:
        asked = {"poll": self.record.poll_number, "generation": self.record.generation}
        query = "&".join(f"{name}={number}" for name, number in asked.items() if number > 1)
        return f"{self.core.execution_id}/{self.path}" + (f"?{query}" if query else "")

    def _interrupted(self, what: str) -> StepError:
        return StepError("interrupted", f"Step {self.path!r} {what}; its outcome is unknown.")


def _reported_failure(tool_name: str, output: Mapping[str, JsonValue]) -> StepError:
    """Return the failure that a result object with ``success: false`` reports (Archon's tools do so)."""
    error = output.get("error")
    said = error.get("message") if is_object(error) else error
    text = said if isinstance(said, str) else output.get("message")
    message = (
        f"The tool {tool_name!r} reported a failure: {text if isinstance(text, str) else 'success is false'}"
    )
    return StepError("tool_error", message, {"error": error} if error is not None else {})


def _stored(result: JsonValue) -> JsonValue:
    return truncate_oversized(result)[0]
