"""``condition``: one of two ways on."""

from typing import Any

from archon_workflows.expressions import JsonValue
from archon_workflows.interpreter.plan import Jump, SequencePlan, Target
from archon_workflows.interpreter.sequences import SequenceFrame
from archon_workflows.interpreter.steps.container import ContainerFrame
from archon_workflows.model.outcomes import StepError


class ConditionFrame(ContainerFrame):
    """Evaluates its condition once a run; a side written inline runs inside the step."""

    _inner: SequenceFrame | None = None

    def evaluate_inputs(self) -> JsonValue:
        """Return the condition's value."""
        assert self.plan.condition is not None  # noqa: S101 - every condition step has one
        return self.holds(self.plan.condition)

    def intent(self, inputs: JsonValue) -> dict[str, Any]:
        """Record which way was taken."""
        return {"input_data": {"result": inputs}}

    def begin(self, inputs: JsonValue) -> None:
        """Take the way that the condition chose."""
        target = self._target(inputs)
        if isinstance(target, SequencePlan):
            self.inner_context = self.sequence.scope.context.layer()
            scope = self.sequence.scope.inner(context=self.inner_context)
            self._inner = self.inner_sequence(target, scope)
            self._inner.start()
        elif target == "fail":
            side = "on_true" if inputs else "on_false"
            message = f"The condition of step {self.path!r} is {str(inputs).lower()}, and {side} is fail."
            self.fail_for_good(StepError("condition_failed", message))
        else:
            self._complete_with(None)

    def resume(self) -> None:
        """Go on the way that was recorded."""
        self.begin(self._result)

    def cancel_run(self) -> None:
        """Stop the inline steps."""
        if self._inner is not None:
            self._inner.cancel()

    def recall_inside(self) -> None:
        """Show the inline steps' outputs again, and pass over the side that was not chosen."""
        self._pass_over_other()
        target = self._target(self._result)
        if isinstance(target, SequencePlan):
            self.recall_sequences([target], self.path, self.record.run_number, self.sequence.scope)

    def next_target(self) -> Target:
        """A named side is a jump; ``next`` and an inline side leave it to ``on_success``."""
        target = self._target(self._result)
        return target if isinstance(target, Jump) or target == "end" else self.plan.on_success

    def inner_completed(self, sequence: SequenceFrame) -> None:
        """The inline side is done."""
        self.sequence.scope.adopt(sequence.scope)
        self._complete_with(sequence.output)

    def inner_failed(self, sequence: SequenceFrame, error: StepError) -> None:
        """The inline side failed, and the step with it."""
        del sequence
        side = "on_true" if self._result else "on_false"
        message = f"The {side} side of step {self.path!r} failed: {error.message}"
        self.run_failed(StepError("branch_failed", message, {"cause": error.as_json()}))

    @property
    def _result(self) -> bool:
        return bool(self.record.input_data["result"])

    def _target(self, result: JsonValue) -> Target:
        return self.plan.on_true if result else self.plan.on_false

    def _complete_with(self, output: JsonValue) -> None:
        branch = self._branch_name(self._target(self._result))
        self._pass_over_other()
        self.run_succeeded({"result": self._result, "branch": branch, "output": output})

    def _branch_name(self, target: Target) -> str:
        if isinstance(target, Jump):
            return self.sequence.plan.steps[target.index].name
        return "inline" if isinstance(target, SequencePlan) else target

    def _pass_over_other(self) -> None:
        chosen, other = self._target(self._result), self._target(not self._result)
        if isinstance(chosen, Jump) and isinstance(other, Jump):
            self.sequence.choose(chosen.index, other.index)
