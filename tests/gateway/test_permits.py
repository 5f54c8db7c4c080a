"""A call whose permit ended is not sent, not even when it was already on its way to be written."""

from dataclasses import replace

import anyio
from gateway_harness import LedgerFile, stdio, tool_call

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
