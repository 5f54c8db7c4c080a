"""``get_execution`` and ``control_execution``: look at what runs or ran, and steer it."""

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal
from uuid import uuid4

from mcp.server.mcpserver import Context
from mcp_types import ToolAnnotations
from pydantic import AfterValidator, Field

from archon_workflows.engine.executions import Executions
from archon_workflows.model.records import (
    TERMINAL_STATUSES,
    ControlAction,
    ControlRequest,
    ExecutionFilter,
    ExecutionRecord,
    ExecutionStatus,
    StepFilter,
    StepStatus,
)
from archon_workflows.server.arguments import (
    PAGE_SIZE,
    AnyJson,
    Arguments,
    OneOrMany,
    PageNumber,
    PageSize,
    VersionName,
    page_facts,
    uuid_of,
    version_name,
)
from archon_workflows.server.callers import Caller, Callers
from archon_workflows.server.presentation.answer import Answer
from archon_workflows.server.presentation.executions import (
    ExecutionAnswer,
    ExecutionList,
    present_execution,
    present_executions,
)
from archon_workflows.server.presentation.history import present_input, present_log, present_steps
from archon_workflows.server.progress import ProgressReport
from archon_workflows.server.standing import read_standing
from archon_workflows.server.tool import AnsweringTool, answering_tool

Moment = Annotated[
    datetime, AfterValidator(lambda at: at if at.tzinfo is not None else at.replace(tzinfo=UTC))
]

Part = Literal["steps", "log", "input", "output", "tool_results"]

GET_DESCRIPTION = """\
Look at one execution, or list executions when no execution_id is given.
The answer is a summary: status, error, output if it is short, and which call leads on. Ask for more with \
include: steps, log, input, output, tool_results. With step, one step is shown with all its input and output.
wait_seconds waits until the execution ends or pauses; with since (an updated_at), until anything changes."""

CONTROL_DESCRIPTION = """\
Steer an execution.
- pause: start no further step; resume; cancel: stop it for good
- retry: run a failed or cancelled execution again; completed steps are kept; from_step: from that step on
- approve, reject(reason): a step that waits for approval (step_path, when several wait)
- resolve(resolution): say what became of a call whose outcome nobody knows: succeeded (with output), \
failed, or rerun to call again"""

_WITH_ID = ("execution_id", "include", "step", "step_status", "wait_seconds", "since", "page", "page_size")
_LISTING = (
    "workflow",
    "status",
    "triggered_by",
    "parent_execution_id",
    "created_after",
    "created_before",
    "page",
    "page_size",
)


class GetArguments(Arguments):
    """What ``get_execution`` takes."""

    tool_name: ClassVar[str] = "get_execution"

    execution_id: str | None = None
    """Which execution; without it executions are listed, newest first."""
    include: Annotated[tuple[Part, ...], OneOrMany] = ()
    """What to show besides the summary."""
    step: str | None = None
    """Show this step (a step path such as deploy_all[2].deploy) and what is inside it."""
    step_status: Annotated[tuple[StepStatus, ...], OneOrMany] = ()
    """Show only steps with these statuses."""
    wait_seconds: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    """How long to wait until it ends or pauses; the server has a limit of its own."""
    since: Moment | None = None
    """With wait_seconds: an updated_at of an earlier answer; return at the first change after it."""
    workflow: str | None = None
    """List: only this workflow's."""
    status: Annotated[tuple[ExecutionStatus, ...], OneOrMany] = ()
    """List: only these statuses."""
    triggered_by: str | None = None
    """List: only those that this one started."""
    parent_execution_id: str | None = None
    """List: only the children of this execution."""
    created_after: Moment | None = None
    """List: only later ones, ISO 8601."""
    created_before: Moment | None = None
    """List: only earlier ones, ISO 8601."""
    page: PageNumber = 1
    """Which page of the list, the steps or the log; page 1 of the log is the newest."""
    page_size: PageSize = PAGE_SIZE
    """How many at a time."""


class ControlArguments(Arguments):
    """What ``control_execution`` takes."""

    tool_name: ClassVar[str] = "control_execution"

    execution_id: str
    """Which execution."""
    action: ControlAction
    """What to do."""
    step_path: str | None = None
    """approve, reject, resolve: which waiting step; not needed when only one waits."""
    from_step: str | None = None
    """retry: the name or step path of the step to begin with; completed ones from there on run again."""
    version: VersionName | None = None
    """retry: go on with this newer version (tag or version_number)."""
    resolution: Literal["succeeded", "failed", "rerun"] | None = None
    """resolve: what became of the call."""
    output: AnyJson = None
    """resolve as succeeded: the step's output."""
    reason: Annotated[str, Field(max_length=2_000)] | None = None
    """Why; it is kept in the log."""
    requested_by: Annotated[str, Field(max_length=200)] | None = None
    """Who decides."""


def get_tool(callers: Callers, *, wait_seconds_limit: float) -> AnsweringTool:
    """Return the tool ``get_execution``.

    Args:
        callers: who may look at what.
        wait_seconds_limit: the longest that one call waits.
    """

    async def perform(arguments: GetArguments, context: Context) -> Answer:
        executions = callers.current().verbs.executions
        if arguments.execution_id is None:
            return await _list(executions, arguments)
        arguments.require("get_execution with an execution_id", takes=_WITH_ID)
        execution = await executions.read(uuid_of(arguments.execution_id, "execution_id"))
        seconds = min(arguments.wait_seconds, wait_seconds_limit)
        if seconds > 0 and execution.status not in TERMINAL_STATUSES:
            on_change = ProgressReport(executions, context).on_change
            execution = await executions.wait(
                execution.id, seconds=seconds, since=arguments.since, on_change=on_change
            )
        return await _show(executions, execution, arguments)

    return answering_tool(
        GetArguments,
        perform,
        title="Look at executions",
        description=GET_DESCRIPTION,
        answers=ExecutionAnswer | ExecutionList,
        annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False),
    )


def control_tool(callers: Callers) -> AnsweringTool:
    """Return the tool ``control_execution``."""

    async def perform(arguments: ControlArguments, _context: Context) -> Answer:
        caller = callers.current()
        executions = caller.verbs.executions
        takes, needs = _CONTROL[arguments.action]
        arguments.require(
            arguments.action, takes=("execution_id", "requested_by", "reason", *takes), needs=needs
        )
        execution_id = uuid_of(arguments.execution_id, "execution_id")
        request = ControlRequest(
            id=uuid4(),
            action=arguments.action,
            requested_by=caller.sign(arguments.requested_by, "requested_by"),
            reason=arguments.reason,
            step_path=arguments.step_path,
            from_step=arguments.from_step,
            version_number=await _version_number(caller, arguments),
            resolution=arguments.resolution,
            output=arguments.output,
        )
        execution = await executions.control(execution_id, request)
        return present_execution(
            await read_standing(executions, execution), warnings=_open(execution, request)
        )

    return answering_tool(
        ControlArguments,
        perform,
        title="Steer an execution",
        description=CONTROL_DESCRIPTION,
        answers=ExecutionAnswer,
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
        ),
    )


_CONTROL: dict[ControlAction, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pause": ((), ()),
    "resume": ((), ()),
    "cancel": ((), ()),
    "retry": (("from_step", "version"), ()),
    "approve": (("step_path",), ()),
    "reject": (("step_path",), ()),
    "resolve": (("step_path", "output"), ("resolution",)),
}
"""For each action: which arguments it takes, and which it needs."""


async def _show(executions: Executions, execution: ExecutionRecord, arguments: GetArguments) -> Answer:
    parts: list[Answer] = []
    if "input" in arguments.include:
        parts.append(present_input(execution))
    if {"steps", "tool_results"} & {*arguments.include} or {"step", "step_status"} & arguments.given:
        parts.append(await _steps(executions, execution, arguments))
    if "log" in arguments.include:
        parts.append(present_log(execution, arguments.page, arguments.page_size))
    standing = await read_standing(executions, execution)
    return present_execution(standing, whole_output="output" in arguments.include, parts=parts)


async def _steps(executions: Executions, execution: ExecutionRecord, arguments: GetArguments) -> Answer:
    which = StepFilter(statuses=arguments.step_status, path_prefix=arguments.step)
    offset = (arguments.page - 1) * arguments.page_size
    page = await executions.read_steps(execution.id, which, offset=offset, limit=arguments.page_size)
    return present_steps(
        page,
        page_facts(arguments.page, arguments.page_size, page.total),
        whole=arguments.step is not None,
        tool_results="tool_results" in arguments.include,
    )


async def _list(executions: Executions, arguments: GetArguments) -> Answer:
    arguments.require("get_execution without an execution_id", takes=_LISTING)
    parent = arguments.parent_execution_id
    which = ExecutionFilter(
        workflow_name=arguments.workflow,
        statuses=arguments.status,
        triggered_by=arguments.triggered_by,
        parent_execution_id=uuid_of(parent, "parent_execution_id") if parent is not None else None,
        created_after=arguments.created_after,
        created_before=arguments.created_before,
    )
    offset = (arguments.page - 1) * arguments.page_size
    page = await executions.list(which, offset=offset, limit=arguments.page_size)
    return present_executions(page, page_facts(arguments.page, arguments.page_size, page.total))


async def _version_number(caller: Caller, arguments: ControlArguments) -> int | None:
    """Return the number of the version to go on with, also when it was named by its tag."""
    if arguments.version is None:
        return None
    version = version_name(arguments.version)
    if isinstance(version, int):
        return version
    execution = await caller.verbs.executions.read(uuid_of(arguments.execution_id, "execution_id"))
    found = await caller.verbs.templates.get_version(
        template_id=execution.workflow_template_id, version=version
    )
    return found.version_number


def _open(execution: ExecutionRecord, request: ControlRequest) -> list[str]:
    if any(one.id == request.id for one in execution.control_requests):
        return [f"{request.action!r} is stored, but the owner of the execution has not acted on it yet"]
    return []
