"""The command ``archon-workflows``: verbs of the engine for people and scripts.

Rooms: ``running``, ``authoring``, ``scheduling``, ``operating`` (the commands), ``session`` (opening the
application, ending with an exit code), ``inputs``, ``saving``, ``history``, ``drawing``, ``progress``,
``printer``, ``presentation``, ``printable``, ``exits``, ``options``, ``doctor``, ``demo``. No workflow logic
lives here.
"""

import sys

import typer

from archon_workflows.cli.authoring import templates, validate
from archon_workflows.cli.operating import demo, doctor, migrate, serve, tools, worker
from archon_workflows.cli.running import control, executions, run, show
from archon_workflows.cli.scheduling import schedule

app = typer.Typer(
    name="archon-workflows",
    help="Store, run and watch workflows of MCP tool calls, durably, in Postgres.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for _command in (serve, worker, run, validate, executions, show, control, tools, migrate, doctor, demo):
    app.command()(_command)
app.add_typer(templates, name="templates")
app.add_typer(schedule, name="schedule")


def main() -> None:
    """Run the command line; the process ends with one of the codes in ``exits``."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - text streams of a process can
    app()
