"""A tool server that gives away what it is told, in every dress: ``python leaky.py FOLDER``, over stdio.

It notes the ``_meta`` of its calls in ``FOLDER/metas``; ``hold`` waits for ever when ``FOLDER/held`` is new.
"""

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError


def dresses(secret: str) -> dict[str, str]:
    """Return what an echo may look like."""
    return {
        "plain": secret,
        "json": json.dumps({"given": secret}),
        "json in json": json.dumps(json.dumps({"given": secret})),
        "python": repr(secret),
        "url": quote(secret, safe=""),
        **{
            f"base64 at {before}": base64.b64encode(b"x" * before + secret.encode() + b"yz").decode()
            for before in range(3)
        },
    }


def build(folder: Path) -> MCPServer:
    """Return the server."""
    server = MCPServer("leaky", log_level="ERROR")

    @server.tool()
    async def leak(context: Context, secret: str, how: str = "output") -> dict[str, Any]:
        """Give the secret away."""
        with (folder / "metas").open("a") as metas:
            metas.write(json.dumps(dict(context.request_context.meta or {}), default=str) + "\n")
        said = dresses(secret)
        sys.stderr.write(json.dumps(said) + "\n" + secret + "\n")
        sys.stderr.flush()
        if how == "error":
            raise ToolError("x" * 3_980 + json.dumps(said) + secret)
        if how == "die":
            os._exit(3)
        if how == "hold" and not (folder / "held").exists():
            (folder / "held").touch()
            await anyio.sleep_forever()
        await context.report_progress(1, 2, f"{'x' * 990} {secret}")
        await context.report_progress(2, 2, json.dumps(said))
        return {"said": said, secret: True, "success": True}

    @server.tool()
    def strict(secret: int) -> int:
        """Take no text, so that the letter about a wrong argument shows it."""
        return secret

    del leak, strict
    return server


if __name__ == "__main__":
    build(Path(sys.argv[1])).run("stdio")
