"""Every attack ends as its case says, within bounded memory and work.

Run with ``-s -n 0`` it prints how many attacks of each category ended how.
"""

import json
import subprocess
import sys
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attacks import Met, is_met, meet, read_cases, scope_of, source_of

_CASES = [
    case
    for name in ("hostile_expressions.jsonl", "more_hostile_expressions.jsonl")
    for case in read_cases(name)
]
_MOST_BYTES = 32 * 1024 * 1024
_MOST_CPU_SECONDS = 0.05
Tally = defaultdict[str, Counter[str]]


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    ends: Tally = defaultdict(Counter)
    yield ends
    for category, counts in sorted(ends.items()):
        shown = ", ".join(f"{count} {end}" for end, count in sorted(counts.items()))
        print(f"{category:20} {counts.total():4}: {shown}")  # noqa: T201 - see above
    total = sum((counts for counts in ends.values()), Counter[str]())
    print(f"{'all':20} {total.total():4}: {dict(sorted(total.items()))}")  # noqa: T201 - see above


def _end_of(met: Met) -> str:
    return {"reject": "refused", "error": "ended in an error", "value": "gave the stated value"}[met.kind]


@pytest.mark.parametrize("case", _CASES, ids=[f"{case['id']}-{case['name']}" for case in _CASES])
def test_an_attack_ends_as_stated_in_bounded_memory(case: dict[str, Any], tally: Tally) -> None:
    source, scope = source_of(case), scope_of(case)

    tracemalloc.start()
    try:
        met = meet(case["mode"], source, scope)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    tally[case["category"]][_end_of(met)] += 1

    assert is_met(case, met), f"{met.kind}: {met.value}"
    assert peak < _MOST_BYTES


def test_no_attack_takes_much_work() -> None:
    """In a process of its own: what the suite has left in this one's memory is no attack's work."""
    program = Path(__file__).with_name("attack_work.py")
    done = subprocess.run([sys.executable, program], check=True, capture_output=True, timeout=120)
    seconds: dict[str, float] = json.loads(done.stdout)
    assert seconds.keys() == {case["id"] for case in _CASES}
    assert {name: took for name, took in seconds.items() if took >= _MOST_CPU_SECONDS} == {}


def test_no_two_attacks_have_the_same_id() -> None:
    ids = [case["id"] for case in _CASES]
    assert len(set(ids)) == len(ids)
