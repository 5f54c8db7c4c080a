"""Fuzzes the language as long as one likes: ``python tests/expressions/fuzz.py --count 200000 --seed 1``.

Makes texts until so many of them were evaluated; those that are refused are checked, but not counted. Prints
how they ended and the largest CPU time of one. Ends with a traceback at the first text whose end is not one
that is allowed, after printing it.
"""

import argparse
import sys
import time
from collections import Counter
from random import Random

from checking import check_condition, check_text
from generation import SCOPE, make_condition, make_text


def main() -> None:
    """Fuzz as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    ends, slowest = fuzz(arguments.count, arguments.seed)
    sys.stdout.write(f"seed {arguments.seed}: {dict(ends)}; slowest {slowest * 1000:.1f} ms of CPU\n")


def fuzz(count: int, seed: int) -> tuple[Counter[str], float]:
    """Check texts until so many were evaluated; return how each ended, and CPU seconds of the slowest."""
    random = Random(seed)  # noqa: S311 - the same seed makes the same texts
    ends, slowest = Counter[str](), 0.0
    while ends["evaluated"] + ends["failed"] < count:
        is_condition = ends.total() % 4 == 0
        text = make_condition(random) if is_condition else make_text(random)
        start = time.process_time()
        try:
            end = (check_condition if is_condition else check_text)(text, SCOPE)
        except BaseException:
            sys.stderr.write(f"seed {seed}, number {ends.total()}: {text!r}\n")
            raise
        slowest = max(slowest, time.process_time() - start)
        ends[end] += 1
    return ends, slowest


if __name__ == "__main__":
    main()
