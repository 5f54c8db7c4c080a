"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output and nothing else there.")]
Tools = Annotated[
    Path | None,
    typer.Option(
        "--tools",
        metavar="FILE",
        help='Tool servers, in the {"mcpServers": ...} format. Default: ARCHON_WORKFLOWS_TOOLS.',
    ),
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1_000, help="How many to list.")]
Offset = Annotated[int, typer.Option("--offset", min=0, help="How many to pass over first.")]
