"""Version tags, breaking changes and differences."""

from typing import Any

import pytest

from archon_workflows.model.parsing import parse_template
from archon_workflows.model.template import ChangeType, Template
from archon_workflows.model.versions import classify_change, diff_documents, next_version_tag


@pytest.mark.parametrize(
    ("current", "change_type", "expected"),
    [
        ("1.2.3", "create", "1.2.3"),
        ("1.2.3", "update", "1.2.4"),
        ("1.2.3", "patch", "1.2.4"),
        ("1.2.3", "minor", "1.3.0"),
        ("1.2.3", "major", "2.0.0"),
        ("1.2.3-rc.1", "patch", "1.2.3"),
        ("1.2.3+build.5", "patch", "1.2.4"),
    ],
)
def test_the_tag_is_bumped_by_the_change_type(current: str, change_type: ChangeType, expected: str) -> None:
    assert next_version_tag(current, change_type) == expected


def template(parameters: dict[str, Any] | None = None, outputs: dict[str, Any] | None = None) -> Template:
    document = {
        "name": "t",
        "parameters": parameters or {},
        "outputs": outputs or {},
        "steps": [{"type": "action", "tool_name": "x"}],
    }
    parsed = parse_template(document)
    assert parsed.template is not None
    return parsed.template


TEXT, NUMBER, INTEGER = {"type": "string"}, {"type": "number"}, {"type": "integer"}
NEEDED = {"type": "string", "required": True}


@pytest.mark.parametrize(
    ("old", "new", "sentences"),
    [
        ({}, {}, []),
        ({"a": TEXT}, {}, ["The parameter 'a' was removed."]),
        ({"a": TEXT}, {"a": INTEGER}, ["The parameter 'a' takes integer, no longer string."]),
        ({"a": INTEGER}, {"a": NUMBER}, []),
        ({"a": NUMBER}, {"a": INTEGER}, ["The parameter 'a' takes integer, no longer number."]),
        ({"a": TEXT}, {"a": {"type": ["string", "null"]}}, []),
        ({"a": {}}, {"a": TEXT}, ["The parameter 'a' takes string, no longer any type."]),
        ({"a": TEXT}, {"a": NEEDED}, ["The parameter 'a' became required."]),
        ({"a": NEEDED}, {"a": TEXT}, []),
        ({"a": {**TEXT, "default": "x"}}, {"a": NEEDED}, ["The parameter 'a' became required."]),
        ({}, {"a": NEEDED}, ["The new parameter 'a' is required."]),
        ({}, {"a": {**NEEDED, "default": "x"}}, []),
        ({}, {"a": TEXT}, []),
    ],
)
def test_changes_of_parameters_that_break_callers(
    old: dict[str, Any], new: dict[str, Any], sentences: list[str]
) -> None:
    assert classify_change(template(old), template(new)) == sentences


@pytest.mark.parametrize(
    ("old", "new", "sentences"),
    [
        ({"a": TEXT}, {"b": TEXT}, ["The output 'a' was removed."]),
        ({"a": TEXT}, {"a": INTEGER}, ["The output 'a' is integer, no longer string."]),
        ({"a": NUMBER}, {"a": INTEGER}, []),
        ({"a": TEXT}, {"a": TEXT, "b": TEXT}, []),
    ],
)
def test_changes_of_outputs_that_break_callers(
    old: dict[str, Any], new: dict[str, Any], sentences: list[str]
) -> None:
    assert classify_change(template(outputs=old), template(outputs=new)) == sentences


def test_declaring_outputs_changes_what_the_result_is() -> None:
    assert len(classify_change(template(), template(outputs={"a": TEXT}))) == 1


@pytest.mark.parametrize(
    ("old", "new", "differences"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": 2}, [{"op": "replace", "path": "/a", "old": 1, "new": 2}]),
        ({"a/b": 1}, {}, [{"op": "remove", "path": "/a~1b", "old": 1}]),
        ({}, {"a": None}, [{"op": "add", "path": "/a", "new": None}]),
        ([1, 2], [0, 1, 2], [{"op": "add", "path": "/0", "new": 0}]),
        ([1, 2, 3], [1, 3], [{"op": "remove", "path": "/1", "old": 2}]),
        (
            [{"name": "a", "v": 1}],
            [{"name": "b"}, {"name": "a", "v": 2}],
            [
                {"op": "add", "path": "/0", "new": {"name": "b"}},
                {"op": "replace", "path": "/1/v", "old": 1, "new": 2},
            ],
        ),
        ({"a": True}, {"a": 1}, [{"op": "replace", "path": "/a", "old": True, "new": 1}]),
    ],
)
def test_differences_of_documents(old: Any, new: Any, differences: list[dict[str, Any]]) -> None:
    assert diff_documents(old, new) == differences
