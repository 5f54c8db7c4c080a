"""What steps with something inside share: a run may take long, so it has a time-out and can be cancelled."""

from datetime import datetime, timedelta

from archon_workflows.expressions import JsonValue
from archon_workflows.interpreter.frames import StepFrame
from archon_workflows.model.outcomes import StepError


class ContainerFrame(StepFrame):
    """A step whose run is made of other work: sequences or a child execution."""

    def launch(self, inputs: JsonValue) -> None:
        """Start the clock and the work."""
        self._start_clock()
        self.begin(inputs)

    def relaunch(self) -> None:
        """Go through the recorded work again; what is recorded inside is not done again."""
        self._start_clock()
        self.resume()

    def begin(self, inputs: JsonValue) -> None:
        """Start the work of a run."""
        raise NotImplementedError

    def resume(self) -> None:
        """Go on with the work of a run that was under way."""
        raise NotImplementedError

    def _run_deadline(self) -> datetime | None:
        seconds = self.plan.step.timeout_seconds
        return None if seconds is None else self.core.now + timedelta(seconds=seconds)

    def _start_clock(self) -> None:
        if self.record.wake_at is not None:
            self.core.set_timer(self._key("timeout"), self.record.wake_at, self._timed_out)

    def _timed_out(self) -> None:
        self.cancel_run()
        message = f"Step {self.path!r} took longer than timeout_seconds ({self.plan.step.timeout_seconds:g})."
        self.run_failed(StepError("timeout", message))
