"""Real tool servers for the gateway's tests, calls to them, and an eye on the event loop."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import anyio
from mcp.server import MCPServer

from archon_workflows.gateway.configuration import HttpServer, StdioServer
from archon_workflows.gateway.limits import GatewayLimits
from archon_workflows.gateway.port import ToolCall, ToolProgress
from archon_workflows.gateway.tool_servers import ToolServers
from archon_workflows.model.outcomes import Outcome

SERVERS = Path(__file__).parents[1] / "tool_servers"
TRACE_PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def stdio(script: str, *arguments: str, **environment: str) -> StdioServer:
    return StdioServer(
        command=sys.executable, args=[str(SERVERS / f"{script}.py"), *arguments], env=environment
    )


def tool_call(
    tool_name: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    timeout_seconds: float = 20,
    key: str = "execution/step",
    on_progress: Callable[[ToolProgress], None] | None = None,
) -> ToolCall:
    return ToolCall(
        tool_name=tool_name,
        arguments=arguments or {},
        idempotency_key=key,
        trace_parent=TRACE_PARENT,
        timeout_seconds=timeout_seconds,
        on_progress=on_progress,
    )


async def outcome_of(gateway: ToolServers, tool_name: str, **arguments: Any) -> Outcome:
    return await gateway.call(tool_call(tool_name, arguments))


async def eventually(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 10) -> None:
    """Wait for something that another process does."""
    with anyio.fail_after(seconds):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await anyio.sleep(0.01)


class LedgerFile:
    """What the ledger server wrote down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self, tool: str | None = None) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        lines = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [line for line in lines if tool in (None, line["tool"])]

    async def wait_for(self, tool: str) -> dict[str, Any]:
        await eventually(lambda: bool(self.lines(tool)))
        return self.lines(tool)[-1]


@contextmanager
def running_http(
    script: str, *arguments: str, port: int | None = None, **environment: str
) -> Generator[tuple[int, subprocess.Popen[bytes]]]:
    """Run a server that listens on a port, a free one by default."""
    port = port or free_port()
    command = [sys.executable, str(SERVERS / f"{script}.py"), *arguments, str(port)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for_port(port)
            yield port, process
        finally:
            process.kill()


@contextmanager
def http_ledger(
    transport: str, ledger: LedgerFile, port: int | None = None
) -> Generator[tuple[HttpServer, subprocess.Popen[bytes]]]:
    """Run the ledger server over HTTP."""
    with running_http("ledger", transport, port=port, LEDGER=str(ledger.path)) as (found, process):
        yield http_server(transport, found), process


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def http_server(transport: str, port: int) -> HttpServer:
    if transport == "sse":
        return HttpServer(url=f"http://127.0.0.1:{port}/sse", transport="sse")
    return HttpServer(url=f"http://127.0.0.1:{port}/mcp")


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def ledger_in_process(path: Path | None = None) -> MCPServer:
    """Build the ledger server in this process."""
    spec = spec_from_file_location("ledger", SERVERS / "ledger.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules.setdefault("ledger", module)
    spec.loader.exec_module(module)
    return module.build(path)


def seconds_without_a_core() -> float:
    """Return how long this thread was ready to run and others had the cores; 0 where the kernel does not say.

    The second figure of https://docs.kernel.org/scheduler/sched-stats.html#proc-pid-schedstat.
    """
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


class LoopWatch:
    """Measures how long the event loop was held up, by anything but a busy machine."""

    def __init__(self) -> None:
        self.longest_stall = 0.0

    async def run(self) -> None:
        while True:
            before = time.perf_counter() - seconds_without_a_core()
            await anyio.sleep(0.005)
            took = time.perf_counter() - seconds_without_a_core() - before
            self.longest_stall = max(self.longest_stall, took - 0.005)


@asynccontextmanager
async def watched_loop() -> AsyncGenerator[LoopWatch]:
    watch = LoopWatch()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch.run)
        yield watch
        tasks.cancel_scope.cancel()


def quick_limits(**changed: Any) -> GatewayLimits:
    """Return limits whose waits fit a test."""
    quick = GatewayLimits(first_backoff_seconds=0.02, longest_backoff_seconds=0.2, stop_seconds=0.5)
    return replace(quick, **changed)
