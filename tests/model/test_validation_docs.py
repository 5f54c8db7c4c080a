"""The page about validation says what the program does."""

from pathlib import Path

from archon_workflows.model.review import rules_table

PAGE = (Path(__file__).parents[2] / "docs" / "validation.md").read_text()


def test_the_page_lists_exactly_the_rules_that_there_are() -> None:
    assert rules_table() in PAGE
