"""Previews and dry runs as a model reads them."""

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from archon_workflows.engine.verbs import DryRun, Preview, PreviewedCall
from archon_workflows.model.json_values import truncate_oversized
from archon_workflows.server.presentation.answer import Answer, compact, short, without_empty
from archon_workflows.server.presentation.history import shown_steps

CALLS_SHOWN = 100
STEPS_SHOWN = 100
TEXT_LIMIT = 5_000
ARGUMENTS_LIMIT_BYTES = 4_000


class PreviewAnswer(TypedDict):
    """The calls that a run would make (mode preview)."""

    workflow: str
    version: str
    calls: Annotated[
        list[dict[str, Any]],
        Field(
            description="step_path, tool_name, arguments, unresolved (JSON pointers), destructive, problem"
        ),
    ]
    calls_total: int
    warnings: NotRequired[list[str]]


class DryRunAnswer(TypedDict):
    """What a run would do with stubs; nothing was called or stored (mode dry_run)."""

    workflow: str
    version: str
    dry_run: bool
    would_be: Annotated[str, Field(description="The status that the execution would end in.")]
    output: NotRequired[Any]
    error: NotRequired[dict[str, Any]]
    steps: list[dict[str, Any]]
    steps_total: int
    generated: NotRequired[Annotated[list[str], Field(description="Steps whose output was made up.")]]
    approvals: NotRequired[Annotated[list[str], Field(description="Where it would wait for someone.")]]
    warnings: NotRequired[list[str]]


def present_preview(preview: Preview) -> Answer:
    """Return the calls of a run; destructive ones say so."""
    calls = preview.calls[:CALLS_SHOWN]
    content = {
        "workflow": preview.workflow,
        "version": preview.version_tag,
        "calls": [_call_facts(call) for call in calls],
        "calls_total": len(preview.calls),
        **without_empty({"warnings": list(preview.warnings)}),
    }
    lines = [
        f"{preview.workflow} {preview.version_tag} would make {len(preview.calls)} calls; nothing was called",
        *(f"warning: {warning}" for warning in preview.warnings),
        *(_call_line(call) for call in calls),
    ]
    more = [f"... {len(preview.calls) - CALLS_SHOWN} more"] if len(preview.calls) > CALLS_SHOWN else []
    return Answer([*lines, *more], content)


def present_dry_run(run: DryRun) -> Answer:
    """Return how a run would go with the given and generated outputs."""
    error = run.error.as_json() if run.error is not None else None
    output = truncate_oversized(run.output)[0]
    content = {
        "workflow": run.workflow,
        "version": run.version_tag,
        "dry_run": True,
        "would_be": run.status,
        **({"output": output} if run.status == "completed" else {}),
        "steps": shown_steps(run.steps[:STEPS_SHOWN]),
        "steps_total": len(run.steps),
        **without_empty(
            {
                "error": error,
                "generated": list(run.generated),
                "approvals": list(run.approvals),
                "warnings": list(run.warnings),
            }
        ),
    }
    lines = [
        f"{run.workflow} {run.version_tag} would be {run.status}; nothing was called or stored",
        *(f"warning: {warning}" for warning in run.warnings),
        *([f"error {run.error.code}: {run.error.message}"] if run.error is not None else []),
        *([f"output: {compact(output, TEXT_LIMIT)}"] if run.status == "completed" else []),
        f"steps: {', '.join(f'{step.step_path} {step.status}' for step in run.steps[:STEPS_SHOWN])}",
        *([f"made up outputs of: {', '.join(run.generated)} (give stubs)"] if run.generated else []),
        *([f"would wait for approval of: {', '.join(run.approvals)}"] if run.approvals else []),
    ]
    return Answer(lines, content)


def _call_facts(call: PreviewedCall) -> dict[str, Any]:
    return {
        "step_path": call.step_path,
        "tool_name": call.tool_name,
        "arguments": truncate_oversized(dict(call.arguments), ARGUMENTS_LIMIT_BYTES)[0],
        **without_empty(
            {
                "address": call.address,
                "unresolved": list(call.unresolved),
                "destructive": call.destructive,
                "problem": call.problem,
            }
        ),
    }


def _call_line(call: PreviewedCall) -> str:
    destructive = " DESTRUCTIVE" if call.destructive else ""
    problem = f" PROBLEM: {short(call.problem, 300)}" if call.problem else ""
    tool = call.address or call.tool_name
    return f"{call.step_path}: {tool} {compact(dict(call.arguments), 300)}{destructive}{problem}"
