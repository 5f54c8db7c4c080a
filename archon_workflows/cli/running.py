"""Commands about runs: ``run``, ``executions``, ``show``, ``control``."""

import getpass
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

import typer
from rich.text import Text

from archon_workflows.bootstrap import Application
from archon_workflows.cli.authoring import report_filed
from archon_workflows.cli.drawing import (
    Drawing,
    duration,
    log_lines,
    now_utc,
    outcome_lines,
    why_not_running,
)
from archon_workflows.cli.exits import ExitCode, exit_code_of
from archon_workflows.cli.history import History, read_history
from archon_workflows.cli.inputs import bind_pairs, execution_id, is_template_name, read_document, read_object
from archon_workflows.cli.options import Json, Limit, Offset, Tools
from archon_workflows.cli.presentation import (
    execution_json,
    history_json,
    page_json,
)
from archon_workflows.cli.printable import one_line_json
from archon_workflows.cli.printer import Printer
from archon_workflows.cli.progress import follow, viewer
from archon_workflows.cli.saving import save_file
from archon_workflows.cli.session import application, perform
from archon_workflows.engine.vault import without_secrets
from archon_workflows.engine.verbs import RunRequest, StartedExecution
from archon_workflows.model.json_values import parse_json
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.records import (
    TERMINAL_STATUSES,
    ControlAction,
    ControlRequest,
    ExecutionFilter,
    ExecutionRecord,
    ExecutionStatus,
)

ACT_SECONDS = 2.0
"""How long to wait for the owner to act before saying that nobody has."""

Resolution = Literal["succeeded", "failed", "rerun"]
ExecutionArgument = Annotated[str, typer.Argument(metavar="EXECUTION", help="The id of the execution.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What ``run`` was asked for."""

    name_or_file: str
    pairs: tuple[str, ...]
    parameters_file: str | None
    version: str | None
    allow_draft: bool
    idempotency_key: str | None
    priority: int | None


def run(
    name_or_file: Annotated[
        str,
        typer.Argument(metavar="NAME_OR_FILE", help="A stored template, a template file, or - for stdin."),
    ],
    *,
    pairs: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="KEY=VALUE", help="A parameter; the value may be JSON."),
    ] = None,
    parameters_file: Annotated[
        str | None,
        typer.Option("--params", metavar="FILE", help="A JSON object of parameters, or - for stdin."),
    ] = None,
    version: Annotated[str | None, typer.Option(help="A version tag; default: the newest version.")] = None,
    allow_draft: Annotated[bool, typer.Option("--allow-draft", help="Run a draft.")] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(help="A second run with the same key finds the execution of the first.")
    ] = None,
    priority: Annotated[
        int | None, typer.Option(min=-100, max=100, help="Higher ones start first; default: the template's.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Store the execution and leave it to a running server.")
    ] = False,
    tools: Tools = None,
    json: Json = False,
) -> None:
    """Run a template and show its steps live.

    A file is stored first, as a new version when it differs from what is stored under its name.
    """
    options = RunOptions(
        name_or_file=name_or_file,
        pairs=tuple(pairs or ()),
        parameters_file=parameters_file,
        version=version,
        allow_draft=allow_draft,
        idempotency_key=idempotency_key,
        priority=priority,
    )
    printer = Printer(as_json=json)
    perform(printer, partial(_run, printer, options, detach=detach, tools=tools))


async def _run(printer: Printer, options: RunOptions, *, detach: bool, tools: Path | None) -> ExitCode:
    given = read_object(options.parameters_file) if options.parameters_file is not None else {}
    document = None if is_template_name(options.name_or_file) else read_document(options.name_or_file)
    async with application(execute=not detach, tools=tools) as opened:
        started = await _start(opened, printer, options, document, given)
        if detach:
            return _left_to_others(printer, started)
        return await follow_to_end(opened, printer, started.execution, stream=False)


async def _start(
    opened: Application,
    printer: Printer,
    options: RunOptions,
    document: JsonValue,
    given: dict[str, JsonValue],
) -> StartedExecution:
    if document is None:
        template = await opened.templates.get(name=options.name_or_file)
    else:
        filed = await save_file(opened.templates, document)
        report_filed(printer, filed)
        template = filed.template
    parameters = given | bind_pairs(options.pairs, template.document.get("parameters") or {})
    started = await opened.executions.start(
        RunRequest(
            workflow=template.name,
            parameters=parameters,
            version=options.version,
            allow_draft=options.allow_draft,
            idempotency_key=options.idempotency_key,
            priority=options.priority,
            triggered_by=caller_name(),
        )
    )
    for warning in started.warnings:
        printer.note(warning, "yellow")
    printer.line(f"execution {started.execution.id}", "dim")
    return started


def _left_to_others(printer: Printer, started: StartedExecution) -> ExitCode:
    if printer.as_json:
        printer.document(execution_json(started.execution))
    printer.note(
        f"It is {started.execution.status}. A running `archon-workflows serve` on this database advances it; "
        f"`archon-workflows show {started.execution.id} --follow` watches it."
    )
    return ExitCode.SUCCESS


async def follow_to_end(
    opened: Application, printer: Printer, execution: ExecutionRecord, *, stream: bool
) -> ExitCode:
    """Show an execution until it ends or waits for someone; return what its end means.

    With ``--json`` the changes are written as lines (``stream``), or one document at the end.
    """
    show, showing = viewer(printer, stream=stream)
    with showing:
        history = await follow(opened.executions, execution.id, show)
    if not printer.as_json:
        _print_lines(printer, outcome_lines(history))
    elif not stream:
        printer.document(history_json(history))
    return exit_code_of(history)


def executions(
    *,
    workflow: Annotated[str | None, typer.Option(help="Only those of this template.")] = None,
    status: Annotated[ExecutionStatus | None, typer.Option(help="Only this status.")] = None,
    triggered_by: Annotated[str | None, typer.Option(help="Only those that this caller started.")] = None,
    limit: Limit = 20,
    offset: Offset = 0,
    json: Json = False,
) -> None:
    """List executions, newest first."""
    which = ExecutionFilter(
        workflow_name=workflow, statuses=(status,) if status else (), triggered_by=triggered_by
    )
    printer = Printer(as_json=json)
    perform(printer, partial(_executions, printer, which, limit=limit, offset=offset))


async def _executions(printer: Printer, which: ExecutionFilter, *, limit: int, offset: int) -> ExitCode:
    async with application(execute=False) as opened:
        page = await opened.executions.list(which, offset=offset, limit=limit)
    if printer.as_json:
        printer.document(page_json("executions", [execution_json(one) for one in page.records], page, offset))
        return ExitCode.SUCCESS
    columns = ("execution", "workflow", "version", "status", "progress", "started", "duration")
    printer.table(columns, [_row(one) for one in page.records], empty="There are no executions.")
    printer.rest_of_page(page, offset)
    return ExitCode.SUCCESS


def _row(execution: ExecutionRecord) -> tuple[str, ...]:
    status = execution.status + why_not_running(execution)
    return (
        str(execution.id),
        execution.workflow_name,
        execution.version_tag,
        status,
        f"{execution.progress_percentage:.0f} %",
        f"{execution.started_at:%Y-%m-%d %H:%M:%S}" if execution.started_at else "",
        duration(execution.started_at, execution.completed_at, now_utc()),
    )


def show(
    execution: ExecutionArgument,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Watch it until it ends or waits.")] = False,
    log: Annotated[bool, typer.Option("--log", help="Show the whole log.")] = False,
    json: Json = False,
) -> None:
    """Show an execution: steps, durations, output or error, and the end of its log.

    With --follow and --json each change is a line of JSON.
    """
    printer = Printer(as_json=json)
    perform(printer, partial(_show, printer, execution, follow=follow, whole_log=log))


async def _show(printer: Printer, text: str, *, follow: bool, whole_log: bool) -> ExitCode:
    wanted = execution_id(text)
    async with application(execute=False) as opened:
        execution = await opened.executions.read(wanted)
        if follow:
            return await follow_to_end(opened, printer, execution, stream=True)
        history = await read_history(opened.executions, execution)
        obstacle = await _obstacle(opened, execution)
    if printer.as_json:
        printer.document(history_json(history))
    else:
        _print_history(printer, history, obstacle=obstacle, log_length=None if whole_log else 5)
    return ExitCode.SUCCESS


async def _obstacle(opened: Application, execution: ExecutionRecord) -> str | None:
    if execution.status in TERMINAL_STATUSES:
        return None
    return (await opened.executions.read_prospect(execution.id)).obstacle


def _print_history(
    printer: Printer, history: History, *, obstacle: str | None, log_length: int | None
) -> None:
    drawing = Drawing(ascii_only=printer.is_ascii_only)
    execution, now = history.execution, now_utc()
    printer.line(drawing.head(execution, now))
    printer.line(f"  {execution.id}  by {execution.triggered_by or 'unknown'}", "dim")
    if execution.parent_execution_id is not None:
        printer.line(f"  child of {execution.parent_execution_id} at {execution.parent_step_path}", "dim")
    if obstacle is not None:
        printer.line(f"  waits: {obstacle}", "yellow")
    printer.line(f"  input {one_line_json(without_secrets(execution.input_parameters))}", "dim")
    _print_lines(printer, drawing.tree(history, now))
    _print_lines(printer, outcome_lines(history))
    _print_lines(printer, log_lines(execution, log_length))


def control(
    execution: ExecutionArgument,
    action: Annotated[ControlAction, typer.Argument(help="What to ask of it.")],
    *,
    step: Annotated[
        str | None,
        typer.Option(help="The step path to approve, reject or resolve; default: the one that waits."),
    ] = None,
    from_step: Annotated[str | None, typer.Option(help="retry: the step to begin with.")] = None,
    version_number: Annotated[int | None, typer.Option(help="retry: go on with this newer version.")] = None,
    resolution: Annotated[Resolution | None, typer.Option(help="resolve: what became of the step.")] = None,
    output: Annotated[
        str | None, typer.Option(metavar="JSON", help="resolve as succeeded: its output.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept in the log.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Advance the execution here and show it until it ends or waits.")
    ] = False,
    tools: Tools = None,
    json: Json = False,
) -> None:
    """Pause, resume, cancel, retry, approve, reject or resolve an execution.

    The request is stored; whichever process runs the execution acts on it. With --follow this one does when
    no other one has it.
    """
    printer = Printer(as_json=json)
    perform(
        printer,
        lambda: _control(
            printer,
            execution,
            ControlRequest(
                id=uuid4(),
                action=action,
                requested_by=caller_name(),
                reason=reason,
                step_path=step,
                from_step=from_step,
                version_number=version_number,
                resolution=resolution,
                output=parse_json(output) if output is not None else None,
            ),
            follow=follow,
            tools=tools,
        ),
    )


async def _control(
    printer: Printer, text: str, request: ControlRequest, *, follow: bool, tools: Path | None
) -> ExitCode:
    wanted = execution_id(text)
    async with application(execute=follow, tools=tools) as opened:
        execution = await opened.executions.control(wanted, request, wait_seconds=ACT_SECONDS)
        if follow:
            return await follow_to_end(opened, printer, execution, stream=False)
    if printer.as_json:
        printer.document(execution_json(execution))
    else:
        printer.line(Drawing(ascii_only=printer.is_ascii_only).head(execution, now_utc()))
    if any(waiting.id == request.id for waiting in execution.control_requests):
        printer.note(
            f"The request is stored. The process that runs the execution acts on it, once there is one: "
            f"`archon-workflows serve`, or `archon-workflows control {wanted} {request.action} --follow`."
        )
    return ExitCode.SUCCESS


def caller_name() -> str:
    """Return who starts an execution from the command line: ``cli:`` and the user's name."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        return "cli"  # a container's user without an entry in the user database


def _print_lines(printer: Printer, lines: list[Text]) -> None:
    for line in lines:
        printer.line(line)
