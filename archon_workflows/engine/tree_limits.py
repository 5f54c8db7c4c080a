"""How much one execution tree may do: an execution with all the executions that its links start.

What was done before is counted from the rows whenever an execution is claimed, what is done since by the
owners of this process together. Several processes on one tree learn of each other's work at their next claim.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID
from weakref import WeakValueDictionary

from archon_workflows.interpreter import CallTool, Turn
from archon_workflows.model.outcomes import StepError
from archon_workflows.model.records import ExecutionRecord, TreeCount
from archon_workflows.storage.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeLimits:
    """The server's limits of one tree.

    Attributes:
        steps: step executions.
        calls: tool calls, retries and polls included.
        output_bytes: what tools answered, as JSON.
        minutes: run time of the first execution, which ends the others; pauses do not count.
    """

    steps: int = 100_000
    calls: int = 100_000
    output_bytes: int = 1_073_741_824
    minutes: float = 527_040


class TreeUsage:
    """What the executions of one tree have done, as far as this process knows."""

    def __init__(self, limits: TreeLimits) -> None:
        self._limits = limits
        self.steps = 0
        self.calls = 0
        self.output_bytes = 0

    def raise_to(self, counted: TreeCount) -> None:
        """Take what the rows say where it is more."""
        self.steps = max(self.steps, counted.steps)
        self.calls = max(self.calls, counted.calls)
        self.output_bytes = max(self.output_bytes, counted.output_bytes)

    @property
    def steps_left(self) -> int:
        """How many further steps may be recorded."""
        return max(0, self._limits.steps - self.steps)

    def excess(self) -> StepError | None:
        """Return the error of an execution whose tree has done too much."""
        facts = (
            ("too_many_steps", self.steps, self._limits.steps, "step executions", "STEPS"),
            ("too_many_calls", self.calls, self._limits.calls, "tool calls", "CALLS"),
            ("too_much_output", self.output_bytes, self._limits.output_bytes, "bytes from tools", "BYTES"),
        )
        for code, done, limit, what, setting in facts:
            if done > limit:
                message = (
                    f"The execution and those that it is linked with came to {done:,} {what}; the limit is "
                    f"{limit:,} (ARCHON_WORKFLOWS_MAX_TREE_{setting})."
                )
                return StepError(code, message, {"limit": limit})
        return None


class TreeShare:
    """One execution's part in the usage of its tree.

    Args:
        usage: of the whole tree.
        recorded: step paths that have a row already.
    """

    def __init__(self, usage: TreeUsage, recorded: Iterable[str] = ()) -> None:
        self._usage = usage
        self._recorded = set(recorded)

    @property
    def steps_allowed(self) -> int:
        """How many rows the execution may have, those that it has included."""
        return len(self._recorded) + self._usage.steps_left

    def count_turn(self, turn: Turn) -> StepError | None:
        """Count the new rows and the calls of a turn; return the error when that is too much."""
        new = turn.steps.keys() - self._recorded
        self._recorded |= new
        self._usage.steps += len(new)
        self._usage.calls += sum(isinstance(command, CallTool) for command in turn.commands)
        return self._usage.excess()

    def count_output(self, size: int) -> None:
        """Count the bytes of an answer; the next turn says whether it was too much."""
        self._usage.output_bytes += size


class Trees:
    """The usages of the trees that this process works on."""

    def __init__(self, repository: Repository, limits: TreeLimits) -> None:
        self.limits = limits
        self._repository = repository
        self._usages: WeakValueDictionary[UUID, TreeUsage] = WeakValueDictionary()

    async def share_of(self, execution: ExecutionRecord, recorded: Iterable[str]) -> TreeShare:
        """Return a claimed execution's part; what its tree did before is counted from the rows."""
        root_id = execution.root_execution_id
        usage = self._usages.get(root_id)
        if usage is None:
            usage = self._usages[root_id] = TreeUsage(self.limits)
        if execution.started_at is not None or execution.parent_execution_id is not None:
            usage.raise_to(await self._repository.count_tree(root_id))
        return TreeShare(usage, recorded)
