"""Every attack ends as its case says, within bounded memory and work."""

import tracemalloc
from typing import Any

import pytest
from attacks import is_met, meet, read_cases, scope_of, source_of

_CASES = [
    case
    for name in ("hostile_expressions.jsonl", "more_hostile_expressions.jsonl")
    for case in read_cases(name)
]
_MOST_BYTES = 32 * 1024 * 1024


@pytest.mark.parametrize("case", _CASES, ids=[f"{case['id']}-{case['name']}" for case in _CASES])
def test_an_attack_ends_as_stated_in_bounded_memory(case: dict[str, Any]) -> None:
    source, scope = source_of(case), scope_of(case)

    tracemalloc.start()
    try:
        met = meet(case["mode"], source, scope)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert is_met(case, met), f"{met.kind}: {met.value}"
    assert peak < _MOST_BYTES


def test_no_two_attacks_have_the_same_id() -> None:
    ids = [case["id"] for case in _CASES]
    assert len(set(ids)) == len(ids)
