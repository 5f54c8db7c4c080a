"""Standard input: lines of bounded length, and an answer for what cannot be read."""

import os
from collections.abc import Iterator

import anyio
import pytest
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, jsonrpc_message_adapter

from archon_workflows.server import stdin
from archon_workflows.server.stdin import ReadableMessages, StdinLines


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


async def lines_of(pipe: tuple[int, int], *chunks: bytes) -> list[str]:
    reader, writer = pipe
    lines = StdinLines(reader)
    for chunk in chunks:
        await anyio.to_thread.run_sync(os.write, writer, chunk)
    os.close(writer)
    return [line async for line in lines]


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b'{"a":1}\n{"b":2}\n'], ['{"a":1}', '{"b":2}']),
        ([b'{"a"', b":1}\n"], ['{"a":1}']),
        ([b"no line feed at the end"], ["no line feed at the end"]),
        ([b"\xff\n"], ["\ufffd"]),
        ([], []),
    ],
)
async def test_lines_are_put_together(pipe: tuple[int, int], chunks: list[bytes], lines: list[str]) -> None:
    assert await lines_of(pipe, *chunks) == lines


async def test_a_line_beyond_the_limit_is_cut_to_what_is_no_message(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdin, "LINE_LIMIT_BYTES", 10_000)
    long = b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":"' + b"x" * 30_000 + b'"}}\n'
    cut, after = await lines_of(pipe, long, b"next\n")
    assert len(cut) < 1_000
    with pytest.raises(ValueError, match="control character"):
        jsonrpc_message_adapter.validate_json(cut)
    assert after == "next"


PING = '{"jsonrpc":"2.0","id":9,"method":"ping"}'

BROKEN: list[tuple[str, str, int | str | None]] = [
    ("no JSON", "{nonsense", None),
    ("an id at the start", '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":' + "[" * 999, 1),
    ("an id at the end", '{"method":"ping","params":{"a":"\\ud800"},"jsonrpc":"2.0","id":"x-2"}', "x-2"),
    ("an id of an argument", '{"method":"ping","params":{"id":3,"a":' + "[" * 999, None),
    ("no method", '{"jsonrpc":"2.0","id":4}', 4),
    ("an id that is none", '{"jsonrpc":"2.0","id":true}', None),
    ("a list", "[1, 2]", None),
    ("a text", '"hello"', None),
]


@pytest.mark.parametrize(("line", "request_id"), [one[1:] for one in BROKEN], ids=[one[0] for one in BROKEN])
async def test_a_message_that_cannot_be_read_is_answered(line: str, request_id: int | str | None) -> None:
    into, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](2)
    outgoing, answers = anyio.create_memory_object_stream[SessionMessage](1)
    async with into, answers, outgoing, ReadableMessages(incoming, outgoing) as messages:
        with pytest.raises(ValueError) as error:  # noqa: PT011 - what the SDK makes of it is passed on
            jsonrpc_message_adapter.validate_json(line)
        good = SessionMessage(
            jsonrpc_message_adapter.validate_json('{"jsonrpc":"2.0","id":9,"method":"ping"}')
        )
        into.send_nowait(error.value)
        into.send_nowait(good)

        assert await messages.receive() is good
        answer = answers.receive_nowait().message
    assert isinstance(answer, JSONRPCError)
    assert (answer.id, answer.error.code) == (request_id, -32700)
