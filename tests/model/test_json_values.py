"""The normaliser, with the hostile documents of ``cases/hostile_json.jsonl`` in all their roles."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_workflows.errors import InvalidParameters
from archon_workflows.model.json_values import (
    BOUNDS,
    InvalidJson,
    JsonBounds,
    canonical_json,
    is_truncated,
    normalise,
    parse_json,
    read_stored_json,
    sha256_of,
    truncate_oversized,
)
from archon_workflows.model.parameters import bind_parameters
from archon_workflows.model.parsing import parse_template

HOSTILE_FILE = Path(__file__).parents[1] / "cases" / "hostile_json.jsonl"
HOSTILE = [json.loads(line) for line in HOSTILE_FILE.read_text().splitlines()]

# The word "infinity" is text; nothing but a timestamp column would read it as a time, and no value of a
# document goes into one: SPEC section 6 has no rule against it.
ACCEPTED_CONTRARY_TO_CASE = {"timestamp_infinity"}

# In templates and parameters SPEC section 6 has nothing replaced: what a tool's result may keep in a
# replaced form is refused there.
REFUSED_OUTSIDE_OF_RESULTS = {"nul_in_key", "lone_low_surrogate"}

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(-1e15, 1e15)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
ANY_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]))
    | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


def text_of(case: dict[str, Any]) -> str:
    if case["raw"] is not None:
        return case["raw"]
    return "".join(text * repeat for text, repeat in case["build"])


def expected_of(case: dict[str, Any]) -> str:
    return "accept" if case["name"] in ACCEPTED_CONTRARY_TO_CASE else case["expected"]


def arrives_parsed(case: dict[str, Any]) -> bool:
    """Say whether a tool's client may hand it over parsed: Python's parser takes NaN and duplicate keys."""
    try:
        json.loads(text_of(case))
    except (ValueError, RecursionError):
        return False
    return True


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case["name"])
def test_hostile_text_is_parsed_or_refused_as_stated(case: dict[str, Any]) -> None:
    if expected_of(case) == "refuse":
        with pytest.raises(InvalidJson) as caught:
            parse_json(text_of(case))
        assert caught.value.code == "invalid_json"
        assert len(caught.value.message) < 300
    else:
        result = normalise(parse_json(text_of(case)), "replace")
        assert bool(result.changes) == (expected_of(case) == "normalise")
        assert_storable(result.value)


@pytest.mark.parametrize("case", [*filter(arrives_parsed, HOSTILE)], ids=lambda case: case["name"])
def test_a_hostile_result_that_arrives_parsed_is_storable_or_the_steps_failure(case: dict[str, Any]) -> None:
    try:
        result = normalise(json.loads(text_of(case)), "replace")
    except InvalidJson:
        assert expected_of(case) == "refuse"
    else:
        assert_storable(result.value)


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case["name"])
def test_a_hostile_result_that_stays_text_is_storable_or_the_steps_failure(case: dict[str, Any]) -> None:
    try:
        result = normalise(text_of(case), "replace")
    except InvalidJson:
        assert case["name"] == "huge_string_64MiB"
    else:
        assert_storable(result.value)


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case["name"])
def test_a_hostile_document_as_a_parameter_is_bound_or_refused(case: dict[str, Any]) -> None:
    template = parse_template(
        {"name": "t", "parameters": {"value": {}}, "steps": [{"type": "action", "tool_name": "x"}]}
    ).template
    assert template is not None
    try:
        value = parse_json(text_of(case))
        bound = bind_parameters(template, {"value": value})
    except (InvalidJson, InvalidParameters):
        assert expected_of(case) == "refuse" or case["name"] in REFUSED_OUTSIDE_OF_RESULTS
    else:
        assert expected_of(case) == "accept"
        assert_storable(bound)


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case["name"])
def test_a_hostile_document_inside_a_template_is_kept_or_is_a_finding(case: dict[str, Any]) -> None:
    try:
        value = parse_json(text_of(case))
    except InvalidJson:
        assert expected_of(case) == "refuse"
        return
    step = {"type": "action", "tool_name": "x", "parameters": {"value": value}}
    parsed = parse_template({"name": "t", "steps": [step]})
    if expected_of(case) == "accept":
        assert parsed.template is not None
    else:
        assert [finding.rule for finding in parsed.findings] == ["invalid_json"]
        assert parsed.findings[0].path.startswith("/steps/0/parameters/value")


def assert_storable(value: Any) -> None:
    text = json.dumps(value, allow_nan=False)
    text.encode()
    assert "\\u0000" not in text.replace("\\\\", "")
    assert read_stored_json(text) == value


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"a":[1,{"b":2,"b":3}]}', "/a/1"),
        ('{"a":[0,1e999]}', "/a/1"),
        ('{"a/b":{"~":18446744073709551616}}', "/a~1b/~0"),
        ("[NaN]", "/0"),
        ("[" * 65 + "]" * 65, "/0" * 64),
    ],
)
def test_a_refused_text_names_the_place(text: str, path: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        parse_json(text)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": ["x\0"]}, "/a/0"),
        ({"a": {"b\0": 1}}, "/a"),
        ({"a": "\ud800"}, "/a"),
        ([math.inf], "/0"),
        ([2**63], "/0"),
        ([-(2**63) - 1], "/0"),
        ([b"x"], "/0"),
        ([(1, 2)], "/0"),
        ({1: 2}, ""),
        ({"k" * 1_025: 1}, ""),
    ],
)
def test_the_refusing_policy_names_the_place(value: Any, path: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        normalise(value, "refuse")
    assert (caught.value.code, caught.value.path) == ("invalid_json", path)


@pytest.mark.parametrize(
    ("value", "expected", "paths"),
    [
        ({"a": "x\0y"}, {"a": "x\ufffdy"}, ["/a"]),
        ({"a\0": 1}, {"a\ufffd": 1}, [""]),
        (["\udc00x"], ["\ufffdx"], ["/0"]),
        ([math.nan, -math.inf], ["nan", "-inf"], ["/0", "/1"]),
        ([2**64], ["18446744073709551616"], ["/0"]),
    ],
)
def test_the_replacing_policy_lists_what_it_replaced(value: Any, expected: Any, paths: list[str]) -> None:
    result = normalise(value, "replace")
    assert result.value == expected
    assert [change.path for change in result.changes] == paths


UNMENDABLE: list[Any] = [
    {"a\0": 1, "a\ufffd": 2},
    {"a": b"x"},
    [[[]]],
    [1, 2, 3, 4],
    {"long key": 1},
    ["0123456789"],
]


@pytest.mark.parametrize("value", UNMENDABLE)
def test_what_cannot_be_replaced_is_an_invalid_result(value: Any) -> None:
    tight = JsonBounds(depth=2, nodes=4, key_characters=6, text_characters=9)
    with pytest.raises(InvalidJson) as caught:
        normalise(value, "replace", bounds=tight)
    assert caught.value.code == "invalid_result"


def test_many_replacements_are_counted_rather_than_listed() -> None:
    result = normalise(["\0"] * 250, "replace")
    assert len(result.changes) == 101
    assert result.changes[-1].what == "150 more replaced"


def test_a_value_that_refers_to_itself_is_too_deep_and_one_that_repeats_itself_too_large() -> None:
    endless: list[Any] = []
    endless.append(endless)
    laughs: list[Any] = []
    for _ in range(40):
        laughs = [laughs, laughs]
    for value in (endless, laughs):
        with pytest.raises(InvalidJson):
            normalise(value, "replace")


@given(JSON_VALUES)
def test_a_sound_value_passes_unchanged_and_reads_back_equal(value: Any) -> None:
    result = normalise(value, "refuse")
    assert result.value == value
    assert result.changes == ()
    assert parse_json(json.dumps(value)) == value


@given(ANY_VALUES)
def test_whatever_the_replacing_policy_returns_passes_again_untouched(value: Any) -> None:
    try:
        mended = normalise(value, "replace").value
    except InvalidJson:
        return
    again = normalise(mended, "refuse")
    assert again.value is mended
    assert_storable(mended)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([1.0], [1]),
        ([-0.0], [0]),
        ([1e22], [10**22]),
        ([1e300], [10**300]),
    ],
)
def test_values_that_jsonb_calls_equal_have_one_canonical_form(one: Any, other: Any) -> None:
    assert canonical_json(one) == canonical_json(other)
    assert sha256_of(one) == sha256_of(other)


def test_values_that_differ_have_different_hashes() -> None:
    values: list[Any] = [1, "1", True, None, [1], {"1": 1}, 1.5, "", [], {}]
    assert len({sha256_of(value) for value in values}) == len(values)


def test_numbers_get_the_form_in_which_jsonb_gives_them_back() -> None:
    result = normalise([-0.0, 1e16, 1e300, 1.0], "refuse")
    assert [repr(one) for one in result.value] == ["0.0", "10000000000000000", "1e+300", "1.0"]
    assert result.changes == ()


def test_a_float_that_jsonb_wrote_out_is_read_as_a_float() -> None:
    assert read_stored_json("[1" + "0" * 300 + ", 9223372036854775807]") == [1e300, 2**63 - 1]


def test_a_value_over_the_limit_is_replaced_by_its_size_hash_and_head() -> None:
    value = {"text": "é" * 600_000}
    marker, truncated = truncate_oversized(value)
    assert truncated
    assert marker["$truncated"]["size"] == 1_200_011
    assert marker["$truncated"]["sha256"] == sha256_of(value)
    assert marker["$truncated"]["head"] == canonical_json(value)[:1_000]
    assert is_truncated(marker)


@pytest.mark.parametrize(("length", "truncated"), [(98, False), (99, True)])
def test_the_limit_counts_bytes_of_canonical_json(length: int, truncated: bool) -> None:  # noqa: FBT001 - a table
    assert truncate_oversized("x" * length, 100)[1] is truncated


def test_the_bounds_are_those_that_are_documented() -> None:
    assert (BOUNDS.depth, BOUNDS.nodes, BOUNDS.key_characters) == (64, 100_000, 1_024)
