"""What holds for every text and every value."""

import json
from fractions import Fraction
from random import Random
from typing import Any, cast

import pytest
from checking import check_condition, check_text, is_json
from fuzz import fuzz
from generation import SCOPE, make_condition, make_text
from hypothesis import example, given, settings
from hypothesis import strategies as st

from archon_workflows.expressions import JsonValue, compile_condition, compile_value

_TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))
_HOSTILE_TEXTS = _TEXTS | st.sampled_from(
    ["{{7*7}}", "{% raw %}", "{#", "}}", "true", "null", "1e999", "__class__", "{0.x}", "%s", "'", '"', "\\"]
)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _HOSTILE_TEXTS
)
JSON_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_HOSTILE_TEXTS, inner, max_size=5),
    max_leaves=20,
)
_RANDOMS = st.randoms(use_true_random=False)


def _scope(value: JsonValue) -> dict[str, Any]:
    return {"steps": {"t": {"output": {"v": value}}}}


@given(JSON_VALUES)
def test_any_json_value_comes_back_equal_and_of_its_type(value: JsonValue) -> None:
    result = compile_value("{{ steps.t.output.v }}").evaluate(_scope(value))

    assert repr(result) == repr(value)


@given(JSON_VALUES)
def test_any_json_value_survives_its_own_text(value: JsonValue) -> None:
    result = compile_value("{{ steps.t.output.v | tojson | fromjson }}").evaluate(_scope(value))

    assert json.dumps(result, sort_keys=True) == json.dumps(value, sort_keys=True)


@given(JSON_VALUES, JSON_VALUES)
@example(1, True)
@example([1], [True])
@example({"a": 0}, {"a": False})
@example(1, 1.0)
def test_equality_is_that_of_json(left: JsonValue, right: JsonValue) -> None:
    scope = {"x": left, "y": right}

    equal = compile_condition("{{x}} == {{y}}").evaluate(scope)

    assert equal == (_canonical(left) == _canonical(right))
    assert equal == compile_condition("x in [y]").evaluate(scope)
    assert equal == (compile_value("{{ [x, y] | unique | length }}").evaluate(scope) == 1)


def _canonical(value: JsonValue) -> str:
    """Return a text that is the same for equal values, made without the code under test."""
    match value:
        case bool() | None:
            return repr(value)
        case int() | float():
            return repr(Fraction(value))
        case str():
            return json.dumps(value)
        case list():
            return "[" + ",".join(map(_canonical, cast("list[JsonValue]", value))) + "]"
        case _:
            members = cast("dict[str, JsonValue]", value).items()
            return "{" + ",".join(sorted(f"{key!r}:{_canonical(one)}" for key, one in members)) + "}"


@given(_HOSTILE_TEXTS, st.integers(1, 5))
def test_data_is_never_evaluated_at_any_number_of_hops(text: str, hops: int) -> None:
    value = text
    for _ in range(hops):
        value = compile_value({"a": "{{ steps.t.output.v }}"}).evaluate(_scope(value))["a"]
        joined = compile_value("<{{ steps.t.output.v }}>").evaluate(_scope(value))
        assert joined == f"<{text}>"
    assert value == text


@given(st.text())
@settings(max_examples=200)
def test_any_text_gives_a_json_value_or_an_expression_error(text: str) -> None:
    check_text(text, SCOPE)
    check_text("{{" + text + "}}", SCOPE)
    check_condition(text, SCOPE)


@given(_RANDOMS)
@settings(max_examples=300)
def test_any_expression_gives_a_json_value_or_an_expression_error(random: Random) -> None:
    check_text(make_text(random), SCOPE)
    check_condition(make_condition(random), SCOPE)


@given(JSON_VALUES, _RANDOMS)
@settings(max_examples=200)
def test_so_does_any_expression_over_any_data(value: JsonValue, random: Random) -> None:
    check_text(make_text(random), dict.fromkeys(SCOPE, value))


@given(JSON_VALUES)
def test_any_document_gives_a_json_value_or_an_expression_error(document: JsonValue) -> None:
    assert is_json(document)
    for text in (json.dumps(document), "{{ " + json.dumps(document) + " }}"):
        check_text(text, SCOPE)


@given(_TEXTS)
def test_raw_text_stays_as_it_is(text: str) -> None:
    if "{%" not in text:
        assert compile_value("{% raw %}" + text + "{% endraw %}").evaluate({}) == text


@pytest.mark.parametrize("seed", [1, 2])
def test_the_fuzzer_reaches_every_end(seed: int) -> None:
    ends, _ = fuzz(2_000, seed)

    assert ends["evaluated"] + ends["failed"] == 2_000
    assert min(ends["refused"], ends["failed"], ends["evaluated"]) > 100
