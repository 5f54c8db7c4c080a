"""Calls to real tool servers over every transport, and the life of their sessions."""

import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from gateway_harness import (
    TRACE_PARENT,
    LedgerFile,
    eventually,
    free_port,
    http_ledger,
    http_server,
    ledger_in_process,
    outcome_of,
    quick_limits,
    stdio,
    tool_call,
)

from archon_workflows.errors import ToolServerError
from archon_workflows.gateway.configuration import StdioServer
from archon_workflows.gateway.port import ToolProgress
from archon_workflows.gateway.session import ToolServer
from archon_workflows.gateway.tool_servers import ToolServers
from archon_workflows.model.outcomes import Failed, Succeeded, Unknown

TRANSPORTS = ["stdio", "sse", "http", "in-process"]


@asynccontextmanager
async def ledger_gateway(transport: str, ledger: LedgerFile, **limits: Any) -> AsyncGenerator[ToolServers]:
    with ExitStack() as stack:
        server: ToolServer
        if transport == "stdio":
            server = stdio("ledger", LEDGER=str(ledger.path))
        elif transport == "in-process":
            server = ledger_in_process(ledger.path)
        else:
            server, _ = stack.enter_context(http_ledger(transport, ledger))
        async with ToolServers({"ledger": server}, limits=quick_limits(**limits)) as gateway:
            yield gateway


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_outputs_have_their_own_types(transport: str, ledger: LedgerFile) -> None:
    async with ledger_gateway(transport, ledger) as gateway:
        outputs = {
            "echo": {"value": [1, 2.5, None, {"a": "ü"}]},
            "say": "hello",
            "add": 7,
            "weather": {"city": "Bonn", "degrees": 21.5},
            "numbers": [0, 1, 2],
            "json_text": {"a": [1, 2, {"b": None}]},
            "success_false": {"success": False, "error": "not found"},
        }
        arguments: dict[str, dict[str, Any]] = {
            "echo": {"value": [1, 2.5, None, {"a": "ü"}]},
            "say": {"text": "hello"},
            "add": {"a": 3, "b": 4},
            "weather": {"city": "Bonn"},
        }
        for tool, output in outputs.items():
            outcome = await outcome_of(gateway, tool, **arguments.get(tool, {}))
            assert isinstance(outcome, Succeeded)
            assert outcome.output == output
            assert type(outcome.output) is type(output)


async def test_several_blocks_become_a_list_and_binary_ones_stay_objects(ledger: LedgerFile) -> None:
    async with ledger_gateway("stdio", ledger) as gateway:
        outcome = await outcome_of(gateway, "picture")
        assert isinstance(outcome, Succeeded)
        assert outcome.output[0] == "a pixel"
        assert outcome.output[1]["type"] == "image"
        assert outcome.output[1]["mimeType"] == "image/png"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_error_of_the_tool_is_a_failure_with_its_text(transport: str, ledger: LedgerFile) -> None:
    async with ledger_gateway(transport, ledger) as gateway:
        outcome = await outcome_of(gateway, "fail", reason="disk full")
        assert isinstance(outcome, Failed)
        assert outcome.error.code == "tool_error"
        assert "disk full" in outcome.error.message
        assert outcome.result["isError"] is True


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_every_call_carries_its_idempotency_key_and_trace(transport: str, ledger: LedgerFile) -> None:
    async with ledger_gateway(transport, ledger) as gateway:
        await gateway.call(tool_call("echo", {"value": 1}, key="4711/create_vm"))
    (line,) = ledger.lines()
    assert line["key"] == "4711/create_vm"
    assert line["traceparent"].split("-")[1] == TRACE_PARENT.split("-")[1]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_progress_reaches_the_caller(transport: str, ledger: LedgerFile) -> None:
    seen: list[ToolProgress] = []
    async with ledger_gateway(transport, ledger) as gateway:
        call = tool_call("slow", {"seconds": 0.6, "ticks": 3}, on_progress=seen.append)
        assert isinstance(await gateway.call(call), Succeeded)
    assert [progress.progress for progress in seen] == [1, 2, 3]
    assert seen[-1].total == 3
    assert seen[-1].message == "tick 3"


async def test_progress_is_thinned_to_ten_a_second_and_keeps_the_last(ledger: LedgerFile) -> None:
    seen: list[ToolProgress] = []
    async with ledger_gateway("stdio", ledger) as gateway:
        await gateway.call(tool_call("slow", {"seconds": 0.5, "ticks": 100}, on_progress=seen.append))
    assert 2 <= len(seen) <= 12
    assert seen[-1].progress > 90


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_deadline_makes_the_outcome_unknown_and_cancels_at_the_server(
    transport: str, ledger: LedgerFile
) -> None:
    async with ledger_gateway(transport, ledger) as gateway:
        await gateway.tools()
        outcome = await gateway.call(tool_call("slow", {"seconds": 60}, timeout_seconds=0.5))
        assert isinstance(outcome, Unknown)
        assert outcome.error.code == "timeout"
        await ledger.wait_for("slow_cancelled")
        assert isinstance(await outcome_of(gateway, "add", a=1, b=2), Succeeded)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_cancelling_the_caller_cancels_the_call_at_the_server(
    transport: str, ledger: LedgerFile
) -> None:
    async with ledger_gateway(transport, ledger) as gateway:
        await gateway.tools()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gateway.call, tool_call("slow", {"seconds": 60}))
            await ledger.wait_for("slow")
            tasks.cancel_scope.cancel()
        await ledger.wait_for("slow_cancelled")


@pytest.mark.parametrize("transport", ["stdio", "sse", "http"])
async def test_calls_run_at_the_same_time(transport: str, ledger: LedgerFile) -> None:
    async with ledger_gateway(transport, ledger) as gateway:
        await gateway.tools()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(gateway.call, tool_call("slow", {"seconds": 0.5}))


async def test_a_server_killed_in_mid_call_leaves_its_call_unknown_and_is_revived(ledger: LedgerFile) -> None:
    outcomes: list[object] = []
    async with ledger_gateway("stdio", ledger) as gateway:

        async def call() -> None:
            outcomes.append(await gateway.call(tool_call("slow", {"seconds": 60})))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            line = await ledger.wait_for("slow")
            os.kill(line["pid"], signal.SIGKILL)
        (outcome,) = outcomes
        assert isinstance(outcome, Unknown)
        assert outcome.error.code == "connection"
        assert await _can_add(gateway)


async def _can_add(gateway: ToolServers) -> bool:
    return isinstance(await outcome_of(gateway, "add", a=1, b=2), Succeeded)


async def _has_tool(gateway: ToolServers, name: str) -> bool:
    return name in {tool.name for tool in await gateway.tools()}


async def _is_disconnected(gateway: ToolServers) -> bool:
    (state,) = await gateway.servers()
    return state.state != "connected"


async def test_an_idle_server_that_was_killed_is_revived_for_the_next_call(ledger: LedgerFile) -> None:
    async with ledger_gateway("stdio", ledger) as gateway:
        for _ in range(3):
            outcome = await outcome_of(gateway, "echo", value=1)
            assert isinstance(outcome, Succeeded)
            process = psutil.Process(ledger.lines()[-1]["pid"])
            process.kill()
            await eventually(partial(_is_disconnected, gateway))
    assert len({line["pid"] for line in ledger.lines()}) == 3


@pytest.mark.parametrize("transport", ["sse", "http"])
async def test_an_http_server_that_goes_and_comes_back_is_used_again(
    transport: str, ledger: LedgerFile
) -> None:
    port = free_port()
    servers = {"ledger": http_server(transport, port)}
    async with ToolServers(servers, limits=quick_limits()) as gateway:
        with http_ledger(transport, ledger, port):
            assert isinstance(await outcome_of(gateway, "add", a=1, b=2), Succeeded)
        outcome = await gateway.call(tool_call("add", {"a": 1, "b": 2}, timeout_seconds=2))
        assert isinstance(outcome, (Failed, Unknown))
        assert outcome.error.code == "connection"
        with http_ledger(transport, ledger, port):
            await eventually(partial(_can_add, gateway))


@pytest.mark.parametrize("transport", ["sse", "http"])
async def test_a_killed_http_server_leaves_its_calls_unknown_at_once(
    transport: str, ledger: LedgerFile
) -> None:
    outcomes: list[object] = []
    with http_ledger(transport, ledger) as (server, process):
        async with ToolServers({"ledger": server}, limits=quick_limits()) as gateway:

            async def call() -> None:
                outcomes.append(await gateway.call(tool_call("slow", {"seconds": 60})))

            with anyio.fail_after(10):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(call)
                    await ledger.wait_for("slow")
                    process.kill()
    (outcome,) = outcomes
    assert isinstance(outcome, Unknown)
    assert outcome.error.code == "connection"


async def test_a_server_that_cannot_be_started_is_a_failure_that_was_never_sent() -> None:
    servers: dict[str, ToolServer] = {
        "gone": StdioServer(command="/no/such/program"),
        "here": ledger_in_process(),
    }
    async with ToolServers(servers, limits=quick_limits()) as gateway:
        outcome = await outcome_of(gateway, "gone/anything")
        assert isinstance(outcome, Failed)
        assert outcome.error.code == "connection"
        assert "/no/such/program" in outcome.error.message
        assert isinstance(await outcome_of(gateway, "add", a=1, b=2), Succeeded)
        states = {state.name: state for state in await gateway.servers()}
        assert states["gone"].state == "failed"
        assert "/no/such/program" in (states["gone"].error or "")
        assert states["here"].state == "connected"


async def test_a_tool_that_may_live_on_an_unreachable_server_is_not_called_unknown() -> None:
    servers: dict[str, ToolServer] = {
        "gone": StdioServer(command="/no/such/program"),
        "here": ledger_in_process(),
    }
    async with ToolServers(servers, limits=quick_limits()) as gateway:
        with pytest.raises(ToolServerError) as caught:
            await gateway.resolve("mystery")
        assert caught.value.code == "tool_server_unavailable"


async def test_a_server_that_hangs_in_its_handshake_delays_the_others_only_once() -> None:
    servers: dict[str, ToolServer] = {"mute": stdio("hostile", "mute"), "here": ledger_in_process()}
    async with ToolServers(servers, limits=quick_limits(lookup_patience_seconds=0.2)) as gateway:
        with anyio.fail_after(3):
            for _ in range(10):
                assert isinstance(await outcome_of(gateway, "add", a=1, b=2), Succeeded)


@pytest.mark.parametrize("transport", ["stdio", "http", "in-process"])
async def test_tools_that_a_server_learns_later_are_found(transport: str, ledger: LedgerFile) -> None:
    async with ledger_gateway(transport, ledger) as gateway:
        assert isinstance(await outcome_of(gateway, "learn", name="juggle"), Succeeded)
        await eventually(partial(_has_tool, gateway, "juggle"))
        assert isinstance(await outcome_of(gateway, "juggle"), Succeeded)


async def test_tools_are_described_with_schemas_and_hints(ledger: LedgerFile) -> None:
    async with ledger_gateway("in-process", ledger) as gateway:
        tools = {tool.name: tool for tool in await gateway.tools()}
    assert tools["destroy"].destructive is True
    assert tools["destroy"].idempotent is False
    assert tools["echo"].read_only is True
    assert tools["flaky"].destructive is None
    assert tools["add"].input_schema["required"] == ["a", "b"]
    assert tools["weather"].output_schema is not None
    assert tools["add"].address == "ledger/add"


async def test_wrong_arguments_never_reach_the_server(ledger: LedgerFile) -> None:
    async with ledger_gateway("stdio", ledger) as gateway:
        outcome = await outcome_of(gateway, "say", texte="hello")
        assert isinstance(outcome, Failed)
        assert outcome.error.code == "invalid_arguments"
        assert outcome.error.details["path"] == "/texte"
        assert "Did you mean 'text'?" in outcome.error.message
    assert ledger.lines() == []


async def test_a_process_sees_its_configured_environment_and_not_ours(
    ledger: LedgerFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_SECRET", "s3cret")
    servers = {"ledger": stdio("ledger", LEDGER=str(ledger.path), COLOUR="blue")}
    async with ToolServers(servers) as gateway:
        outcome = await outcome_of(gateway, "environment")
    assert isinstance(outcome, Succeeded)
    assert outcome.output["COLOUR"] == "blue"
    assert "OUR_SECRET" not in outcome.output


async def test_leaving_with_a_call_in_flight_ends_the_call_as_unknown(ledger: LedgerFile) -> None:
    outcomes: list[object] = []
    async with anyio.create_task_group() as tasks:
        async with ledger_gateway("stdio", ledger) as gateway:

            async def call() -> None:
                outcomes.append(await gateway.call(tool_call("slow", {"seconds": 60})))

            tasks.start_soon(call)
            await ledger.wait_for("slow")
        await eventually(lambda: bool(outcomes), seconds=2)
    (outcome,) = outcomes
    assert isinstance(outcome, Unknown)


async def test_servers_out_of_the_box_work(tmp_path: Path) -> None:
    servers: dict[str, ToolServer] = {
        "time": StdioServer(command=sys.executable, args=["-m", "mcp_server_time"]),
        "git": StdioServer(command=sys.executable, args=["-m", "mcp_server_git"]),
    }
    async with ToolServers(servers, limits=quick_limits()) as gateway:
        now = await outcome_of(gateway, "get_current_time_time", timezone="Europe/Berlin")
        assert isinstance(now, Succeeded)
        assert now.output["timezone"] == "Europe/Berlin"
        status = await outcome_of(gateway, "git/git_status", repo_path=str(tmp_path))
        assert isinstance(status, Failed)
        assert status.error.code == "tool_error"
