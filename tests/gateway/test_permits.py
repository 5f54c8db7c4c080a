"""A call whose permit ended is not sent, not even when it was already on its way to be written."""

from collections.abc import Iterator
from dataclasses import replace

import anyio
import pytest
from gateway_harness import LedgerFile, http_ledger, stdio, tool_call

from archon_workflows.gateway.configuration import HttpServer, StdioServer
from archon_workflows.gateway.tool_servers import ToolServers
from archon_workflows.model.outcomes import Succeeded


class Permit:
    """A permit that has ended ``refusals`` times when a request is about to be written."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.waits = 0

    @property
    def runs(self) -> bool:
        self.refusals -= 1
        return self.refusals < 0

    async def hold(self) -> None:
        self.waits += 1
        await anyio.lowlevel.checkpoint()


async def test_a_call_is_written_once_when_its_permit_came_back(ledger: LedgerFile) -> None:
    permit = Permit(refusals=1)
    async with ToolServers({"ledger": stdio("ledger", LEDGER=str(ledger.path))}) as gateway:
        outcome = await gateway.call(replace(tool_call("say", {"text": "done"}), permit=permit))
    assert isinstance(outcome, Succeeded)
    assert permit.waits == 2
    assert len(ledger.lines("say")) == 1


async def test_a_call_waits_for_its_permit_and_can_be_cancelled_meanwhile(ledger: LedgerFile) -> None:
    class Never(Permit):
        async def hold(self) -> None:
            self.waits += 1
            await anyio.sleep_forever()

    permit = Never(refusals=0)
    async with ToolServers({"ledger": stdio("ledger", LEDGER=str(ledger.path))}) as gateway:
        await gateway.tools()
        with anyio.move_on_after(0.05) as scope:
            await gateway.call(replace(tool_call("say", {"text": "never"}), permit=permit))
        outcome = await gateway.call(tool_call("say", {"text": "next"}))
    assert scope.cancelled_caught
    assert isinstance(outcome, Succeeded)
    assert [line["arguments"] for line in ledger.lines("say")] == [{"text": "next"}]


@pytest.fixture(params=["stdio", "http", "sse"])
def server(request: pytest.FixtureRequest, ledger: LedgerFile) -> Iterator[StdioServer | HttpServer]:
    if request.param == "stdio":
        yield stdio("ledger", LEDGER=str(ledger.path))
        return
    with http_ledger(request.param, ledger) as (found, _):
        yield found


async def test_what_is_cancelled_while_it_waits_to_be_written_is_not_written(
    server: StdioServer | HttpServer, ledger: LedgerFile
) -> None:
    everyone = anyio.CancelScope()

    class Lost(Permit):
        @property
        def runs(self) -> bool:
            everyone.cancel()
            return False

    async with ToolServers({"ledger": server}) as gateway:
        await gateway.tools()
        with everyone:
            async with anyio.create_task_group() as tasks:
                for number in range(10):
                    call = tool_call("say", {"text": f"{number}"}, key=f"execution/l[{number}]")
                    tasks.start_soon(gateway.call, replace(call, permit=Lost(refusals=0)))
        outcome = await gateway.call(tool_call("say", {"text": "next"}))
    assert isinstance(outcome, Succeeded)
    assert [line["arguments"] for line in ledger.lines("say")] == [{"text": "next"}]
