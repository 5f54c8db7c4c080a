"""Prints the CPU seconds that each attack takes, the best of a few tries, as JSON by id."""

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from attacks import meet, read_cases, scope_of, source_of

TRIES = 5
"""A machine that others share gives some of its time to them unsaid."""


def cpu_seconds(case: Mapping[str, Any]) -> float:
    """Return the work of one attack."""
    source, scope = source_of(case), scope_of(case)
    tries: list[float] = []
    for _ in range(TRIES):
        began = time.thread_time()
        meet(case["mode"], source, scope)
        tries.append(time.thread_time() - began)
    return min(tries)


if __name__ == "__main__":
    cases = [*read_cases("hostile_expressions.jsonl"), *read_cases("more_hostile_expressions.jsonl")]
    sys.stdout.write(json.dumps({case["id"]: cpu_seconds(case) for case in cases}))
