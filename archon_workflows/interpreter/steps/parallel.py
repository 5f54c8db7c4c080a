"""``parallel``: branches at the same time."""

from archon_workflows.expressions import JsonValue
from archon_workflows.interpreter.sequences import SequenceFrame
from archon_workflows.interpreter.steps.container import ContainerFrame
from archon_workflows.model.outcomes import StepError
from archon_workflows.model.steps import ParallelStep


class ParallelFrame(ContainerFrame):
    """Starts branches in order, ``max_concurrency`` at a time, and joins them in branch order."""

    @property
    def step(self) -> ParallelStep:
        """The step as the document has it."""
        assert isinstance(self.plan.step, ParallelStep)  # noqa: S101 - frames are made by step type
        return self.plan.step

    def begin(self, inputs: JsonValue) -> None:
        """Start the first branches."""
        del inputs
        self.inner_context = self.sequence.scope.context.layer()
        self._results: list[JsonValue] = [None] * len(self.plan.body)
        self._running: dict[SequenceFrame, int] = {}
        self._joined: dict[int, SequenceFrame] = {}
        self._failures: list[StepError] = []
        self._next = 0
        for _ in range(min(self.step.max_concurrency or len(self.plan.body), len(self.plan.body))):
            self._start_branch()

    def resume(self) -> None:
        """Walk the branches again over what they recorded."""
        self.begin(None)

    def cancel_run(self) -> None:
        """Stop the branches that still run."""
        running, self._running = self._running, {}
        for branch in running:
            branch.cancel()

    def recall_inside(self) -> None:
        """Show the branches' named steps again."""
        self.recall_sequences(self.plan.body, self.path, self.record.run_number, self.sequence.scope)

    def inner_completed(self, sequence: SequenceFrame) -> None:
        """A branch is done."""
        index = self._leave(sequence)
        self._results[index] = sequence.output
        self._joined[index] = sequence
        if self.step.wait_for == "any":
            self.cancel_run()
            self._join()
        else:
            self._go_on()

    def inner_failed(self, sequence: SequenceFrame, error: StepError) -> None:
        """A branch failed: the step fails with it, or notes it and goes on."""
        index = self._leave(sequence)
        self._failures.append(error)
        if self.step.on_branch_failure == "fail":
            self.cancel_run()
            self._fail(error, index)
            return
        self._results[index] = {"error": error.as_json()}
        self._joined[index] = sequence
        self._go_on()

    def _start_branch(self) -> None:
        index, self._next = self._next, self._next + 1
        assert self.inner_context is not None  # noqa: S101 - set when the run began
        scope = self.sequence.scope.inner(context=self.inner_context.layer(isolated=True))
        branch = self.inner_sequence(self.plan.body[index], scope)
        self._running[branch] = index
        branch.start()

    def _leave(self, branch: SequenceFrame) -> int:
        index = self._running.pop(branch)
        if self.sequence.is_top_level:
            done = self._next - len(self._running)
            self.core.progressed(self.plan.index, done / len(self.plan.body))
        return index

    def _go_on(self) -> None:
        if self._next < len(self.plan.body):
            self._start_branch()
        elif not self._running:
            self._finish_run()

    def _finish_run(self) -> None:
        if self.step.wait_for == "any":
            self._fail(self._failures[0], None)
        else:
            self._join()

    def _join(self) -> None:
        assert self.inner_context is not None  # noqa: S101 - set when the run began
        for _, branch in sorted(self._joined.items(), key=lambda pair: pair[0]):
            self.sequence.scope.adopt(branch.scope)
            self.inner_context.write(branch.scope.context.own)
        self.run_succeeded(self._results)

    def _fail(self, error: StepError, index: int | None) -> None:
        which = f"Branch {index}" if index is not None else "Every branch"
        message = f"{which} of step {self.path!r} failed: {error.message}"
        self.run_failed(StepError("branch_failed", message, {"branch": index, "cause": error.as_json()}))
