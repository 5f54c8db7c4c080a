"""The command over every real transport, with the official client; and who is not let in."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters
from mcp.server import MCPServer
from serving import Agent, action, content_of

from archon_workflows.errors import InvalidRequest
from archon_workflows.server.http import HttpTransport, http_app, serve_http

LEDGER = Path(__file__).parents[1] / "tool_servers/ledger.py"
JSON_RPC = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
COMMAND = [sys.executable, "-m", "archon_workflows", "serve"]


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    tools = tmp_path / "tools.json"
    ledger = {"command": sys.executable, "args": [str(LEDGER)], "env": {"LEDGER": str(tmp_path / "ledger")}}
    tools.write_text(json.dumps({"mcpServers": {"ledger": ledger}}))
    return {
        **os.environ,
        "ARCHON_WORKFLOWS_DATABASE_URL": database_url,
        "ARCHON_WORKFLOWS_HOME": str(tmp_path),
        "ARCHON_WORKFLOWS_TOOLS": str(tools),
        "ARCHON_WORKFLOWS_SHUTDOWN_GRACE_SECONDS": "1",
    }


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


async def until_listening(port: int) -> None:
    with anyio.fail_after(30):
        while True:
            try:
                async with await anyio.connect_tcp("127.0.0.1", port):
                    return
            except OSError:
                await anyio.sleep(0.05)


@contextmanager
def started(environment: dict[str, str], *arguments: str) -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen([*COMMAND, *arguments], env=environment, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)


def client_for(transport: str, port: int) -> Any:
    return (
        f"http://127.0.0.1:{port}/mcp" if transport == "http" else sse_client(f"http://127.0.0.1:{port}/sse")
    )


async def do_the_main_job(client: Client) -> None:
    agent = Agent(client)
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del total, message
        heard.append(progress)

    await agent.save("greets", action("greet", "say", text="hello"), action("rest", "slow", seconds=0.3))
    result = await agent.call("run_workflow", workflow="greets", progress=hear)
    answer = content_of(result)
    assert answer["status"] == "completed"
    assert heard == sorted(set(heard))
    assert heard
    steps = await agent.do("get_execution", execution_id=answer["execution_id"], step="greet")
    assert steps["steps"]["records"][0]["output"] == "hello"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_main_job_over_stdio(environment: dict[str, str], mode: str) -> None:
    server = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=environment)
    with anyio.fail_after(60):
        async with Client(server, mode=mode) as client:
            await do_the_main_job(client)


@pytest.mark.parametrize("transport", ["sse", "http"])
async def test_the_main_job_over_http(environment: dict[str, str], transport: str) -> None:
    port = free_port()
    with started(environment, "--transport", transport, "--port", str(port)):
        await until_listening(port)
        async with Client(client_for(transport, port)) as client:
            await do_the_main_job(client)


async def test_the_process_ends_when_its_client_closes_stdin(environment: dict[str, str]) -> None:
    process = await anyio.open_process(COMMAND, env=environment)
    async with process:
        assert process.stdin is not None
        await process.stdin.send(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        assert process.stdout is not None
        assert b'"id":1' in await process.stdout.receive()
        await process.stdin.aclose()
        with anyio.fail_after(20):
            assert await process.wait() == 0


async def test_the_process_ends_on_sigterm_while_its_client_is_silent(
    environment: dict[str, str],
) -> None:
    process = await anyio.open_process(COMMAND, env=environment)
    async with process:
        assert process.stdin is not None
        await process.stdin.send(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        assert process.stdout is not None
        await process.stdout.receive()
        process.terminate()
        with anyio.fail_after(20):
            await process.wait()


async def test_a_broken_message_is_answered_and_the_server_stays(
    environment: dict[str, str],
) -> None:
    process = await anyio.open_process(COMMAND, env=environment)
    async with process:
        assert process.stdin is not None
        assert process.stdout is not None
        deep = b"[" * 1_000 + b"]" * 1_000
        await process.stdin.send(b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + deep + b"}\n")
        refused = json.loads(await process.stdout.receive())
        assert (refused["id"], refused["error"]["code"]) == (1, -32700)
        await process.stdin.send(b'{"jsonrpc":"2.0","id":2,"method":"ping"}\n')
        assert json.loads(await process.stdout.receive())["result"] == {}
        await process.stdin.aclose()
        with anyio.fail_after(20):
            await process.wait()


@asynccontextmanager
async def serving(transport: HttpTransport, **options: Any) -> AsyncGenerator[int]:
    """Serve an empty server in this process."""
    port = free_port()
    server = MCPServer("empty", log_level="ERROR")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: serve_http(server, transport, port=port, **options))
        await until_listening(port)
        yield port
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("stateless", [False, True])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_streamable_http_serves_with_and_without_sessions(*, stateless: bool, mode: str) -> None:
    async with (
        serving("http", stateless=stateless) as port,
        Client(client_for("http", port), mode=mode) as client,
    ):
        assert (await client.list_tools()).tools == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
    ],
)
@pytest.mark.parametrize(("transport", "path", "method"), [("http", "/mcp", "POST"), ("sse", "/sse", "GET")])
async def test_what_a_web_page_sends_here_is_refused(
    transport: HttpTransport, path: str, method: str, headers: dict[str, str], status: int
) -> None:
    async with serving(transport) as port, httpx2.AsyncClient() as client:
        given = {
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            **headers,
        }
        response = await client.request(
            method, f"http://127.0.0.1:{port}{path}", headers=given, content=b"{}"
        )
        assert response.status_code == status


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])  # noqa: S104 - refused here
def test_another_address_than_loopback_is_refused(host: str) -> None:
    with pytest.raises(InvalidRequest, match="loopback") as error:
        http_app(MCPServer("empty", log_level="ERROR"), "http", host=host)
    assert error.value.code == "host_not_loopback"


def test_the_command_refuses_another_address_with_a_letter(environment: dict[str, str]) -> None:
    arguments = [*COMMAND, "--transport", "http", "--host", "0.0.0.0"]  # noqa: S104 - refused here
    ended = subprocess.run(arguments, env=environment, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert b"loopback" in ended.stderr
