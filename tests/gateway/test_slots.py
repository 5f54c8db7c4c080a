"""Back-pressure at one tool server: calls beyond its limit wait, at nobody's expense."""

from dataclasses import replace

import anyio
import pytest
from gateway_harness import LedgerFile, eventually, quick_limits, stdio, tool_call

from archon_workflows.gateway.configuration import StdioServer
from archon_workflows.gateway.port import ToolCall
from archon_workflows.gateway.tool_servers import ToolServers
from archon_workflows.model.outcomes import Outcome, Succeeded

ONE_CALL = quick_limits(calls_at_once=1)


@pytest.fixture
def server(ledger: LedgerFile) -> StdioServer:
    return stdio("ledger", LEDGER=str(ledger.path))


def slow(seconds: float, key: str = "slow") -> ToolCall:
    return tool_call("slow", {"seconds": seconds}, key=key)


async def call(gateway: ToolServers, one: ToolCall, outcomes: list[Outcome]) -> None:
    outcomes.append(await gateway.call(one))


async def test_waiting_for_others_does_not_use_up_a_calls_own_time(
    ledger: LedgerFile, server: StdioServer
) -> None:
    outcomes: list[Outcome] = []
    async with (
        ToolServers({"ledger": server}, limits=ONE_CALL) as gateway,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(call, gateway, slow(3), outcomes)
        await eventually(lambda: len(ledger.lines()) == 1)
        tasks.start_soon(call, gateway, tool_call("say", {"text": "x"}, timeout_seconds=2), outcomes)
    assert [type(outcome) for outcome in outcomes] == [Succeeded] * 2
    assert [line["tool"] for line in ledger.lines()] == ["slow", "say"]


async def test_a_waiting_call_can_be_cancelled_and_is_never_sent(
    ledger: LedgerFile, server: StdioServer
) -> None:
    outcomes: list[Outcome] = []
    async with ToolServers({"ledger": server}, limits=ONE_CALL) as gateway:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, gateway, slow(0.5), outcomes)
            await eventually(lambda: len(ledger.lines()) == 1)
            with anyio.move_on_after(0.1):
                await call(gateway, tool_call("say", {"text": "never"}), outcomes)
            assert outcomes == []
        outcomes.append(await gateway.call(tool_call("say", {"text": "next"})))
    assert [type(outcome) for outcome in outcomes] == [Succeeded] * 2
    assert [line["arguments"] for line in ledger.lines("say")] == [{"text": "next"}]


async def test_the_right_to_call_is_looked_at_when_its_turn_has_come(
    ledger: LedgerFile, server: StdioServer
) -> None:
    class Permit:
        runs = True
        asked = 0

        async def hold(self) -> None:
            self.asked += 1
            await anyio.lowlevel.checkpoint()

    permit, outcomes = Permit(), list[Outcome]()
    async with (
        ToolServers({"ledger": server}, limits=ONE_CALL) as gateway,
        anyio.create_task_group() as tasks,
    ):
        await gateway.tools()
        tasks.start_soon(call, gateway, slow(0.5), outcomes)
        await eventually(lambda: len(ledger.lines()) == 1)
        tasks.start_soon(call, gateway, replace(tool_call("say", {"text": "x"}), permit=permit), outcomes)
        await anyio.sleep(0.1)
        assert (len(outcomes), permit.asked) == (0, 0)
    assert permit.asked == 1


@pytest.mark.parametrize(("max_calls", "at_once"), [(None, 4), (2, 2)])
async def test_a_server_gets_as_many_calls_at_a_time_as_its_configuration_says(
    ledger: LedgerFile, server: StdioServer, max_calls: int | None, at_once: int
) -> None:
    server = server.model_copy(update={"max_calls": max_calls})
    outcomes: list[Outcome] = []
    limits = quick_limits(calls_at_once=4)
    async with ToolServers({"ledger": server}, limits=limits) as gateway, anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(call, gateway, slow(60, f"call {number}"), outcomes)
        await eventually(lambda: len(ledger.lines()) >= at_once)
        await anyio.sleep(0.3)
        assert (len(ledger.lines()), outcomes) == (at_once, [])
        tasks.cancel_scope.cancel()
