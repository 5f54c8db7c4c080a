"""The five step types: what a run of each does."""

from archon_workflows.interpreter.core import Core, RunningSequence
from archon_workflows.interpreter.frames import StepFrame
from archon_workflows.interpreter.plan import StepPlan
from archon_workflows.interpreter.steps.action import ActionFrame
from archon_workflows.interpreter.steps.condition import ConditionFrame
from archon_workflows.interpreter.steps.loop import LoopFrame
from archon_workflows.interpreter.steps.parallel import ParallelFrame
from archon_workflows.interpreter.steps.workflow_link import WorkflowLinkFrame
from archon_workflows.model.steps import StepType

__all__ = ["ActionFrame", "WorkflowLinkFrame", "new_frame"]

_FRAMES: dict[StepType, type[StepFrame]] = {
    "action": ActionFrame,
    "condition": ConditionFrame,
    "workflow_link": WorkflowLinkFrame,
    "parallel": ParallelFrame,
    "loop": LoopFrame,
}


def new_frame(core: Core, sequence: RunningSequence, plan: StepPlan, path: str) -> StepFrame:
    """Return a new frame of the step's type."""
    return _FRAMES[plan.step.type](core, sequence, plan, path)
