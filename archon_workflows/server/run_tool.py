"""``run_workflow``: start an execution and wait a bounded time, or rehearse one.

The execution is stored first and advanced by the engine: a client that cancels, times out or goes away
ends the waiting and nothing else.
"""

from typing import Annotated, Any, ClassVar, Literal

from mcp.server.mcpserver import Context
from mcp_types import ToolAnnotations
from pydantic import Field

from archon_workflows.engine.executions import Executions
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.errors import InvalidRequest
from archon_workflows.expressions.values import is_object
from archon_workflows.model.json_values import shown
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.template import Priority
from archon_workflows.server.arguments import Arguments, JsonObject
from archon_workflows.server.callers import Callers
from archon_workflows.server.presentation.answer import Answer
from archon_workflows.server.presentation.executions import ExecutionAnswer, present_execution
from archon_workflows.server.presentation.rehearsals import (
    DryRunAnswer,
    PreviewAnswer,
    present_dry_run,
    present_preview,
)
from archon_workflows.server.progress import ProgressReport
from archon_workflows.server.standing import read_standing
from archon_workflows.server.tool import AnsweringTool, answering_tool

WAIT_SECONDS = 20.0

DESCRIPTION = """\
Run a workflow by name and wait up to wait_seconds for its end. If it is still running then, or waits for an \
approval, the answer says which call leads on; the execution goes on by itself, whatever becomes of this call.
mode dry_run evaluates everything with stubs or made up outputs and calls nothing; mode preview lists the \
calls that a run would make and marks the destructive ones."""

_ALWAYS = ("workflow", "parameters", "version", "allow_draft", "trigger_context", "triggered_by", "mode")
_TAKES = {
    "run": (*_ALWAYS, "idempotency_key", "priority", "wait_seconds"),
    "dry_run": (*_ALWAYS, "stubs"),
    "preview": _ALWAYS,
}


class RunArguments(Arguments):
    """What ``run_workflow`` takes."""

    tool_name: ClassVar[str] = "run_workflow"

    workflow: str
    """The template's name."""
    parameters: JsonObject = None
    """Its input parameters by name, e.g. {"vm_name": "web-1"}."""
    mode: Literal["run", "dry_run", "preview"] = "run"
    """run: do it. dry_run: evaluate it without calling a tool. preview: list the calls it would make."""
    wait_seconds: Annotated[float, Field(ge=0, le=86_400)] = WAIT_SECONDS
    """How long to wait for the end; the server has a limit of its own."""
    idempotency_key: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """Any text. A second call with it finds the execution of the first instead of starting another."""
    priority: Priority | None = None
    """Start it before those with a lower one when many wait, -100 to 100; default: the template's."""
    version: str | None = None
    """A version tag such as 1.2.0; without it the newest version runs."""
    allow_draft: bool = False
    """Run a template of status draft."""
    stubs: JsonObject = None
    """dry_run: outputs by step name, e.g. {"create_vm": {"vm_id": "vm-1"}}; {"$error": {"code": "timeout", \
"message": "..."}} makes a step fail."""
    trigger_context: JsonObject = None
    """What led to this run; expressions read it as context.NAME."""
    triggered_by: Annotated[str, Field(max_length=200)] | None = None
    """Who runs it."""

    def request(self, triggered_by: str | None) -> RunRequest:
        """Return what the verbs take."""
        return RunRequest(
            workflow=self.workflow,
            parameters={} if self.parameters is None else self.parameters,
            version=self.version,
            allow_draft=self.allow_draft,
            trigger_context={} if self.trigger_context is None else self.trigger_context,
            triggered_by=triggered_by,
            idempotency_key=self.idempotency_key,
            priority=self.priority,
        )


def run_tool(callers: Callers, *, wait_seconds_limit: float) -> AnsweringTool:
    """Return the tool ``run_workflow``.

    Args:
        callers: who may run what.
        wait_seconds_limit: the longest that one call waits.
    """

    async def perform(arguments: RunArguments, context: Context) -> Answer:
        arguments.require(arguments.mode, takes=_TAKES[arguments.mode])
        caller = callers.current()
        verbs, request = caller.verbs, arguments.request(caller.sign(arguments.triggered_by, "triggered_by"))
        match arguments.mode:
            case "preview":
                return present_preview(await verbs.rehearsal.preview(request))
            case "dry_run":
                stubs = _stubs(arguments.stubs)
                return present_dry_run(await verbs.rehearsal.dry_run(request, stubs))
            case "run":
                seconds = min(arguments.wait_seconds, wait_seconds_limit)
                return await _run(verbs.executions, request, seconds, context)

    return answering_tool(
        RunArguments,
        perform,
        title="Run a workflow",
        description=DESCRIPTION,
        answers=ExecutionAnswer | DryRunAnswer | PreviewAnswer,
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
        ),
    )


async def _run(
    executions: Executions, request: RunRequest, seconds: float, context: Context[Any, Any]
) -> Answer:
    started = await executions.start(request)
    report = ProgressReport(executions, context)
    execution = await executions.wait(started.execution.id, seconds=seconds, on_change=report.on_change)
    return present_execution(
        await read_standing(executions, execution), warnings=started.warnings, existed=started.existed
    )


def _stubs(stubs: JsonValue) -> dict[str, JsonValue]:
    if stubs is None:
        return {}
    if is_object(stubs):
        return dict(stubs)
    raise InvalidRequest(
        f"'stubs' is {shown(stubs)}, which is no object.",
        code="invalid_argument",
        path="/stubs",
        suggestion='Give outputs by step name: {"create_vm": {"vm_id": "vm-1"}}.',
    )
