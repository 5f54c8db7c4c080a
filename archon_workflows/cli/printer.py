"""The one place that writes: results on standard output, letters on standard error, in the asked-for form.

With ``--json`` standard output holds JSON and nothing else. Data is never taken for markup, and what could
steer a terminal is escaped.
"""

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from archon_workflows.cli.printable import as_json, json_text, printable
from archon_workflows.errors import WorkflowError
from archon_workflows.model.records import Page

_UNLIMITED_WIDTH = 10_000
"""Columns of a table that goes to a file or a pipe: nothing is cut there."""

_SEVERITY_STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}


class Printer:
    """Writes what a command has to say.

    Args:
        as_json: the command was called with ``--json``.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.out = _console(stderr=False)
        self.err = _console(stderr=True)

    @property
    def is_live(self) -> bool:
        """Whether what is shown may be drawn over: a person looks at a terminal."""
        return self.out.is_terminal and not self.as_json

    @property
    def is_ascii_only(self) -> bool:
        """Whether the output's encoding has no signs beyond ASCII to rely on."""
        return not self.out.encoding.startswith("utf")

    def document(self, value: Any) -> None:
        """Write the command's result as one JSON document."""
        self._write(json_text(value, indent=2))

    def json_line(self, value: Any) -> None:
        """Write one event of a stream as a line of JSON."""
        self._write(json_text(value))

    def line(self, text: str | Text = "", style: str = "") -> None:
        """Write a line for people; with ``--json`` nothing."""
        if not self.as_json:
            self.out.print(_text(text, style), soft_wrap=True)

    def note(self, text: str, style: str = "dim") -> None:
        """Write a line beside the result: a warning, a hint."""
        self.err.print(_text(text, style), soft_wrap=True)

    def verbatim(self, text: str) -> None:
        """Write text of this program byte for byte."""
        self._write(text.removesuffix("\n"))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, empty: str) -> None:
        """Write rows under headings, or the sentence ``empty`` where there is none."""
        table = Table(*columns, box=None, header_style="bold", pad_edge=False)
        for row in rows:
            table.add_row(*(_text(cell, "") for cell in row))
        if table.row_count:
            self.out.print(table)
        else:
            self.line(empty, "dim")

    def rest_of_page(self, page: Page[Any], offset: int) -> None:
        """Say how many records there are beyond the page."""
        rest = page.total - offset - len(page.records)
        if rest > 0:
            self.note(f"{rest} more of {page.total}; go on with --offset {offset + len(page.records)}.")

    def letter(self, error: WorkflowError) -> None:
        """Write an error to standard error, and with ``--json`` as ``{"error": ...}`` as the result too."""
        if self.as_json:
            with suppress(OSError):  # standard output itself may be what failed
                self.document({"error": error.as_json()})
        for line in letter_lines(error):
            self.err.print(line, soft_wrap=True)

    def findings(self, findings: Iterable[dict[str, Any]]) -> None:
        """Write findings of validation for people: severity, place, sentence, what to do."""
        for finding in findings:
            self.out.print(finding_text(finding), soft_wrap=True)

    def _write(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def letter_lines(error: WorkflowError) -> list[Text]:
    """Return the lines of an error's letter: code and message, path, suggestion, further findings."""
    lines = [Text.assemble(("error ", "bold red"), (error.code, "red"), ": ", printable(error.message))]
    if error.path:
        lines.append(Text(f"  at {printable(error.path)}"))
    if error.suggestion:
        lines.append(Text(f"  {printable(error.suggestion)}", "cyan"))
    listed = [*error.details.get("findings", ()), *error.details.get("problems", ())]
    if len(listed) == 1:
        return lines  # the message has said it
    return lines + [Text("  ").append_text(finding_text(as_json(one))) for one in listed]


def finding_text(finding: dict[str, Any]) -> Text:
    """Return one finding on one line."""
    severity = str(finding.get("severity", "error"))
    rule = finding.get("rule") or finding.get("keyword") or finding.get("code")
    text = Text.assemble((severity, _SEVERITY_STYLES.get(severity, "")), f" {printable(str(rule))}")
    place = finding.get("path")
    text.append(f" at {printable(str(place))}" if place else "")
    text.append(f": {printable(str(finding.get('message', '')))}")
    suggestion = finding.get("suggestion")
    return text.append(f" {printable(str(suggestion))}", "cyan") if suggestion else text


def _text(text: str | Text, style: str) -> Text:
    return text if isinstance(text, Text) else Text(printable(text), style)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = _UNLIMITED_WIDTH
    return console
