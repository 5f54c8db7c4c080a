"""What callers write on the command line and in files, and what it is taken for."""

from pathlib import Path
from typing import Any

import pytest

from archon_workflows.cli.inputs import bind_pairs, execution_id, is_template_name, read_document, read_object
from archon_workflows.errors import InvalidRequest
from archon_workflows.model.json_values import InvalidJson


@pytest.mark.parametrize(
    ("text", "is_name"),
    [
        ("vm_deployment", True),
        ("deploy2", True),
        ("deploy.json", False),
        ("./deploy", False),
        ("-", False),
        ("Deploy", False),
        ("folder/deploy", False),
    ],
)
def test_a_word_is_a_name_and_everything_else_a_file(text: str, is_name: bool) -> None:  # noqa: FBT001 - a case
    assert is_template_name(text) is is_name


DECLARED = {"name": {"type": "string"}, "count": {"type": "integer"}, "either": {"type": ["string", "null"]}}


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("name=web-1", "web-1"),
        ("name=12", "12"),
        ("name=true", "true"),
        ("name=a=b", "a=b"),
        ("name=", ""),
        ("count=12", 12),
        ("count=many", "many"),
        ("either=null", None),
        ('unknown=["a", 1]', ["a", 1]),
        ("unknown={bad", "{bad"),
        ("unknown=NaN", "NaN"),
    ],
)
def test_a_value_is_text_for_text_parameters_and_json_where_it_can_be(pair: str, value: Any) -> None:
    assert list(bind_pairs([pair], DECLARED).values()) == [value]


@pytest.mark.parametrize("pairs", [["name"], ["=x"], ["name=a", "name=b"]])
def test_a_pair_that_is_none_or_comes_twice_is_refused(pairs: list[str]) -> None:
    with pytest.raises(InvalidRequest):
        bind_pairs(pairs, DECLARED)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"absent\.json.*No such file") as caught:
        read_document(str(tmp_path / "absent.json"))
    assert caught.value.code == "file_unreadable"


def test_a_file_without_json_is_named_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text('{"a": 1,}')
    with pytest.raises(InvalidJson, match=r"broken\.json.*line 1, column 9"):
        read_document(str(path))


def test_parameters_in_a_file_are_an_object(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text("[1]")
    with pytest.raises(InvalidRequest, match="not a JSON object"):
        read_object(str(path))


def test_an_execution_is_named_by_its_id() -> None:
    with pytest.raises(InvalidRequest) as caught:
        execution_id("latest")
    assert caught.value.code == "invalid_execution_id"
