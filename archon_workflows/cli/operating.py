"""Commands for whoever operates it: ``serve``, ``worker``, ``tools``, ``migrate``, ``doctor``, ``demo``."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from anyio import sleep_forever
from anyio.lowlevel import checkpoint
from rich.text import Text

from archon_workflows.bootstrap import database, tool_servers, uses_supabase
from archon_workflows.cli.demo.demonstration import demonstrate
from archon_workflows.cli.doctor import Diagnosis, State, diagnose
from archon_workflows.cli.exits import ExitCode
from archon_workflows.cli.options import Json, Tools
from archon_workflows.cli.printable import as_json, printable
from archon_workflows.cli.printer import Printer
from archon_workflows.cli.session import application, load_settings, perform
from archon_workflows.errors import StorageError
from archon_workflows.gateway.port import ServerState, ToolEntry
from archon_workflows.server.app import build_server
from archon_workflows.server.authentication import authentication_of
from archon_workflows.server.stdio import serve_stdio
from archon_workflows.settings import variable_of
from archon_workflows.storage.migrations import apply_migration, migration_sql, schema_state

Transport = Literal["stdio", "sse", "http"]

DEFAULT_PORT = 8000

_STATE_STYLES: dict[State, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def serve(
    *,
    transport: Annotated[Transport, typer.Option(help="How clients reach it.")] = "stdio",
    host: Annotated[str, typer.Option(help="sse and http: where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="sse and http: where to listen.")
    ] = DEFAULT_PORT,
    execute: Annotated[
        bool, typer.Option(help="Advance executions too, or only accept and watch them for workers.")
    ] = True,
    tools: Tools = None,
) -> None:
    """Serve MCP and advance executions until the client or a signal ends it."""
    work = partial(_serve, transport, host=host, port=port, execute=execute, file=tools)
    perform(Printer(as_json=False), work, when_stopped=ExitCode.SUCCESS)


async def _serve(transport: Transport, *, host: str, port: int, execute: bool, file: Path | None) -> ExitCode:
    async with application(execute=execute, tools=file) as opened:
        settings = opened.settings
        if transport == "stdio":
            await serve_stdio(build_server(opened))
        else:
            # Who speaks stdio has no use for a web server, and waits for the imports.
            from archon_workflows.server.http import HttpLimits, serve_http  # noqa: PLC0415 - see above

            await serve_http(
                build_server(opened, authentication_of(settings)),
                transport,
                host=host,
                port=port,
                stateless=settings.http_stateless,
                allowed_hosts=settings.http_allowed_hosts,
                limits=HttpLimits(
                    request_bytes=settings.http_request_bytes,
                    request_seconds=settings.http_request_seconds,
                    connections=settings.http_connections,
                ),
            )
            await checkpoint()  # the signal that ended it arrives here, before the engine says goodbye
    return ExitCode.SUCCESS


def worker(*, tools: Tools = None) -> None:
    """Advance executions with other workers, on any number of machines, until a signal ends it."""
    perform(Printer(as_json=False), partial(_work, tools), when_stopped=ExitCode.SUCCESS)


async def _work(file: Path | None) -> ExitCode:
    async with application(execute=True, is_worker=True, tools=file):
        await sleep_forever()
    return ExitCode.SUCCESS


def tools(
    *,
    server: Annotated[str | None, typer.Option(help="Only the tools of this server.")] = None,
    tools: Tools = None,
    json: Json = False,
) -> None:
    """List the tool servers and what steps can call."""
    printer = Printer(as_json=json)
    perform(printer, partial(_tools, printer, server, tools))


async def _tools(printer: Printer, server: str | None, file: Path | None) -> ExitCode:
    async with tool_servers(load_settings(tools=file)) as gateway:
        entries = [one for one in await gateway.tools() if server in (None, one.server)]
        states = [one for one in await gateway.servers() if server in (None, one.name)]
    if printer.as_json:
        printer.document({"servers": as_json(states), "tools": [_tool_json(one) for one in entries]})
    else:
        _print_tools(printer, entries, states)
    return ExitCode.TROUBLE if any(one.state == "failed" for one in states) else ExitCode.SUCCESS


def _tool_json(tool: ToolEntry) -> dict[str, object]:
    return {"address": tool.address, **as_json(tool)}


def _print_tools(printer: Printer, entries: list[ToolEntry], states: list[ServerState]) -> None:
    rows = [(one.address, _nature(one), ", ".join(_arguments(one)), _first_line(one)) for one in entries]
    printer.table(("tool", "nature", "arguments", "what it does"), rows, empty="No step can call anything.")
    for one in states:
        if one.error is not None:
            printer.note(f"{one.name} ({one.transport}) {one.state}: {one.error}", "yellow")


def _nature(tool: ToolEntry) -> str:
    if tool.read_only:
        return "reads"
    return "destructive" if tool.destructive else "changes"


def _arguments(tool: ToolEntry) -> list[str]:
    required: list[str] = tool.input_schema.get("required") or []
    properties: dict[str, object] = tool.input_schema.get("properties") or {}
    return [f"{name}*" if name in required else name for name in properties]


def _first_line(tool: ToolEntry) -> str:
    return (tool.description or tool.title or "").strip().partition("\n")[0]


def migrate(
    *,
    print_sql: Annotated[bool, typer.Option("--print", help="Print the SQL and do nothing.")] = False,
    json: Json = False,
) -> None:
    """Bring the database to this program's schema; harmless when it is there already."""
    printer = Printer(as_json=json)
    perform(printer, partial(_migrate, printer, print_sql=print_sql))


async def _migrate(printer: Printer, *, print_sql: bool) -> ExitCode:
    if print_sql:
        if printer.as_json:
            printer.document({"sql": migration_sql()})
        else:
            printer.verbatim(migration_sql())
        return ExitCode.SUCCESS
    settings = load_settings()
    if uses_supabase(settings):
        raise StorageError(
            "A Supabase project cannot be migrated over its API.",
            code="migration_needs_sql",
            suggestion="Paste what 'archon-workflows migrate --print' prints into the project's SQL editor, "
            f"or set {variable_of('database_url')} to the project's direct connection.",
        )
    if settings.database_url is None:
        async with database(settings):
            before = "current"  # the embedded one is migrated by being opened
    else:
        url = settings.database_url.get_secret_value()
        before = await schema_state(url)
        await apply_migration(url)
        # Only workers and this command wait for PgQueuer's import.
        from archon_workflows.storage.dispatch import install_dispatch  # noqa: PLC0415 - see above

        await install_dispatch(url)
    if printer.as_json:
        printer.document({"before": before, "after": "current"})
    printer.line(
        f"The schema was {before}; it is current now." if before != "current" else "It is current.", "green"
    )
    return ExitCode.SUCCESS


def doctor(*, tools: Tools = None, json: Json = False) -> None:
    """Check the installation, the database and the tool servers, and say what to do."""
    printer = Printer(as_json=json)
    perform(printer, partial(_doctor, printer, tools))


async def _doctor(printer: Printer, file: Path | None) -> ExitCode:
    results: list[Diagnosis] = []
    async for diagnosis in diagnose(load_settings(tools=file)):
        results.append(diagnosis)
        _print_diagnosis(printer, diagnosis)
    if printer.as_json:
        printer.document({"checks": as_json(results)})
    failed = any(one.state == "fail" for one in results)
    return ExitCode.TROUBLE if failed else ExitCode.SUCCESS


def _print_diagnosis(printer: Printer, diagnosis: Diagnosis) -> None:
    text = Text(f"{diagnosis.state:<4}", _STATE_STYLES[diagnosis.state])
    text.append(f"  {printable(diagnosis.check)}", "bold").append(f"  {printable(diagnosis.found)}")
    printer.line(text)
    if diagnosis.advice is not None:
        printer.line(f"      {diagnosis.advice}", "cyan")


def demo(*, json: Json = False) -> None:
    """Run two workflows on real tool servers and leave them in the embedded database to look at."""
    printer = Printer(as_json=json)
    perform(printer, lambda: demonstrate(printer, load_settings()))
