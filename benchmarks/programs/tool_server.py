"""The tool that steps call: ``tool_server.py [PORT]``; over stdio without a port, else over HTTP."""

import sys

from mcp.server import MCPServer


def build() -> MCPServer:
    server = MCPServer("trivial", log_level="ERROR")

    @server.tool()
    def noop(n: int = 0) -> dict[str, bool]:
        """Do nothing."""
        return {"ok": n >= 0}

    del noop
    return server


if __name__ == "__main__":
    if len(sys.argv) > 1:
        build().run(transport="streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        build().run()
