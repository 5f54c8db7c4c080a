"""An MCP server over HTTP that breaks rules; raw sockets, so that nothing well-kept gets in the way.

``python hostile_http.py PORT``. Each tool is one way to misbehave, but ``ok``. What the stdio server does to
its lines, this one does to the events of a stream.
"""

import gzip
import json
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import hostile

MEGABYTE = 1_048_576
METADATA_URL = "http://169.254.169.254/latest/meta-data/"

Request = dict[str, Any]


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    forgotten = threading.Event()
    answers_heard = 0

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        method = request.get("method")
        if method is None:
            type(self).answers_heard += 1
            self.reply(202, b"")
        elif "id" not in request:
            self.reply(202, b"")
        elif method == "initialize":
            self.forgotten.clear()
            info = {"name": "hostile", "version": "1"}
            result: Any = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
            self.answer(request, result, session="session-1")
        elif method == "tools/list":
            self.answer(request, {"tools": [hostile.tool(name) for name in (*TOOLS, *OF_STDIO)]})
        elif method == "tools/call":
            self.call(request)
        else:
            self.reply(404, b"")

    def do_GET(self) -> None:
        self.reply(405, b"")

    def do_DELETE(self) -> None:
        self.reply(200, b"")

    def call(self, request: Request) -> None:
        if self.forgotten.is_set():
            self.reply(404, b"")
        else:
            TOOLS.get(request["params"]["name"], events)(self, request)

    def answer(self, request: Request, result: Any, **headers: str) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode()
        named = {"mcp-session-id": headers["session"]} if headers else {}
        self.reply(200, body, **named)

    def reply(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def stream(self, event_megabytes: int) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(b"event: message\ndata: ")
        for _ in range(event_megabytes):
            self.wfile.write(b"x" * MEGABYTE)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


def text(value: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": value}]}


def compressed_bomb(handler: Handler, _: Request) -> None:
    body = gzip.compress(b"[" + b" " * (200 * MEGABYTE) + b"]", 1)
    handler.reply(200, body, **{"content-encoding": "gzip"})


def reset(handler: Handler, _: Request) -> None:
    handler.close_connection = True
    handler.connection.close()


def redirect(handler: Handler, _: Request) -> None:
    handler.reply(307, b"", location=METADATA_URL)


def forget_session(handler: Handler, request: Request) -> None:
    handler.answer(request, text("forgotten from now on"))
    handler.forgotten.set()


def answers_heard(handler: Handler, request: Request) -> None:
    handler.answer(request, text(str(handler.answers_heard)))


class Events(threading.local):
    """What the stdio server's tools write, as the events of the stream that this thread answers with."""

    handler: Handler
    is_line_open = False

    def write(self, data: bytes) -> None:
        *ended, rest = data.split(b"\n")
        out = self.handler.wfile
        for line in ended:
            out.write((b"" if self.is_line_open else b"data: ") + line + b"\n\n")
            self.is_line_open = False
        if rest:
            out.write((b"" if self.is_line_open else b"data: ") + rest)
            self.is_line_open = True
        out.flush()


EVENTS = Events()


def events(handler: Handler, request: Request) -> None:
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("content-type", "text/event-stream")
    handler.send_header("connection", "close")
    handler.end_headers()
    EVENTS.handler = handler
    EVENTS.is_line_open = False
    hostile.TOOLS[request["params"]["name"]](request)


TOOLS: dict[str, Callable[[Handler, Request], object]] = {
    "ok": lambda handler, request: handler.answer(request, text("ok")),
    "hang": lambda _handler, _request: threading.Event().wait(30),
    "reset": reset,
    "redirect": redirect,
    "compressed_bomb": compressed_bomb,
    "megabytes": lambda handler, request: handler.answer(request, text("x" * 50 * MEGABYTE)),
    "oversized_event": lambda handler, _: handler.stream(50),
    "broken_stream": lambda handler, _: handler.stream(0),
    "html": lambda handler, _: handler.reply(200, b"<html>", "text/html"),
    "not_json": lambda handler, _: handler.reply(200, b"{nope"),
    "not_a_number": lambda handler, request: handler.reply(
        200, b'{"jsonrpc":"2.0","id":%d,"result":{"content":[],"v":NaN}}' % request["id"]
    ),
    "rate_limited": lambda handler, _: handler.reply(429, b"", **{"retry-after": "7"}),
    "unavailable": lambda handler, _: handler.reply(503, b"<html>", "text/html"),
    "forbidden": lambda handler, _: handler.reply(403, b"", "text/plain"),
    "accepted": lambda handler, _: handler.reply(202, b""),
    "forget_session": forget_session,
    "answers_heard": answers_heard,
}


OF_STDIO = tuple(name for name in hostile.TOOLS if name not in {*TOOLS, "die", "fork_and_die"})
"""Those two would end a server that has no one to start it again."""


if __name__ == "__main__":
    hostile.write = EVENTS.write
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
