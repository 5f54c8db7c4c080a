"""What the demonstration runs: the seed document's deployment, then a report that uses all five step types.

It always uses the embedded database, whatever the environment names, so that it never writes into somebody's
real one.
"""

import shlex
import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass

from archon_workflows.bootstrap import Application, open_application
from archon_workflows.cli.demo.surroundings import (
    missing_parts,
    template_text,
    temporary_repository,
    write_tool_servers,
)
from archon_workflows.cli.drawing import outcome_lines
from archon_workflows.cli.exits import ExitCode, exit_code_of
from archon_workflows.cli.history import History
from archon_workflows.cli.presentation import history_json
from archon_workflows.cli.printer import Printer
from archon_workflows.cli.progress import follow, viewer
from archon_workflows.cli.saving import save_file
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.model.json_values import parse_json
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.settings import Settings

TRIGGERED_BY = "demo"


@dataclass(frozen=True, slots=True)
class Part:
    """One run of the demonstration.

    Attributes:
        templates: what is stored first, linked ones before those that link to them; the last one is run.
    """

    title: str
    templates: tuple[str, ...]
    parameters: dict[str, JsonValue]


async def demonstrate(printer: Printer, settings: Settings) -> ExitCode:
    """Run the demonstration and leave its executions in the embedded database.

    Returns:
        ``SUCCESS`` when everything completed; ``TROUBLE`` when a part was left out because something is
        missing on this machine; otherwise what the first run that did not complete means.
    """
    tools = write_tool_servers(settings.home)
    embedded = settings.model_copy(update={"tools": tools, "database_url": None, "supabase_url": None})
    lacking = missing_parts()
    with ExitStack() as surroundings:
        parts = [_DEPLOYMENT]
        if not lacking:
            parts.append(_report_on(str(surroundings.enter_context(temporary_repository()))))
        async with open_application(embedded, execute=True) as opened:
            histories = [await _run(opened, printer, part) for part in parts]
    for part in lacking:
        printer.note(f"Left out the report on a repository: {part.what} is missing; {part.advice}.", "yellow")
    _tell(printer, histories, settings, tools=str(tools))
    codes = [exit_code_of(history) for history in histories]
    return max(codes) or (ExitCode.TROUBLE if lacking else ExitCode.SUCCESS)


_DEPLOYMENT = Part(
    "The deployment of a virtual machine: the example of the schema document, with its linked backup.",
    ("setup_vm_backup", "vm_deployment"),
    {"vm_name": "web-1"},
)


def _report_on(repository: str) -> Part:
    return Part(
        "A report on a git repository: action, condition, loop, parallel and workflow_link, with a retry.",
        ("announce_message", "repository_report"),
        {"repository": repository},
    )


async def _run(opened: Application, printer: Printer, part: Part) -> History:
    printer.line()
    printer.line(part.title, "bold")
    for name in part.templates:
        await save_file(opened.templates, parse_json(template_text(name)))
    request = RunRequest(workflow=part.templates[-1], parameters=part.parameters, triggered_by=TRIGGERED_BY)
    started = await opened.executions.start(request)
    show, showing = viewer(printer, stream=False)
    with showing:
        history = await follow(opened.executions, started.execution.id, show)
    for line in outcome_lines(history):
        printer.line(line)
    return history


def _tell(printer: Printer, histories: list[History], settings: Settings, *, tools: str) -> None:
    if printer.as_json:
        printer.document({"tools": tools, "executions": [history_json(history) for history in histories]})
        return
    printer.line()
    printer.line("They are in the embedded database now. Look at them:", "bold")
    program = _program()
    printer.line(f"  {program} executions", "cyan")
    for history in histories:
        printer.line(f"  {program} show {history.execution.id} --log", "cyan")
    printer.line(f"  {program} run vm_deployment -p vm_name=web-2 --tools {shlex.quote(tools)}", "cyan")
    if settings.database_url is not None or settings.supabase_url is not None:
        printer.note("Your environment names another database; look at these without it.", "yellow")


def _program() -> str:
    """Return how this program is called here: by its name where that is on the PATH, else as it was."""
    name = "archon-workflows"
    if shutil.which(name) is not None:
        return name
    called = sys.argv[0]
    return (
        f"{shlex.quote(sys.executable)} -m archon_workflows"
        if called.endswith(".py")
        else shlex.quote(called)
    )
