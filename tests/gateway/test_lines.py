"""Lines are assembled in linear time and bounded memory."""

import time

from hypothesis import given
from hypothesis import strategies as st

from archon_workflows.gateway.lines import LineAssembler, OversizedLine, ids_in


@given(st.lists(st.binary(max_size=30)), st.integers(min_value=1, max_value=7))
def test_lines_do_not_depend_on_how_they_were_cut_into_chunks(lines: list[bytes], size: int) -> None:
    lines = [line.replace(b"\n", b"") for line in lines]
    stream = b"".join(line + b"\n" for line in lines)
    assembler = LineAssembler(1_000)
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert [line for chunk in chunks for line in assembler.feed(chunk)] == lines


def test_of_a_line_over_the_limit_only_the_edges_are_kept() -> None:
    assembler = LineAssembler(10_000)
    found = assembler.feed(b'{"id":7,' + b"x" * 5_000)
    for _ in range(100):
        found += assembler.feed(b"y" * 5_000)
    found += assembler.feed(b'"id":8}\nnext\n')
    line, following = found
    assert isinstance(line, OversizedLine)
    assert line.size == 8 + 5_000 + 500_000 + 7
    assert len(line.head) <= 4_096
    assert len(line.tail) <= 4_096
    assert ids_in(line) == [7, 8]
    assert following == b"next"


def test_a_line_of_exactly_the_limit_is_whole() -> None:
    assert LineAssembler(5).feed(b"12345\n") == [b"12345"]
    assert isinstance(LineAssembler(5).feed(b"123456\n")[0], OversizedLine)


def test_a_long_line_in_small_chunks_takes_linear_time() -> None:
    assembler = LineAssembler(100 * 1_048_576)
    started = time.perf_counter()
    for _ in range(20_000):
        assembler.feed(b"x" * 1_000)
    (line,) = assembler.feed(b"\n")
    assert len(line if isinstance(line, bytes) else b"") == 20_000_000
    assert time.perf_counter() - started < 1
