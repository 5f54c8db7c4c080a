"""The end of a run: its outputs, evaluated and checked."""

from archon_workflows.errors import WorkflowError
from archon_workflows.expressions import JsonValue
from archon_workflows.expressions.values import is_object
from archon_workflows.interpreter.plan import Plan
from archon_workflows.interpreter.sequences import SequenceFrame
from archon_workflows.model.parameters import check_outputs


def evaluate_outputs(plan: Plan, sequence: SequenceFrame) -> JsonValue:
    """Return what a completed run gives back.

    Args:
        plan: says which outputs there are; without any it is the last completed step's output.
        sequence: the top level, all of it done.

    Raises:
        ExpressionError: an output's value cannot be evaluated.
        WorkflowError: an output is missing (``output_missing``) or does not fit (``invalid_outputs``).
    """
    if not plan.template.outputs:
        return sequence.output
    output = {name: _output(plan, name, sequence) for name in plan.template.outputs}
    check_outputs(plan.template, output)
    return output


def _output(plan: Plan, name: str, sequence: SequenceFrame) -> JsonValue:
    if name in plan.outputs:
        return plan.outputs[name].evaluate(sequence.scope)
    if is_object(sequence.output) and name in sequence.output:
        return sequence.output[name]
    raise WorkflowError(
        f"Output {name!r} has no value, and the last completed step's output has no field {name!r}.",
        code="output_missing",
        path=f"/outputs/{name}",
        suggestion="Give the output a value, such as {{ steps.NAME.output.FIELD }}.",
    )
