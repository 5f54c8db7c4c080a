"""Commands about schedules: ``schedule`` with its subcommands."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated

import typer

from archon_workflows.cli.exits import ExitCode
from archon_workflows.cli.inputs import bind_pairs
from archon_workflows.cli.options import Json, Limit, Offset
from archon_workflows.cli.presentation import page_json
from archon_workflows.cli.printable import as_json
from archon_workflows.cli.printer import Printer
from archon_workflows.cli.session import application, perform
from archon_workflows.engine.schedules import Schedule, ScheduleRequest, Schedules
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.schedules import OnMissed, OnOverlap, ScheduleFilter

WhichArgument = Annotated[str, typer.Argument(metavar="SCHEDULE", help="The schedule's name or id.")]
Verb = Callable[[Schedules, str], Awaitable[Schedule]]

schedule = typer.Typer(help="Run templates by cron.", no_args_is_help=True)


@schedule.command("add")
def add_schedule(
    template: Annotated[str, typer.Argument(metavar="TEMPLATE", help="The template's name.")],
    cron: Annotated[
        str, typer.Argument(metavar="CRON", help="Five fields, quoted, such as '30 9 * * mon-fri'.")
    ],
    *,
    name: Annotated[
        str | None, typer.Option(help="Default: the template's. A schedule of that name is replaced.")
    ] = None,
    time_zone: Annotated[str, typer.Option(help="IANA name, such as Europe/Berlin.")] = "UTC",
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="Input of every run.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="A version tag; default: the newest when it is due.")
    ] = None,
    priority: Annotated[int | None, typer.Option(min=-100, max=100, help="Default: the template's.")] = None,
    on_missed: Annotated[OnMissed, typer.Option(help="When nobody was there at a due time.")] = "run_once",
    on_overlap: Annotated[OnOverlap, typer.Option(help="When the run before has not ended.")] = "skip",
    json: Json = False,
) -> None:
    """Run a template by itself, again and again; start `serve` or `worker` processes to do it."""
    request = partial(
        ScheduleRequest,
        workflow=template,
        cron=cron,
        name=name,
        time_zone=time_zone,
        version=version,
        priority=priority,
        on_missed=on_missed,
        on_overlap=on_overlap,
    )
    printer = Printer(as_json=json)
    perform(printer, partial(_add, printer, template, request, parameter or []))


async def _add(
    printer: Printer, template: str, request: Callable[..., ScheduleRequest], pairs: list[str]
) -> ExitCode:
    async with application(execute=False) as opened:
        declared = as_json((await opened.templates.get(name=template)).document.get("parameters", {}))
        parameters = bind_pairs(pairs, declared)
        saved = await opened.schedules.save(request(parameters=parameters))
    return _print_one(printer, saved, "scheduled")


@schedule.command("list")
def list_schedules(
    template: Annotated[
        str | None, typer.Argument(metavar="[TEMPLATE]", help="Only those of this template.")
    ] = None,
    *,
    limit: Limit = 50,
    offset: Offset = 0,
    json: Json = False,
) -> None:
    """List schedules by name: when they are due, and what became of the last time."""
    printer = Printer(as_json=json)
    perform(printer, partial(_list, printer, template, limit=limit, offset=offset))


async def _list(printer: Printer, template: str | None, *, limit: int, offset: int) -> ExitCode:
    which = ScheduleFilter(workflow_name=template)
    async with application(execute=False) as opened:
        page = await opened.schedules.list(which, offset=offset, limit=limit)
    if printer.as_json:
        printer.document(page_json("schedules", [_json(one) for one in page.records], page, offset))
        return ExitCode.SUCCESS
    columns = ("schedule", "template", "when", "time zone", "next", "last")
    printer.table(columns, [_row(one) for one in page.records], empty="There are no schedules.")
    printer.rest_of_page(page, offset)
    return ExitCode.SUCCESS


@schedule.command("pause")
def pause_schedule(which: WhichArgument, *, json: Json = False) -> None:
    """Let a schedule start nothing until it is resumed."""
    _perform_on(Printer(as_json=json), Schedules.pause, which, "paused")


@schedule.command("resume")
def resume_schedule(which: WhichArgument, *, json: Json = False) -> None:
    """Let a paused schedule go on from now; what was due meanwhile is not made up for."""
    _perform_on(Printer(as_json=json), Schedules.resume, which, "resumed")


@schedule.command("remove")
def remove_schedule(which: WhichArgument, *, json: Json = False) -> None:
    """Remove a schedule; executions that it started go on."""
    _perform_on(Printer(as_json=json), Schedules.remove, which, "removed")


def _perform_on(printer: Printer, verb: Verb, which: str, what: str) -> None:
    async def work() -> ExitCode:
        async with application(execute=False) as opened:
            return _print_one(printer, await verb(opened.schedules, which), what)

    perform(printer, work)


def _print_one(printer: Printer, one: Schedule, what: str) -> ExitCode:
    if printer.as_json:
        printer.document(_json(one))
        return ExitCode.SUCCESS
    record = one.record
    printer.line(f"{what} {record.name}: {record.workflow_name}, {one.in_words} ({record.time_zone})")
    for at in one.coming:
        printer.line(f"  due {at.isoformat(timespec='minutes')}", "dim")
    return ExitCode.SUCCESS


def _json(one: Schedule) -> dict[str, JsonValue]:
    return {**as_json(one.record), "in_words": one.in_words, "coming": as_json(one.coming)}


def _row(one: Schedule) -> tuple[str, ...]:
    record = one.record
    following = one.coming[0].isoformat(timespec="minutes") if one.coming else "paused"
    last = record.last_outcome or ""
    if record.last_error is not None:
        last = f"refused: {record.last_error['code']}"
    return (record.name, record.workflow_name, one.in_words, record.time_zone, following, last)
