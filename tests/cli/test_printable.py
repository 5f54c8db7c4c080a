"""What could steer a terminal is shown as an escape instead of sent."""

import json

import pytest

from archon_workflows.cli.printable import json_text, one_line_json, printable

STEERING = [
    ("\x1b[2J", "\\x1b[2J"),
    ("\x9b31m", "\\x9b31m"),
    ("a\rb", "a\\rb"),
    ("a\nb", "a\\nb"),
    ("\x07", "\\x07"),
    ("\x7f", "\\x7f"),
    ("safe\u202eevil", "safe\\u202eevil"),
    ("\u2066x\u2069", "\\u2066x\\u2069"),
    ("\u2028", "\\u2028"),
    ("\ud800", "\\ud800"),
    ("\U000e0041", "\\U000e0041"),
]


@pytest.mark.parametrize(("data", "shown"), STEERING)
def test_what_steers_a_terminal_is_escaped(data: str, shown: str) -> None:
    assert printable(data) == shown


@pytest.mark.parametrize("text", ["plain", "Größe 3 €", "日本語", "🚀", "[bold]no markup[/bold]", "a\u00a0b"])
def test_ordinary_text_of_any_language_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_line_feeds_stay_only_where_several_lines_are_wanted() -> None:
    assert printable("a\n\x1bb", lines=True) == "a\n\\x1bb"


@pytest.mark.parametrize("data", [data for data, _ in STEERING if data != "\ud800"])
def test_json_output_is_plain_ascii_and_means_the_same(data: str) -> None:
    text = json_text({"name": data})
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == {"name": data}


def test_a_long_value_is_cut_to_one_line() -> None:
    line = one_line_json({"text": "x" * 500 + "\x1b"}, limit=100)
    assert len(line) == 100
    assert line.endswith("…")
