"""``loop``: its steps once for each item."""

from typing import Any

from archon_workflows.errors import ExpressionError
from archon_workflows.expressions import JsonValue
from archon_workflows.expressions.values import is_list, is_object
from archon_workflows.interpreter.finished import step_error
from archon_workflows.interpreter.scope import With
from archon_workflows.interpreter.sequences import SequenceFrame
from archon_workflows.interpreter.steps.container import ContainerFrame
from archon_workflows.model.json_values import truncate_oversized
from archon_workflows.model.outcomes import StepError
from archon_workflows.model.steps import LoopStep


class LoopFrame(ContainerFrame):
    """Starts iterations in item order, ``max_concurrency`` at a time; ``until`` makes it one at a time."""

    @property
    def step(self) -> LoopStep:
        """The step as the document has it."""
        assert isinstance(self.plan.step, LoopStep)  # noqa: S101 - frames are made by step type
        return self.plan.step

    def intent(self, inputs: JsonValue) -> dict[str, Any]:
        """Record the collection."""
        return {"input_data": {"collection": truncate_oversized(inputs)[0]}}

    def begin(self, inputs: JsonValue) -> None:
        """Start the first iterations."""
        problem = self._problem_with(inputs)
        if problem is not None:
            self.fail_for_good(problem)
            return
        self._items = _items(inputs)
        self._width = 1 if self.plan.until is not None else self.step.max_concurrency
        self.inner_context = self.sequence.scope.context.layer()
        self._results: dict[int, JsonValue] = {}
        self._written: dict[int, dict[str, JsonValue]] = {}
        self._running: dict[SequenceFrame, int] = {}
        self._next = 0
        self._stopped = False
        for _ in range(min(self._width, len(self._items))):
            self._start_iteration()
        if not self._items:
            self.run_succeeded([])

    def resume(self) -> None:
        """Walk the iterations again over what they recorded."""
        self.begin(self.evaluate_inputs())

    def cancel_run(self) -> None:
        """Stop the iterations that still run."""
        running, self._running = self._running, {}
        for iteration in running:
            iteration.cancel()

    def inner_completed(self, sequence: SequenceFrame) -> None:
        """An iteration is done."""
        self._leave(sequence, sequence.output)
        try:
            self._stopped = self._stopped or self._until_holds(sequence)
        except ExpressionError as error:
            self.cancel_run()
            self.fail_for_good(step_error(error))
            return
        self._go_on()

    def inner_failed(self, sequence: SequenceFrame, error: StepError) -> None:
        """An iteration failed: the step fails with it, or notes it and goes on."""
        index = self._leave(sequence, {"error": error.as_json()})
        if self.step.on_item_failure == "continue":
            self._go_on()
            return
        self.cancel_run()
        message = f"Item {index} of step {self.path!r} failed: {error.message}"
        self.run_failed(StepError("iteration_failed", message, {"index": index, "cause": error.as_json()}))

    def _problem_with(self, collection: JsonValue) -> StepError | None:
        if not (is_list(collection) or is_object(collection)):
            message = (
                f"The collection of step {self.path!r} is {_shown(collection)}; "
                f"a loop needs a list or an object."
            )
            return StepError("collection_invalid", message, {"path": "/collection"})
        if len(collection) > self.step.max_iterations:
            message = (
                f"The collection of step {self.path!r} has {len(collection)} items, more than "
                f"max_iterations ({self.step.max_iterations}); nothing was started."
            )
            return StepError("too_many_iterations", message, {"path": "/max_iterations"})
        return None

    def _start_iteration(self) -> None:
        index, self._next = self._next, self._next + 1
        assert self.inner_context is not None  # noqa: S101 - set when the run began
        context = self.inner_context if self._width == 1 else self.inner_context.layer(isolated=True)
        scope = self.sequence.scope.inner(context=context, local_names=self._names(index))
        iteration = self.inner_sequence(self.plan.body[0], scope, item=index)
        self._running[iteration] = index
        iteration.start()

    def _names(self, index: int) -> dict[str, object]:
        length = len(self._items)
        position = {
            "index": index + 1,
            "index0": index,
            "first": index == 0,
            "last": index == length - 1,
            "length": length,
        }
        return {self.step.item_variable: self._items[index], "loop": position}

    def _leave(self, iteration: SequenceFrame, result: JsonValue) -> int:
        index = self._running.pop(iteration)
        self._results[index] = result
        if self._width > 1 and iteration.scope.context.own:
            self._written[index] = iteration.scope.context.own
        if self.sequence.is_top_level:
            self.core.progressed(self.plan.index, len(self._results) / len(self._items))
        return index

    def _until_holds(self, iteration: SequenceFrame) -> bool:
        until = self.plan.until
        return until is not None and until.evaluate(With(iteration.scope, output=iteration.output))

    def _go_on(self) -> None:
        if not self._stopped and self._next < len(self._items):
            self._start_iteration()
        elif not self._running:
            self._join()

    def _join(self) -> None:
        assert self.inner_context is not None  # noqa: S101 - set when the run began
        for _, written in sorted(self._written.items(), key=lambda pair: pair[0]):
            self.inner_context.write(written)
        self.run_succeeded([self._results[index] for index in sorted(self._results)])


def _items(collection: list[JsonValue] | dict[str, JsonValue]) -> list[JsonValue]:
    """Return the items; those of an object are ``{key, value}`` by key, because jsonb keeps no order."""
    if isinstance(collection, list):
        return collection
    return [{"key": key, "value": collection[key]} for key in sorted(collection)]


def _shown(value: JsonValue) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."  # noqa: PLR2004 - a readable line
