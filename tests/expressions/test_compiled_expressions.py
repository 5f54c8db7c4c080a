"""What the doors promise: references, constants, views, errors that can be acted on, conditions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import pytest

from archon_workflows.errors import ExpressionError
from archon_workflows.expressions import (
    ExpressionTooCostly,
    Limits,
    Reference,
    UnparsableExpression,
    UnresolvedReference,
    compile_condition,
    compile_value,
    find_expression_errors,
)


class View(Mapping[str, object]):
    """A lazy object that remembers what was asked of it."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values
        self.asked: list[str] = []

    def __getitem__(self, key: str) -> object:
        self.asked.append(key)
        value = self._values[key]
        if isinstance(value, ExpressionError):
            raise value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class ListView(Sequence[object]):
    def __init__(self, *values: object) -> None:
        self._values = values

    @overload
    def __getitem__(self, index: int) -> object: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[object]: ...
    def __getitem__(self, index: int | slice) -> object:
        return self._values[index]

    def __len__(self) -> int:
        return len(self._values)


def _refusal(value: Any, **options: Any) -> ExpressionError:
    with pytest.raises(ExpressionError) as raised:
        compile_value(value, **options)
    return raised.value


def _failure(value: Any, scope: Mapping[str, object]) -> ExpressionError:
    with pytest.raises(ExpressionError) as raised:
        compile_value(value).evaluate(scope)
    return raised.value


class TestReferences:
    def test_all_are_listed_without_evaluating(self) -> None:
        value = {"a": "{{ steps.vm.output.id }}", "b": ["x {{ context.n + loop.index }}", 1]}

        assert compile_value(value).references == (
            Reference("steps", ("vm", "output", "id"), "steps.vm.output.id", guarded=False),
            Reference("context", ("n",), "context.n", guarded=False),
            Reference("loop", ("index",), "loop.index", guarded=False),
        )

    def test_the_path_ends_at_a_computed_key_whose_references_are_listed_too(self) -> None:
        assert compile_value("{{ a.b[c.d].e['x y'][0] }}").references == (
            Reference("c", ("d",), "c.d", guarded=False),
            Reference("a", ("b",), "a.b[...].e['x y'][0]", guarded=False),
        )

    def test_default_and_defined_guard_their_operand_only(self) -> None:
        condition = compile_condition("a.x is defined and b.x | default(c.x) == d.x")

        assert {reference.root: reference.guarded for reference in condition.references} == {
            "a": True,
            "b": True,
            "c": False,
            "d": False,
        }

    def test_one_that_is_written_twice_is_listed_once(self) -> None:
        assert len(compile_value(["{{ a.b }}", "{{ a.b }}"]).references) == 1

    def test_those_of_a_side_that_is_not_taken_are_listed(self) -> None:
        assert [one.root for one in compile_value("{{ a if true else b }}").references] == ["a", "b"]


class TestConstants:
    @pytest.mark.parametrize("value", [None, True, 1, "text", {"a": ["b", {"c": 1}]}, "{{ 1 + 1 }}"])
    def test_a_value_without_references_is_constant(self, value: Any) -> None:
        assert compile_value(value).is_constant

    def test_a_constant_is_shared_between_evaluations(self) -> None:
        compiled = compile_value({"fixed": {"a": [1, 2]}, "changing": "{{ x }}"})

        first, second = compiled.evaluate({"x": 1}), compiled.evaluate({"x": 2})

        assert (first["changing"], second["changing"]) == (1, 2)
        assert first["fixed"] is second["fixed"]

    def test_the_order_of_keys_is_kept(self) -> None:
        compiled = compile_value({"z": "{{ x }}", "a": 1, "m": "{{ x }}"})

        assert list(compiled.evaluate({"x": 0})) == ["z", "a", "m"]

    def test_keys_of_objects_are_never_parsed(self) -> None:
        assert compile_value({"{{ x }}": 1}).evaluate({}) == {"{{ x }}": 1}

    def test_a_mistake_in_a_constant_is_found_when_compiling(self) -> None:
        assert _refusal("{{ 1 / 0 }}").code == "expression_type"

    def test_what_the_scope_holds_is_passed_on_without_a_copy(self) -> None:
        data = {"a": [1]}
        assert compile_value("{{ x }}").evaluate({"x": data}) is data


class TestViews:
    def test_only_what_is_asked_for_is_looked_up(self) -> None:
        steps = View({"a": View({"output": {"id": 7}}), "b": 1})

        assert compile_value("{{ steps.a.output.id }}").evaluate({"steps": steps}) == 7
        assert steps.asked == ["a"]

    def test_a_view_as_result_becomes_plain_data(self) -> None:
        scope = {"steps": View({"a": View({"n": 1}), "l": ListView(1, View({}))})}

        result: Any = compile_value("{{ steps }}").evaluate(scope)

        assert result == {"a": {"n": 1}, "l": [1, {}]}
        assert [type(one) for one in (result, *result.values())] == [dict, dict, list]

    @pytest.mark.parametrize(
        ("expression", "result"),
        [
            ("v={{ o }}", 'v={"a":1,"b":[1,2]}'),
            ("{{ o == {'b': [1, 2], 'a': 1} }}", True),
            ("{{ {'a': 1, 'b': [1, 2]} == o }}", True),
            ("{{ o | tojson }}", '{"a":1,"b":[1,2]}'),
            ("{{ o | keys }}", ["a", "b"]),
            ("{{ o | items }}", [["a", 1], ["b", [1, 2]]]),
            ("{{ o | length }}", 2),
            ("{{ 'a' in o }}", True),
            ("{{ o is mapping }}", True),
            ("{{ l is sequence }}", True),
            ("{{ l[-1] }}", 2),
            ("{{ l[0:1] }}", [1]),
            ("{{ l | sum }}", 3),
            ("{{ 2 in l }}", True),
            ("{{ [o, o] | unique | length }}", 1),
            ("{{ [l] }}", [[1, 2]]),
            ("{{ {'k': o}.k.b }}", [1, 2]),
            ("{{ l + [3] }}", [1, 2, 3]),
        ],
    )
    def test_a_view_behaves_like_the_data_it_shows(self, expression: str, result: Any) -> None:
        scope = {"o": View({"b": ListView(1, 2), "a": 1}), "l": ListView(1, 2)}
        assert compile_value(expression).evaluate(scope) == result

    @pytest.mark.parametrize(
        "expression", ["{{ v.big }}", "{{ v.big | default(1) }}", "{{ v.big is defined }}"]
    )
    def test_an_error_of_a_views_own_passes_through_as_it_is(self, expression: str) -> None:
        own = ExpressionError("too large", code="payload_too_large")

        raised = _failure(expression, {"v": View({"big": own})})

        assert raised is own
        assert raised.message == "too large"

    def test_an_error_of_a_value_that_nobody_asked_for_is_never_raised(self) -> None:
        scope = {"v": View({"big": ExpressionError("too large"), "small": 1})}
        assert compile_value("{{ v.small }}{{ 'big' in (v | keys) }}").evaluate(scope) == "1true"

    def test_a_python_object_is_no_json_value(self) -> None:
        assert _failure("{{ x }}", {"x": object()}).code == "expression_type"


class TestLetters:
    def test_an_unresolved_reference_names_itself_the_nearest_name_and_its_place(self) -> None:
        error = _failure(
            {"a": [0, "id: {{ steps.vm.output.vmid }}"]}, {"steps": {"vm": {"output": {"vm_id": 1}}}}
        )

        assert isinstance(error, UnresolvedReference)
        assert error.path == "/a/1"
        assert "steps.vm.output.vmid" in error.message
        assert "'vm_id'" in (error.suggestion or "")
        assert error.details["reference"] == "steps.vm.output.vmid"
        assert error.details["candidates"] == ["vm_id"]
        assert error.details["column"] == len("id: {{ steps.vm.output.")

    def test_an_unknown_root_is_refused_with_the_nearest_one(self) -> None:
        error = _refusal("{{ stpes.a }}", roots={"steps", "context"})

        assert isinstance(error, UnresolvedReference)
        assert error.suggestion == "Did you mean 'steps'?"

    @pytest.mark.parametrize(
        ("expression", "suggestion"),
        [
            ("{{ 'a' | uper }}", "Did you mean 'upper'?"),
            ("{{ 1 is evn }}", "Did you mean 'even'?"),
            ("{{ x.items() }}", "Did you mean the filter `| items`?"),
            ("{{ x | replace('a', nwe='b') }}", "Did you mean 'new'?"),
        ],
    )
    def test_an_unknown_name_comes_with_the_nearest_one(self, expression: str, suggestion: str) -> None:
        assert _refusal(expression).suggestion == suggestion

    def test_all_strings_that_are_wrong_are_found_at_once(self) -> None:
        value = {"a/b": "{{ 1 +", "ok": "{{ x }}", "l": ["{{ y() }}", {"~": "{% if %}"}]}

        errors = find_expression_errors(value)

        assert [error.path for error in errors] == ["/a~1b", "/l/0", "/l/1/~0"]
        assert {type(error) for error in errors} == {UnparsableExpression}

    def test_a_long_text_is_shortened_around_the_place(self) -> None:
        error = _refusal("x" * 500 + "{{ nope( }}" + "y" * 500)

        assert "{{ nope(" in error.message
        assert len(error.message) < 300

    @pytest.mark.parametrize(
        "expression",
        [
            "{{ secret + 1 }}",
            "{{ secret < 1 }}",
            "{{ secret | int }}",
            "{{ secret | sum }}",
            "{{ secret.x }}",
            "{{ names[secret] }}",
            "{{ secret and true }}",
            "{{ secret | fromjson }}",
            "{{ 1 in secret }}",
            "{{ [1, secret] | sort }}",
            "{{ secret | round }}",
            "{{ {secret: 1}.a }}",
            "{{ ({secret: 1} | d(0)).a }}",
            "{{ [{secret: 1}] | map(attribute='a') }}",
            "{{ 'a' | replace(1, secret) }}",
        ],
    )
    def test_no_letter_shows_a_value_of_the_scope(self, expression: str) -> None:
        letter = str(_failure(expression, {"secret": "hunter2", "names": {}}).as_json())
        assert "hunter2" not in letter


class TestConditions:
    @pytest.mark.parametrize("source", [True, False])
    def test_a_boolean_is_a_condition(self, source: bool) -> None:  # noqa: FBT001 - that is the point
        condition = compile_condition(source)

        assert condition.evaluate({}) is source
        assert condition.references == ()

    def test_references_are_listed(self) -> None:
        condition = compile_condition("{{previous_step.output.status}} == 'success'")
        assert [one.source for one in condition.references] == ["previous_step.output.status"]

    def test_an_unknown_root_is_refused(self) -> None:
        with pytest.raises(UnresolvedReference):
            compile_condition("maybe", roots={"steps"})


class TestBounds:
    def test_the_bounds_can_be_chosen(self) -> None:
        assert _refusal("{{ 1 + 1 + 1 }}", limits=Limits(chain=1)).code == "expression_too_costly"
        assert _refusal("x" * 11, limits=Limits(source_length=10)).code == "expression_too_costly"

    def test_ordinary_nesting_and_length_are_far_from_the_bounds(self) -> None:
        nested = "(" * 20 + "1" + ")" * 20
        alternatives = " or ".join(f"item.status == 'state {number}'" for number in range(20))
        assert compile_value(f"{{{{ {nested} }}}}").evaluate({}) == 1
        assert compile_condition(alternatives).evaluate({"item": {"status": "state 19"}}) is True

    @pytest.mark.parametrize(
        "source",
        [
            "not " * 100 + "true",
            "(" * 24 + "true" + ")" * 24,
            " and ".join(["true"] * 100),
            "1 + " * 98 + "1 == 99",
            "[" * 23 + "true" + "]" * 23 + "[0]" * 23,
            "true if true else " * 49 + "false",
        ],
    )
    def test_the_largest_expressions_that_are_allowed_have_a_value(self, source: str) -> None:
        assert compile_condition(source).evaluate({}) is True

    def test_one_evaluation_of_a_document_has_one_purse(self) -> None:
        value = ["{{ 0 in x }}"] * 20
        scope = {"x": list(range(1, 10_000))}

        assert compile_value(value[:2]).evaluate(scope) == [False, False]
        with pytest.raises(ExpressionTooCostly):
            compile_value(value).evaluate(scope)

    def test_a_document_that_repeats_large_values_is_refused(self) -> None:
        with pytest.raises(ExpressionTooCostly):
            compile_value({"a": "{{ x }}", "b": "{{ x }}"}).evaluate({"x": [0] * 60_000})

    def test_a_document_nested_too_deeply_is_refused(self) -> None:
        value: Any = "{{ x }}"
        for _ in range(2_000):
            value = [value]
        assert _refusal(value).code == "expression_too_costly"
