"""Commands about templates: ``validate`` and ``templates`` with its subcommands."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from archon_workflows.bootstrap import Application
from archon_workflows.cli.exits import ExitCode
from archon_workflows.cli.inputs import read_document
from archon_workflows.cli.options import Json, Limit, Offset, Tools
from archon_workflows.cli.presentation import page_json, template_json
from archon_workflows.cli.printable import as_json, readable_json
from archon_workflows.cli.printer import Printer
from archon_workflows.cli.saving import FiledTemplate, save_file
from archon_workflows.cli.session import application, perform
from archon_workflows.model.findings import Finding, has_errors
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.records import TemplateFilter, TemplateRecord, VersionRecord
from archon_workflows.model.template import ChangeType, TemplateStatus

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The template's name.")]
FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="A template as JSON, or - for stdin.")]
SavedChange = Literal["update", "major", "minor", "patch"]

templates = typer.Typer(help="List, show, save and retire templates.", no_args_is_help=False)


def validate(file: FileArgument, *, tools: Tools = None, json: Json = False) -> None:
    """Check a template file and list everything that is wrong with it; nothing is stored."""
    printer = Printer(as_json=json)
    perform(printer, partial(_validate, printer, file, tools))


async def _validate(printer: Printer, file: str, tools: Path | None) -> ExitCode:
    document = read_document(file)
    async with application(execute=False, tools=tools) as opened:
        findings = await opened.templates.validate(document)
    valid = not has_errors(findings)
    if printer.as_json:
        printer.document({"valid": valid, "findings": [one.as_json() for one in findings]})
    else:
        printer.findings(one.as_json() for one in findings)
        printer.line("valid" if valid else "not valid", "green" if valid else "bold red")
    return ExitCode.SUCCESS if valid else ExitCode.BAD_INPUT


@templates.callback(invoke_without_command=True)
def list_templates(
    context: typer.Context,
    *,
    search: Annotated[str | None, typer.Option(help="Text to look for.")] = None,
    status: Annotated[TemplateStatus | None, typer.Option(help="Only this status.")] = None,
    category: Annotated[str | None, typer.Option(help="Only this category.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only those with all of these tags.")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
    json: Json = False,
) -> None:
    """List templates by name."""
    if context.invoked_subcommand is not None:
        return
    which = TemplateFilter(
        text=search, statuses=(status,) if status else (), category=category, tags=tuple(tag or ())
    )
    printer = Printer(as_json=json)
    perform(printer, partial(_list, printer, which, limit=limit, offset=offset))


async def _list(printer: Printer, which: TemplateFilter, *, limit: int, offset: int) -> ExitCode:
    async with application(execute=False) as opened:
        page = await opened.templates.list(which, offset=offset, limit=limit)
    if printer.as_json:
        printer.document(page_json("templates", [template_json(one) for one in page.records], page, offset))
        return ExitCode.SUCCESS
    rows = [(one.name, one.version, one.status, one.category or "", one.title) for one in page.records]
    columns = ("template", "version", "status", "category", "title")
    printer.table(columns, rows, empty="There are no templates.")
    printer.rest_of_page(page, offset)
    return ExitCode.SUCCESS


@templates.command("show")
def show_template(
    name: NameArgument,
    *,
    version: Annotated[
        str | None, typer.Option(help="A version tag or number; default: the newest version.")
    ] = None,
    json: Json = False,
) -> None:
    """Write a template's document, ready to be edited and saved again."""
    printer = Printer(as_json=json)
    perform(printer, partial(_show, printer, name, version))


async def _show(printer: Printer, name: str, version: str | None) -> ExitCode:
    async with application(execute=False) as opened:
        document = await _document(opened, name, version)
    if printer.as_json:
        printer.document(document)
    else:
        printer.verbatim(readable_json(document))
    return ExitCode.SUCCESS


async def _document(opened: Application, name: str, version: str | None) -> JsonValue:
    if version is None:
        return (await opened.templates.get(name=name)).document
    wanted = int(version) if version.isdecimal() else version
    return (await opened.templates.get_version(name=name, version=wanted)).template_snapshot


@templates.command("versions")
def list_versions(name: NameArgument, *, limit: Limit = 50, offset: Offset = 0, json: Json = False) -> None:
    """List a template's versions, newest first."""
    printer = Printer(as_json=json)
    perform(printer, partial(_versions, printer, name, limit=limit, offset=offset))


async def _versions(printer: Printer, name: str, *, limit: int, offset: int) -> ExitCode:
    async with application(execute=False) as opened:
        page = await opened.templates.list_versions(name=name, offset=offset, limit=limit)
    if printer.as_json:
        printer.document(page_json("versions", [_version_json(one) for one in page.records], page, offset))
        return ExitCode.SUCCESS
    columns = ("number", "version", "change", "breaking", "created", "by", "summary")
    printer.table(columns, [_version_row(one) for one in page.records], empty="There are no versions.")
    printer.rest_of_page(page, offset)
    return ExitCode.SUCCESS


def _version_json(version: VersionRecord) -> dict[str, JsonValue]:
    row: dict[str, JsonValue] = as_json(version)
    return {name: value for name, value in row.items() if name != "template_snapshot"}


def _version_row(version: VersionRecord) -> tuple[str, ...]:
    return (
        str(version.version_number),
        version.version_tag,
        version.change_type,
        "yes" if version.breaking_changes else "",
        f"{version.created_at:%Y-%m-%d %H:%M:%S}",
        version.created_by or "",
        version.change_summary or "",
    )


@templates.command("save")
def save_template(
    file: FileArgument,
    *,
    change: Annotated[SavedChange, typer.Option(help="How to bump the version.")] = "update",
    summary: Annotated[str | None, typer.Option(help="What changed, for the version list.")] = None,
    tools: Tools = None,
    json: Json = False,
) -> None:
    """Store a template file, as a new version when it differs from what is stored."""
    printer = Printer(as_json=json)
    perform(printer, partial(_save, printer, file, change, summary, tools))


async def _save(
    printer: Printer, file: str, change: ChangeType, summary: str | None, tools: Path | None
) -> ExitCode:
    document = read_document(file)
    async with application(execute=False, tools=tools) as opened:
        filed = await save_file(opened.templates, document, change_type=change, change_summary=summary)
    if printer.as_json:
        printer.document(_filed_json(filed))
    report_filed(printer, filed)
    return ExitCode.SUCCESS


@templates.command("archive")
def archive_template(name: NameArgument, *, json: Json = False) -> None:
    """Archive a template: it never runs again, its history stays."""
    printer = Printer(as_json=json)
    perform(printer, partial(_archive, printer, name))


async def _archive(printer: Printer, name: str) -> ExitCode:
    async with application(execute=False) as opened:
        saved = await opened.templates.archive(name=name)
    return _done(printer, saved.template, "is archived")


@templates.command("delete")
def delete_template(name: NameArgument, *, json: Json = False) -> None:
    """Delete a template without executions, with all its versions."""
    printer = Printer(as_json=json)
    perform(printer, partial(_delete, printer, name))


async def _delete(printer: Printer, name: str) -> ExitCode:
    async with application(execute=False) as opened:
        deleted = await opened.templates.delete(name=name)
    return _done(printer, deleted, "is deleted")


def report_filed(printer: Printer, filed: FiledTemplate) -> None:
    """Say what became of a template file, and what was found that did not prevent it."""
    if filed.saved is None:
        printer.line(f"{filed.template.name} {filed.template.version} is stored as the file says", "dim")
        return
    printer.line(f"saved {filed.template.name} {filed.template.version}", "green")
    for sentence in filed.saved.breaking_changes:
        printer.note(f"breaking: {sentence}", "yellow")
    for finding in filed.saved.findings:
        printer.note(_finding_line(finding), "yellow" if finding.severity == "warning" else "dim")


def _filed_json(filed: FiledTemplate) -> dict[str, JsonValue]:
    saved = filed.saved
    return {
        "saved": saved is not None,
        "template": template_json(filed.template),
        "breaking_changes": list(saved.breaking_changes) if saved else [],
        "findings": [one.as_json() for one in saved.findings] if saved else [],
    }


def _finding_line(finding: Finding) -> str:
    return f"{finding.severity} {finding.rule} at {finding.path or 'the whole'}: {finding.message}"


def _done(printer: Printer, template: TemplateRecord, what: str) -> ExitCode:
    if printer.as_json:
        printer.document(template_json(template))
    printer.line(f"{template.name} {what}", "green")
    return ExitCode.SUCCESS
