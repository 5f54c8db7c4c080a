"""An MCP server for chaos runs, over raw stdio: it writes every call down, and misbehaves by its seed.

Each call leaves a line when it begins and one when it ends in ``calls.jsonl`` of the folder that CHAOS_LEDGER
names; many of these servers share it. How often a key was called is counted across processes, so that a tool
can fail the first calls of a key and answer the later ones whoever makes them. Only the standard library, so
that it starts at once: chaos starts it often.
"""

import hashlib
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

VERSION = "2025-06-18"
KEY = "archon-workflows/idempotency-key"

MISBEHAVIOURS = (
    "crash before the work",
    "crash after the work",
    "hang",
    "garbage",
    "drip",
    "answer after the deadline",
)

MISBEHAVED_CALLS_OF_A_KEY = 2
"""Only so many calls of a key misbehave, so that a step with more retries always succeeds in the end."""

LATE_SECONDS = 1.2
HUNG_SECONDS = 60.0


class Call:
    """One call: what it asks for, and its lines in the ledger."""

    def __init__(self, request: dict[str, Any], folder: Path) -> None:
        params = request["params"]
        self.request_id = request["id"]
        self.tool: str = params["name"]
        self.arguments: dict[str, Any] = params.get("arguments", {})
        self.key = str(params.get("_meta", {}).get(KEY))
        self.cancelled = threading.Event()
        self._folder = folder
        self._name = f"{os.getpid()}-{time.monotonic_ns()}-{threading.get_ident()}"
        self.number = self._count(self.key)

    def note(self, event: str, **fields: Any) -> None:
        line = {
            "event": event,
            "call": self._name,
            "tool": self.tool,
            "key": self.key,
            "number": self.number,
            "pid": os.getpid(),
            "wall": time.time(),
            "monotonic": time.monotonic(),
            **fields,
        }
        _append(self._folder / "calls.jsonl", json.dumps(line).encode() + b"\n")

    def asks(self) -> int:
        """Return how often the step was called, its polls taken together."""
        return self._count(f"polls of {self.key.partition('?')[0]}")

    def sleep(self, seconds: float) -> None:
        """Sleep, unless the client cancels the call."""
        self.cancelled.wait(seconds)

    def _count(self, what: str) -> int:
        counter = self._folder / "counts" / hashlib.sha256(what.encode()).hexdigest()
        return _append(counter, b".")


def _append(path: Path, line: bytes) -> int:
    """Append with one write, which no other process can cut in two; return the size that was reached."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line)
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)


class ToolFailure(Exception):
    """The tool says that it failed."""


def work(call: Call) -> dict[str, Any]:
    call.sleep(call.arguments.get("seconds", 0))
    return {"value": call.arguments["value"] + 1}


def fail(call: Call) -> dict[str, Any]:
    raise ToolFailure(call.arguments["reason"])


def flaky(call: Call) -> dict[str, Any]:
    if call.number <= call.arguments["failures"]:
        raise ToolFailure(f"failure {call.number}")
    return work(call)


def ask(call: Call) -> dict[str, Any]:
    return {"ready": call.asks() >= call.arguments["asks"]}


def seal(call: Call) -> dict[str, Any]:
    secret: str = call.arguments["secret"]
    return {"echo": secret, "digest": hashlib.sha256(secret.encode()).hexdigest()}


INTEGER = {"type": "integer"}
SECONDS = {"type": "number"}

TOOLS: dict[str, tuple[Callable[[Call], dict[str, Any]], dict[str, Any], list[str]]] = {
    "work": (work, {"value": INTEGER, "seconds": SECONDS}, ["value"]),
    "shaky": (work, {"value": INTEGER}, ["value"]),
    "destroy": (work, {"value": INTEGER, "seconds": SECONDS}, ["value"]),
    "fail": (fail, {"reason": {"type": "string"}}, ["reason"]),
    "flaky": (flaky, {"value": INTEGER, "failures": INTEGER}, ["value", "failures"]),
    "ask": (ask, {"asks": INTEGER}, ["asks"]),
    "seal": (seal, {"secret": {"type": "string"}}, ["secret"]),
}
"""By name: what it does, its properties, and which of them are required."""


def described(name: str) -> dict[str, Any]:
    _, properties, required = TOOLS[name]
    destructive = name == "destroy"
    return {
        "name": name,
        "inputSchema": {"type": "object", "properties": properties, "required": required},
        "annotations": {"destructiveHint": destructive, "idempotentHint": not destructive},
    }


class Server:
    """One process of the ledger.

    Args:
        folder: of the ledger.
        seed: of the misbehaviours of ``shaky``.
    """

    def __init__(self, folder: Path, seed: str) -> None:
        (folder / "counts").mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._seed = seed
        self._writing = threading.Lock()
        self._calls: dict[Any, Call] = {}

    def serve(self) -> None:
        """Answer until the client is gone."""
        for line in sys.stdin.buffer:
            request = json.loads(line)
            method = request.get("method")
            if method == "initialize":
                self._answer(request["id"], self._introduction())
            elif method == "tools/list":
                self._answer(request["id"], {"tools": [described(name) for name in TOOLS]})
            elif method == "tools/call":
                self._start(Call(request, self._folder))
            elif method == "notifications/cancelled":
                self._cancel(request["params"]["requestId"])
            elif "id" in request and method is not None:
                self._send({"id": request["id"], "error": {"code": -32601, "message": "Method not found"}})
        os._exit(0)

    def _introduction(self) -> dict[str, Any]:
        info = {"name": "chaos ledger", "version": "1"}
        return {"protocolVersion": VERSION, "capabilities": {"tools": {}}, "serverInfo": info}

    def _start(self, call: Call) -> None:
        self._calls[call.request_id] = call
        misbehaviour = self._misbehaviour(call)
        call.note("start", misbehaviour=misbehaviour)
        threading.Thread(target=self._carry_out, args=(call, misbehaviour), daemon=True).start()

    def _cancel(self, request_id: Any) -> None:
        call = self._calls.get(request_id)
        if call is not None:
            call.cancelled.set()

    def _misbehaviour(self, call: Call) -> str | None:
        if call.tool != "shaky" or call.number > MISBEHAVED_CALLS_OF_A_KEY:
            return None
        # The execution's id is chance; the rest of the key, with the seed, is not.
        dice = random.Random(f"{self._seed} {call.key.partition('/')[2]} {call.number} {call.arguments}")  # noqa: S311 - no secret
        return dice.choice((None, *MISBEHAVIOURS))

    def _carry_out(self, call: Call, misbehaviour: str | None) -> None:
        if misbehaviour == "crash before the work":
            os._exit(7)
        if misbehaviour == "hang":
            call.sleep(HUNG_SECONDS)
        if misbehaviour == "answer after the deadline":
            call.sleep(LATE_SECONDS)
        result: dict[str, Any]
        try:
            result = {"content": [], "structuredContent": TOOLS[call.tool][0](call)}
        except ToolFailure as failure:
            result = {"content": [{"type": "text", "text": str(failure)}], "isError": True}
        self._end(call, misbehaviour, result)

    def _end(self, call: Call, misbehaviour: str | None, result: dict[str, Any]) -> None:
        self._calls.pop(call.request_id, None)
        if call.cancelled.is_set():
            call.note("end", how="cancelled")
            return
        call.note("end", how="failed" if "isError" in result else "answered")
        if misbehaviour == "crash after the work":
            os._exit(7)
        if misbehaviour == "garbage":
            self._write(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[\n' % call.request_id)
        elif misbehaviour == "drip":
            self._drip(call.request_id, result)
        else:
            self._answer(call.request_id, result)

    def _drip(self, request_id: Any, result: dict[str, Any]) -> None:
        line = json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result}).encode() + b"\n"
        with self._writing:
            for start in range(0, len(line), 8):
                sys.stdout.buffer.write(line[start : start + 8])
                sys.stdout.buffer.flush()
                time.sleep(0.02)

    def _answer(self, request_id: Any, result: dict[str, Any]) -> None:
        self._send({"id": request_id, "result": result})

    def _send(self, message: dict[str, Any]) -> None:
        self._write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        with self._writing:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    Server(Path(os.environ["CHAOS_LEDGER"]), os.environ.get("CHAOS_SEED", "0")).serve()
