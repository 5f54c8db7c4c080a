"""The command as a process: how it starts, how signals end it, and what is left then."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.sse import sse_client

ROOT = Path(__file__).parents[2]

SLOW: dict[str, Any] = {
    "name": "slow",
    "steps": [
        {"name": "first", "type": "condition", "condition": "true"},
        {"name": "second", "type": "condition", "condition": "true", "delay_seconds": 300},
    ],
}


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "ARCHON_WORKFLOWS_DATABASE_URL": database_url,
        "ARCHON_WORKFLOWS_HOME": str(tmp_path / "home"),
    }


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "archon_workflows", *arguments]


@contextmanager
def heeded(number: signal.Signals) -> Generator[None]:
    """Let a child that is started now heed a signal that a shell made its background processes ignore."""
    before = signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that a process could handle")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_its_execution_for_the_next_process(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    file = tmp_path / "slow.json"
    file.write_text(json.dumps(SLOW))
    with (
        heeded(number),
        subprocess.Popen(
            command("run", str(file)),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if "first" in line:
                break
        process.send_signal(number)
        said = process.stderr.read()
        assert process.wait(timeout=30) == 130
    assert "Interrupted" in said
    assert "Traceback" not in said
    listed = subprocess.run(
        command("executions", "--json"), env=environment, check=True, capture_output=True, timeout=30
    )
    [execution] = json.loads(listed.stdout)["executions"]
    assert execution["status"] == "running"


def test_a_reader_that_has_enough_is_no_error(environment: dict[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        command("migrate", "--print"),
        env=environment,
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
        timeout=30,
    )
    os.close(writing)
    assert process.stderr == b""
    assert process.returncode == 0


def test_a_terminal_in_another_encoding_gets_escapes_instead_of_an_error(environment: dict[str, str]) -> None:
    process = subprocess.run(
        command("doctor"),
        env=environment | {"PYTHONIOENCODING": "ascii", "ARCHON_WORKFLOWS_HOME": "/no/such/größe"},
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert process.stdout.isascii()
    assert b"Traceback" not in process.stderr


async def test_a_client_starts_the_server_over_stdio_and_runs_a_workflow(environment: dict[str, str]) -> None:
    executable, *arguments = command("serve")
    server = StdioServerParameters(command=executable, args=arguments, env=environment)
    quick = SLOW | {"name": "quick", "steps": SLOW["steps"][:1]}
    async with Client(server) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        saved = await client.call_tool("manage_workflow_template", {"action": "create", "template": quick})
        ran = await client.call_tool("run_workflow", {"workflow": "quick", "wait_seconds": 20})
    assert tools == {"manage_workflow_template", "run_workflow", "get_execution", "control_execution"}
    assert (saved.is_error, ran.is_error) == (False, False)
    assert "completed" in str(ran.content)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that a process could handle")
@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_the_server_over_http_ends_in_order_when_it_is_asked_to(
    environment: dict[str, str], transport: str
) -> None:
    port = free_port()
    arguments = ("serve", "--transport", transport, "--port", str(port))
    verbose = environment | {"ARCHON_WORKFLOWS_LOG_LEVEL": "info"}
    with subprocess.Popen(  # noqa: ASYNC220 - the loop has nothing else to do
        command(*arguments), env=verbose, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Uvicorn running" in line:
                break
        url = f"http://127.0.0.1:{port}/{'mcp' if transport == 'http' else 'sse'}"
        async with Client(sse_client(url) if transport == "sse" else url) as client:
            assert len((await client.list_tools()).tools) == 4
        process.send_signal(signal.SIGTERM)
        rest = await to_thread.run_sync(process.stderr.read)
        assert process.wait(timeout=30) == 0, rest
    assert "Traceback" not in rest


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
