"""Patterns of tools and fingerprints: which tool a pattern means, and what counts as a change."""

import pytest

from archon_workflows.model.tools import ToolFingerprint, allows, template_refusal

PATTERNS = [
    ("git_status", "git/git_status", True),
    ("git_status", "evil/git_status", True),
    ("git/git_status", "git/git_status", True),
    ("git/git_status", "evil/git_status", False),
    ("git/*", "git/git_status", True),
    ("git/*", "evil/git/git_status", False),
    ("*", "any/tool", True),
    ("*/*", "any/tool", True),
    ("get_*", "time/get_current_time", True),
    ("get_*", "get_server/delete", False),
    ("GIT/*", "git/git_status", False),
    ("git/git_stat", "git/git_status", False),
    ("git/[!g]*", "git/git_status", False),
    ("*a" * 90, "server/" + "a" * 120, True),
    ("*a" * 90 + "b", "server/" + "a" * 120, False),
]


@pytest.mark.parametrize(("pattern", "address", "allowed"), PATTERNS)
def test_a_pattern_with_a_slash_fits_the_address_and_any_other_the_name(
    pattern: str, address: str, *, allowed: bool
) -> None:
    assert allows(["nothing", pattern], address) is allowed


def test_no_pattern_allows_nothing_and_no_list_refuses_nothing() -> None:
    assert template_refusal([], "git/git_status") is not None
    assert template_refusal(None, "git/git_status") is None


def test_a_fingerprint_tells_another_tool_from_a_changed_one() -> None:
    before = ToolFingerprint("git/log", "a")
    assert before.change_to("log", before) is None
    assert "means 'evil/log' now" in str(before.change_to("log", ToolFingerprint("evil/log", "a")))
    assert "another description" in str(before.change_to("log", ToolFingerprint("git/log", "b")))
