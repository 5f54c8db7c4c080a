"""How a step occurrence ends: its row, its scope, its outcome, and where the sequence goes from there."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from archon_workflows.expressions import CompiledValue, Condition, JsonValue
from archon_workflows.interpreter.core import Core, Frame, RunningSequence
from archon_workflows.interpreter.finished import earlier_errors, error_view, recorded_error, view_of
from archon_workflows.interpreter.plan import SequencePlan, StepPlan, Target
from archon_workflows.interpreter.scope import Context, Scope, With
from archon_workflows.interpreter.sequences import SequenceFrame
from archon_workflows.model.json_values import truncate_oversized
from archon_workflows.model.outcomes import StepError
from archon_workflows.model.records import FINISHED_STEP_STATUSES, StepRecord
from archon_workflows.model.steps import LoopStep


class EndingFrame(Frame):
    """The half of a step's frame that does not care how the step was run.

    Step types say what is inside (``cancel_run``, ``inner_completed``, ``inner_failed``) and what a recorded
    end leaves visible (``recall_inside``).
    """

    def __init__(self, core: Core, sequence: RunningSequence, plan: StepPlan, path: str) -> None:
        self.core = core
        self.sequence = sequence
        self.plan = plan
        self.path = path
        self.record = StepRecord(
            step_path=path,
            step_index=plan.top_index,
            step_name=plan.name,
            step_type=plan.step.type,
            step_config=plan.config,
            status="pending",
            max_attempts=plan.max_attempts,
        )
        self.inner_context: Context | None = None
        self._handler: SequenceFrame | None = None
        self._has_row = False
        self._done = False

    def cancel_run(self) -> None:
        """Stop the run that is under way."""

    def recall_inside(self) -> None:
        """Make visible again what a completed run left inside."""

    def recall_sequences(
        self, plans: Iterable[SequencePlan], path: str, run_number: int, scope: Scope
    ) -> None:
        """Make the recorded named steps of sequences inside ``path`` visible; those in loops stay hidden."""
        prefix = f"{path}~{run_number}." if run_number > 1 else f"{path}."
        for plan in (step for sequence in plans for step in sequence.steps):
            record = self.core.recall_last(prefix + plan.name)
            if record is None or record.status not in FINISHED_STEP_STATUSES:
                continue
            if plan.is_named:
                scope.finished[plan.name] = view_of(record)
            if not isinstance(plan.step, LoopStep):
                inner = plan.inner_sequences()
                self.recall_sequences(inner, record.step_path, record.run_number, scope)

    def next_target(self) -> Target:
        """Where the sequence goes after this step completed."""
        return self.plan.on_success

    def inner_sequence(self, plan: SequencePlan, scope: Scope, *, item: int | None = None) -> SequenceFrame:
        """Return a new sequence inside this step."""
        run = f"~{self.record.run_number}" if self.record.run_number > 1 else ""
        place = f"[{item}]" if item is not None else ""
        return SequenceFrame(self.core, plan, scope, prefix=f"{self.path}{run}{place}.", owner=self)

    def evaluate(self, value: CompiledValue | None, **further: object) -> JsonValue:
        """Evaluate a template value in the step's scope."""
        return None if value is None else value.evaluate(self._scope(further))

    def holds(self, condition: Condition, **further: object) -> bool:
        """Evaluate a condition in the step's scope."""
        return condition.evaluate(self._scope(further))

    def fail_for_good(self, error: StepError, **columns: Any) -> None:
        """The step has failed; its ``on_failure`` says how the sequence goes on."""
        self._save_failure(error, **columns)
        self.core.log("error", f"Step {self.path!r} failed: {error.message}", self, {"code": error.code})
        self._route_failure(error)

    def _complete(self, output: JsonValue, columns: dict[str, Any]) -> None:
        written = self.inner_context.own if self.inner_context is not None else {}
        updates = {**written, **self._set_context(output)}
        stored, truncated = truncate_oversized(output)
        self._save(
            status="completed",
            output_data=stored,
            output_truncated=truncated,
            context_updates=updates or None,
            completed_at=self.core.now,
            wake_at=None,
            awaiting=None,
            **columns,
        )
        self.core.log("info", f"Step {self.path!r} completed", self)
        self.restore_context()
        self._finish()

    def _set_context(self, output: JsonValue) -> dict[str, JsonValue]:
        context = self.inner_context if self.inner_context is not None else self.sequence.scope.context
        return {
            name: self.evaluate(value, output=output, context=context)
            for name, value in self.plan.set_context.items()
        }

    def restore_context(self) -> None:
        """Apply what the step, and the steps inside it, wrote."""
        if self.record.context_updates:
            self.sequence.scope.context.write(self.record.context_updates)
            if self.sequence.scope.context.is_recorded:
                self.core.context_changed(self.sequence.scope.context)

    def _finish(self) -> None:
        skipped = self.record.status == "skipped"
        passed_over = skipped and not self.sequence.is_current(self)
        self._done = True
        self.sequence.finished(self, view_of(self.record))
        if not passed_over:
            self.sequence.follow("next" if skipped else self.next_target(), self.plan.index)

    def _save_failure(self, error: StepError, **columns: Any) -> None:
        self._save(
            status="failed",
            wake_at=None,
            awaiting=None,
            completed_at=self.core.now,
            **self._error_columns(error),
            **columns,
        )

    def _route_failure(self, error: StepError) -> None:
        target = self.plan.on_failure
        self.sequence.finished(self, view_of(self.record))
        if isinstance(target, SequencePlan):
            self._handle_failure(target)
        elif target == "fail":
            self._done = True
            self.sequence.fail(_with_step(error, self.path))
        else:
            self._failure_handled("next" if target == "continue" else target)

    def _handle_failure(self, plan: SequencePlan) -> None:
        scope = self.sequence.scope.inner(local_names={"error": error_view(self.record)})
        self._handler = self.inner_sequence(plan, scope)
        self._handler.start()

    def _failure_handled(self, target: Target) -> None:
        self._done = True
        if not self.record.failure_handled:
            self._save(failure_handled=True)
        self.sequence.follow(target, self.plan.index)

    def sequence_completed(self, sequence: SequenceFrame) -> None:
        """A sequence inside this step is done: the failure handler's, or one of the run's."""
        if sequence is self._handler:
            self.sequence.scope.adopt(sequence.scope)
            self.sequence.output = sequence.output
            self._failure_handled("next")
        else:
            self.inner_completed(sequence)

    def sequence_failed(self, sequence: SequenceFrame, error: StepError) -> None:
        """A sequence inside this step failed."""
        if sequence is self._handler:
            self._done = True
            own = recorded_error(self.record)
            message = f"{own.message} Its failure handler failed too: {error.message}"
            self.sequence.fail(
                _with_step(
                    StepError(own.code, message, {**own.details, "handler": error.as_json()}), self.path
                )
            )
        else:
            self.inner_failed(sequence, error)

    def inner_completed(self, sequence: SequenceFrame) -> None:
        """A sequence of the run is done."""
        raise NotImplementedError

    def inner_failed(self, sequence: SequenceFrame, error: StepError) -> None:
        """A sequence of the run failed."""
        raise NotImplementedError

    def _scope(self, further: dict[str, object]) -> Mapping[str, object]:
        return With(self.sequence.scope, **further) if further else self.sequence.scope

    def _save(self, **columns: Any) -> None:
        self.record = self.record.changed(**columns)
        self._has_row = True
        self.core.save(self.record)

    def _error_columns(self, error: StepError) -> dict[str, Any]:
        earlier = self._earlier_errors()
        details = error.as_json() | {"attempt": self.record.attempt_number}
        return {
            "error_message": error.message,
            "error_details": details | ({"earlier": earlier} if earlier else {}),
        }

    def _earlier_errors(self) -> list[JsonValue]:
        return earlier_errors(self.record)

    def _key(self, kind: str) -> str:
        return f"{self.path}|{kind}"


def _with_step(error: StepError, path: str) -> StepError:
    """Name the step that failed first; the frames around it keep that name."""
    return error if "step" in error.details else replace(error, details={**error.details, "step": path})
