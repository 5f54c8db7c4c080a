"""The same over HTTP: bounded, typed, and no failure of one call reaches another."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple

import anyio
import pytest
from gateway_harness import http_server, outcome_of, quick_limits, running_http, tool_call, watched_loop

from archon_workflows.gateway.limits import GatewayLimits
from archon_workflows.gateway.tool_servers import ToolServers
from archon_workflows.model.outcomes import Failed, Outcome, Succeeded, Unknown

LONGEST_STALL_SECONDS = 0.25


class Case(NamedTuple):
    tool: str
    kind: type
    code: str


CASES = [
    Case("reset", Unknown, "connection"),
    Case("redirect", Failed, "protocol_error"),
    Case("compressed_bomb", Failed, "protocol_error"),
    Case("megabytes", Failed, "payload_too_large"),
    Case("oversized_event", Failed, "payload_too_large"),
    Case("broken_stream", Unknown, "connection"),
    Case("html", Failed, "protocol_error"),
    Case("not_json", Failed, "invalid_result"),
    Case("not_a_number", Failed, "invalid_result"),
    Case("rate_limited", Failed, "rate_limited"),
    Case("unavailable", Unknown, "connection"),
    Case("forbidden", Failed, "protocol_error"),
    Case("accepted", Failed, "protocol_error"),
]


@asynccontextmanager
async def hostile_gateway() -> AsyncGenerator[ToolServers]:
    with running_http("hostile_http") as (port, _):
        async with ToolServers({"hostile": http_server("http", port)}, limits=quick_limits()) as gateway:
            await gateway.tools()
            yield gateway


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.tool)
async def test_a_bad_answer_over_http_is_a_clear_outcome_and_other_calls_go_on(case: Case) -> None:
    others: list[Outcome] = []
    async with hostile_gateway() as gateway, watched_loop() as watch:

        async def call_another() -> None:
            others.append(await gateway.call(tool_call("hang", timeout_seconds=3)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call_another)
            await anyio.lowlevel.checkpoint()
            started = time.perf_counter()
            outcome = await gateway.call(tool_call(case.tool, timeout_seconds=10))
            assert time.perf_counter() - started < 5
            assert isinstance(await outcome_of(gateway, "ok"), Succeeded)
            assert not others
            assert type(outcome) is case.kind
            assert not isinstance(outcome, Succeeded)
            assert outcome.error.code == case.code
            assert "hostile" in outcome.error.message
            tasks.cancel_scope.cancel()
    assert watch.longest_stall < LONGEST_STALL_SECONDS


async def test_a_session_that_the_server_forgot_is_opened_again_for_the_call_that_finds_out() -> None:
    async with hostile_gateway() as gateway:
        assert isinstance(await outcome_of(gateway, "forget_session"), Succeeded)
        assert isinstance(await outcome_of(gateway, "ok"), Succeeded)


async def test_of_a_flood_of_requests_only_a_few_are_answered() -> None:
    async with hostile_gateway() as gateway:
        assert isinstance(await outcome_of(gateway, "sampling_flood"), Succeeded)
        heard = await outcome_of(gateway, "answers_heard")
        assert isinstance(heard, Succeeded)
        assert 0 < int(str(heard.output)) <= 2 * GatewayLimits().requests_per_second


async def test_a_silent_http_server_is_an_unknown_outcome_at_the_deadline() -> None:
    async with hostile_gateway() as gateway:
        outcome = await gateway.call(tool_call("hang", timeout_seconds=0.5))
        assert isinstance(outcome, Unknown)
        assert outcome.error.code == "timeout"
