"""The life of one step occurrence: considered, approved, run, tried again."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from archon_workflows.errors import ExpressionError
from archon_workflows.expressions import JsonValue
from archon_workflows.interpreter.backoff import wait_seconds
from archon_workflows.interpreter.endings import EndingFrame
from archon_workflows.interpreter.finished import recorded_error, step_error
from archon_workflows.model.json_values import truncate_oversized
from archon_workflows.model.outcomes import NEVER_RETRIED, StepError
from archon_workflows.model.records import ControlRequest


class StepFrame(EndingFrame):
    """One step occurrence while it lives: from ``enter`` to one word to its sequence.

    Step types say what a run does (``launch``) and how it goes on after a crash (``relaunch``).
    """

    def enter(self) -> None:
        """Begin, or go on from what is recorded."""
        recorded = self.core.recall(self.path)
        if recorded is None:
            self.core.gate(self._consider)
        else:
            self.record = recorded
            self._has_row = True
            self._take_up()

    def pass_over(self) -> None:
        """Record that the step was not chosen."""
        recorded = self.core.recall(self.path)
        if recorded is None:
            self._save(status="skipped", completed_at=self.core.now)
        else:
            self.record = recorded
        self._finish()

    def cancel(self) -> None:
        """Stop for good because something around the step has ended."""
        if self._done:
            return
        self._done = True
        self._stop_waiting()
        if self._handler is not None:
            self._handler.cancel()
        elif self.record.status == "running":
            self.cancel_run()
        if self._has_row and self.record.status != "failed":
            self._save_failure(StepError("cancelled", f"Step {self.path!r} was cancelled while it ran."))

    # -- for the types ---------------------------------------------------------------------------

    def launch(self, inputs: JsonValue) -> None:
        """Start one run."""
        raise NotImplementedError

    def relaunch(self) -> None:
        """Go on with a run that was under way when its owner went."""
        self._start_run()

    def evaluate_inputs(self) -> JsonValue:
        """Return the evaluated inputs of a run."""
        return self.evaluate(self.plan.inputs)

    def intent(self, inputs: JsonValue) -> dict[str, Any]:
        """Return the columns that a run sets before it begins."""
        return {"input_data": inputs}

    def run_succeeded(self, output: JsonValue, **columns: Any) -> None:
        """The run has an output: poll again, or complete the step."""
        self._end_run()
        try:
            if self._must_poll_again(output):
                self._poll_again(truncate_oversized(output)[0], columns)
            else:
                self._complete(output, columns)
        except ExpressionError as error:
            self.fail_for_good(step_error(error), **columns)

    def run_failed(self, error: StepError, **columns: Any) -> None:
        """The run failed: try again if that is allowed and may help."""
        self._end_run()
        if self._may_retry(error):
            self._retry(error, columns)
        else:
            self.fail_for_good(error, **columns)

    # -- control requests ------------------------------------------------------------------------

    def word_came(self, request: ControlRequest) -> None:
        """Someone approved, rejected or resolved."""
        self.core.stop_awaiting(self)
        self.core.cancel_timer(self._key("approval"))
        by = f" by {request.requested_by}" if request.requested_by else ""
        because = f": {request.reason}" if request.reason else ""
        match request.action:
            case "approve":
                self.core.log("info", f"Step {self.path!r} was approved{by}{because}", self)
                self.go_on_approved()
            case "reject":
                message = f"Step {self.path!r} was rejected{by}{because}"
                self.fail_for_good(
                    StepError("rejected", message, {"reason": request.reason, "by": request.requested_by})
                )
            case _:
                self._resolved(request, by)

    def _resolved(self, request: ControlRequest, by: str) -> None:
        self.core.log("info", f"The outcome of step {self.path!r} was stated{by}: {request.resolution}", self)
        match request.resolution:
            case "succeeded":
                self.run_succeeded(request.output)
            case "failed":
                reason = request.reason or "someone stated that it failed"
                self.run_failed(StepError("interrupted", f"Step {self.path!r} was interrupted; {reason}."))
            case _:
                self._wait_for_start(self.core.now)

    # -- before a run ----------------------------------------------------------------------------

    def _take_up(self) -> None:
        match self.record.status:
            case "completed":
                self.recall_inside()
                self.restore_context()
                self._finish()
            case "skipped":
                self._finish()
            case "failed":
                self._route_failure(recorded_error(self.record))
            case "running":
                self._take_up_running()
            case "retrying":
                self._wait_for_next_run(self.record.wake_at or self.core.now)
            case "pending":
                self._take_up_pending()

    def _take_up_running(self) -> None:
        if self.record.awaiting == "resolution":
            self.core.await_word(self)
        else:
            self.core.gate(self.relaunch)

    def _take_up_pending(self) -> None:
        if self.record.awaiting == "approval":
            self._await_approval(self.record.wake_at)
        elif self.record.wake_at is not None:
            self._wait_for_start(self.record.wake_at)
        else:
            self.core.gate(self._consider)

    def _consider(self) -> None:
        try:
            if self.plan.when is not None and not self.holds(self.plan.when):
                self._save(status="skipped", completed_at=self.core.now)
                self._finish()
            elif self.plan.approval is not None:
                message = self.evaluate(self.plan.approval_message)
                self.ask_for_approval(message or f"Step {self.path!r} waits for approval.")
            else:
                self.go_unasked()
        except ExpressionError as error:
            self.fail_for_good(step_error(error))

    def ask_for_approval(self, message: str) -> None:
        """Wait for someone's word before the first run."""
        timeout = self.plan.approval.timeout_seconds if self.plan.approval is not None else None
        wake_at = self.core.now + timedelta(seconds=timeout) if timeout is not None else None
        self._save(awaiting="approval", wake_at=wake_at, input_data={"approval": {"message": message}})
        self.core.log("info", f"Step {self.path!r} waits for approval: {message}", self)
        self._await_approval(wake_at)

    def _await_approval(self, wake_at: datetime | None) -> None:
        self.core.await_word(self)
        if wake_at is not None and wake_at <= self.core.now:
            self.core.later(self._approval_timed_out)
        elif wake_at is not None:
            self.core.set_timer(self._key("approval"), wake_at, self._approval_timed_out, patient=True)

    def _approval_timed_out(self) -> None:
        self.core.stop_awaiting(self)
        on_timeout = self.plan.approval.on_timeout if self.plan.approval is not None else "fail"
        if on_timeout == "approve":
            self.core.log("warning", f"Step {self.path!r} was approved by its time-out", self)
            self.go_on_approved()
        else:
            code = "rejected" if on_timeout == "reject" else "approval_timeout"
            self.fail_for_good(StepError(code, f"Nobody approved step {self.path!r} in time."))

    def go_unasked(self) -> None:
        """Go on with a step for which the document asks for no approval."""
        self.go_on_approved()

    def go_on_approved(self) -> None:
        """Start the first run, now or after the delay."""
        delay = self.plan.step.delay_seconds
        if delay > 0 or self.core.holding:
            self._wait_for_start(self.core.now + timedelta(seconds=delay))
        else:
            self._start_run()

    def _wait_for_start(self, at: datetime) -> None:
        if self.record.wake_at != at or self.record.status != "pending" or self.record.awaiting is not None:
            self._save(status="pending", awaiting=None, wake_at=at)
        self._start_at(at, self._start_run)

    def _start_at(self, at: datetime, start: Callable[[], None]) -> None:
        if at <= self.core.now:
            self.core.gate(start)
        else:
            self.core.set_timer(self._key("wait"), at, lambda: self.core.gate(start))

    # -- a run -----------------------------------------------------------------------------------

    def _start_run(self, **columns: Any) -> None:
        self.record = self.record.changed(started_at=self.record.started_at or self.core.now, **columns)
        try:
            inputs = self.evaluate_inputs()
        except ExpressionError as error:
            self.fail_for_good(step_error(error))
            return
        self._save(status="running", awaiting=None, wake_at=self._run_deadline(), **self.intent(inputs))
        attempt = f" (attempt {self.record.attempt_number})" if self.record.attempt_number > 1 else ""
        self.core.log("info", f"Step {self.path!r} started{attempt}", self)
        self.launch(inputs)

    def _run_deadline(self) -> datetime | None:
        return None

    def _end_run(self) -> None:
        self.core.cancel_timer(self._key("timeout"))

    def _must_poll_again(self, output: JsonValue) -> bool:
        polling = self.plan.polling
        return polling is not None and not self.holds(polling.condition, output=output)

    def _poll_again(self, output: JsonValue, columns: dict[str, Any]) -> None:
        polling = self.plan.polling
        assert polling is not None  # noqa: S101 - asked for only where there is one
        if self.record.poll_number >= polling.max_attempts:
            message = (
                f"Step {self.path!r} was polled {self.record.poll_number} times "
                f"and its repeat_until condition never held."
            )
            error = StepError("poll_exhausted", message, {"last_output": output})
            self.fail_for_good(error, **columns)
            return
        wake_at = self.core.now + timedelta(seconds=polling.interval_seconds)
        self._save(status="retrying", wake_at=wake_at, output_data=output, **columns)
        self._wait_for_next_run(wake_at)

    def _may_retry(self, error: StepError) -> bool:
        wanted = self.plan.step.retry_on
        return (
            self.record.attempt_number < self.plan.max_attempts
            and error.code not in NEVER_RETRIED
            and (wanted is None or error.code in wanted)
        )

    def _retry(self, error: StepError, columns: dict[str, Any]) -> None:
        seconds = wait_seconds(
            self.plan.step, self.record.attempt_number, salt=f"{self.core.execution_id}/{self.path}"
        )
        wake_at = self.core.now + timedelta(seconds=seconds)
        self._save(status="retrying", wake_at=wake_at, **self._error_columns(error), **columns)
        self.core.log(
            "warning",
            f"Attempt {self.record.attempt_number} of {self.plan.max_attempts} of step {self.path!r} failed, "
            f"the next one starts in {seconds:.3g} s: {error.message}",
            self,
            {"code": error.code},
        )
        self._wait_for_next_run(wake_at)

    def _wait_for_next_run(self, at: datetime) -> None:
        self._start_at(at, self._start_next_run)

    def _start_next_run(self) -> None:
        failed = self.record.error_message is not None
        self._start_run(
            run_number=self.record.run_number + 1,
            attempt_number=self.record.attempt_number + 1 if failed else 1,
            poll_number=self.record.poll_number + (0 if failed else 1),
            sub_workflow_execution_id=None,
            **self._error_kept_as_earlier(),
        )

    def _error_kept_as_earlier(self) -> dict[str, Any]:
        earlier = self._earlier_errors()
        return {"error_message": None, "error_details": {"earlier": earlier} if earlier else None}

    def _stop_waiting(self) -> None:
        for kind in ("approval", "wait", "timeout"):
            self.core.cancel_timer(self._key(kind))
        self.core.stop_awaiting(self)
        self.core.forget_call(self)
