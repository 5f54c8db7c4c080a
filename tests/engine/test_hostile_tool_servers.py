"""Whole executions against tool servers that break every rule: each step ends in time, in a typed way.

Over stdio and over HTTP, one way to misbehave after the other in one process, beside executions of another
tool server that have to go on as if nothing were the matter. Run with ``-s`` it prints a line for each way.
"""

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
import psutil
import pytest
from applications import action, run, save, steps_of
from gateway_harness import http_server, running_http, stdio, watched_loop
from ledger import build
from pydantic import SecretStr

from archon_workflows.bootstrap import Application, open_application
from archon_workflows.gateway.session import ToolServer
from archon_workflows.settings import Settings

LONGEST_SECONDS = 12.0
LONGEST_STALL_SECONDS = 0.25
MEMORY_BYTES = 64 * 1_048_576

COMPLETED = "completed"

EVERYWHERE = {
    "hang": "timeout",
    "drip": "timeout",
    "broken_json": "invalid_result",
    "broken_json_without_id": "invalid_result",
    "binary": "invalid_result",
    "bad_utf8": "invalid_result",
    "null_result": "protocol_error",
    "wrong_id": "protocol_error",
    "two_answers": COMPLETED,
    "no_content": "protocol_error",
    "nul": COMPLETED,
    "not_a_number": "invalid_result",
    "infinite": "invalid_result",
    "huge_integer": "invalid_result",
    "duplicate_keys": "invalid_result",
    "deep": "invalid_result",
    "megabytes": "payload_too_large",
    "megabytes_id_last": "payload_too_large",
    "endless_line": "payload_too_large",
    "progress_flood": COMPLETED,
    "log_flood": COMPLETED,
    "sampling_flood": COMPLETED,
    "stderr_flood": COMPLETED,
    "huge_error": "tool_error",
    "json_rpc_error": "protocol_error",
    "rate_limited": "rate_limited",
    "regex_bomb": "schema_violation",
    "schema_bomb": COMPLETED,
    "remote_reference": COMPLETED,
    "wrong_structure": "schema_violation",
    "structure_missing": "schema_violation",
    "injection": COMPLETED,
    "change_tools": COMPLETED,
    "ok": COMPLETED,
}
STDIO = EVERYWHERE | {
    "die": "connection",
    "fork_and_die": "connection",
    "garbage": "timeout",
    "chatter": "protocol_error",
    "banner": COMPLETED,
    "lone_surrogate": COMPLETED,
}
HTTP = EVERYWHERE | {
    "reset": "connection",
    "redirect": "protocol_error",
    "compressed_bomb": "protocol_error",
    "oversized_event": "payload_too_large",
    "broken_stream": "connection",
    "html": "protocol_error",
    "not_json": "invalid_result",
    "unavailable": "connection",
    "forbidden": "protocol_error",
    "accepted": "protocol_error",
    "forget_session": COMPLETED,
    "garbage": "invalid_result",
    "chatter": "invalid_result",
    "banner": "invalid_result",
    "lone_surrogate": "protocol_error",
}
STAYS_STUCK = ("hang", "drip", "garbage")
"""These never read another request: over stdio each has a server of its own."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a tool's misbehaviour led to, and what it cost the process."""

    outcome: str
    seconds: float
    memory_bytes: int
    stall_seconds: float
    others: int

    def complaints(self, expected: str) -> list[str]:
        """Return what is not as it has to be."""
        checks = {
            f"{self.outcome}, not {expected}": self.outcome == expected,
            f"{self.seconds:.1f} seconds": self.seconds < LONGEST_SECONDS,
            f"{self.memory_bytes >> 20} MiB more": self.memory_bytes < MEMORY_BYTES,
            f"the event loop stood still for {self.stall_seconds:.3f} s": self.stall_seconds
            < LONGEST_STALL_SECONDS,
            "no other execution went on": self.others > 0,
        }
        return [complaint for complaint, is_right in checks.items() if not is_right]


@contextmanager
def servers_over(transport: str) -> Generator[dict[str, ToolServer]]:
    if transport == "stdio":
        yield {name: stdio("hostile") for name in ("hostile", *STAYS_STUCK)}
    else:
        with running_http("hostile_http") as (port, _):
            yield {"hostile": http_server("http", port)}


@asynccontextmanager
async def others_running(application: Application) -> AsyncGenerator[list[str]]:
    """Run executions of another tool server one after the other; yields how they ended."""
    ended: list[str] = []

    async def run_others() -> None:
        while True:
            ended.append((await run(application, "other")).status)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_others)
        try:
            yield ended
        finally:
            tasks.cancel_scope.cancel()


async def see(application: Application, tool: str, arguments: Mapping[str, Any], others: list[str]) -> Seen:
    """Run a workflow whose first step calls the tool, and goes on whatever becomes of it."""
    name, server = tool.replace("/", "_"), tool.partition("/")[0]
    seconds = 1.0 if server in STAYS_STUCK or tool.endswith(("/hang", "/drip")) else 10.0
    step = action("a", tool, **arguments) | {"timeout_seconds": seconds, "on_failure": "continue"}
    await save(application, name, step, action("b", "say", text="on we go"))
    memory, before = psutil.Process().memory_info().rss, len(others)
    async with watched_loop() as watch:
        began = perf_counter()
        execution = await run(application, name, seconds=60)
        took = perf_counter() - began
        with anyio.fail_after(20):
            while len(others) == before:  # noqa: ASYNC110 - another task appends to it
                await anyio.sleep(0.01)
    assert (execution.status, execution.output_data) == ("completed", "on we go"), execution.error_message
    row = (await steps_of(application, execution))["a"]
    outcome = str((row.error_details or {}).get("code", row.status))
    grown = psutil.Process().memory_info().rss - memory
    return Seen(outcome, took, grown, watch.longest_stall, len(others) - before)


@pytest.mark.parametrize(("transport", "expected"), [("stdio", STDIO), ("http", HTTP)])
async def test_whatever_a_tool_server_does_its_steps_end_and_nothing_else_suffers(
    transport: str, expected: Mapping[str, str], database_url: str, tmp_path: Path
) -> None:
    wrong: dict[str, list[str]] = {}
    pid_file = tmp_path / "pid"
    arguments: dict[str, dict[str, Any]] = {
        "megabytes": {"count": 200},
        "fork_and_die": {"pid_file": str(pid_file)},
    }
    settings = Settings(home=tmp_path, database_url=SecretStr(database_url))
    with servers_over(transport) as servers:
        own = {"ledger": build(tmp_path / "ledger")}
        async with open_application(settings, servers={**servers, **own}) as application:
            await save(application, "other", action("x", "add", a=1, b=2))
            await save(application, "warm", action("x", "hostile/ok"))
            await run(application, "warm")
            async with others_running(application) as others:
                for mode, outcome in expected.items():
                    server = mode if mode in servers else "hostile"
                    seen = await see(application, f"{server}/{mode}", arguments.get(mode, {}), others)
                    print(  # noqa: T201 - see above
                        f"{transport:6}{mode:24}{seen.outcome:20}{seen.seconds:6.2f} s"
                        f"{seen.memory_bytes / 1_048_576:7.1f} MiB  stall {seen.stall_seconds:.3f} s"
                        f"  {seen.others} others"
                    )
                    wrong[mode] = seen.complaints(outcome)
            assert set(others) == {"completed"}
    assert {mode: complaints for mode, complaints in wrong.items() if complaints} == {}
    left = [child.cmdline() for child in psutil.Process().children(recursive=True)]
    assert not [command for command in left if any("hostile" in word for word in command)]
    assert transport == "http" or not psutil.pid_exists(int(pid_file.read_text()))
