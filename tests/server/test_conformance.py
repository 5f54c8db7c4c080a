"""The page on conformance explains every failure that is expected of the official suite, and no other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_expected_failure_is_explained_and_nothing_else() -> None:
    listed = (ROOT / "tests/conformance/expected_failures.yaml").read_text(encoding="utf-8")
    expected = set(re.findall(r"^  - ([a-z0-9-]+):", listed, re.MULTILINE))
    page = (ROOT / "docs/conformance.md").read_text(encoding="utf-8").partition("## What does not apply")[2]
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    assert expected == set(re.findall(r"`([a-z0-9-]+)`", " ".join(rows)))
