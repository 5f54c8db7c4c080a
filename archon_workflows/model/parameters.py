"""Input and output of a run: what the template declares, as one JSON Schema each, and what was given."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

from archon_workflows.errors import InvalidParameters, WorkflowError
from archon_workflows.model.findings import closest, hint
from archon_workflows.model.json_values import InvalidJson, normalise, pointer_token, shown
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.schemas import DIALECT, SchemaProblem, placed, problems_with
from archon_workflows.model.template import Parameter, Template

SHORTEST_SECRET = 4
"""Characters that a secret has at least: a shorter text is in too many others to be hidden."""

_PROBLEMS_LISTED = 100
_SAID_OTHERWISE = frozenset({"additionalProperties", "required"})


class InvalidOutputs(WorkflowError):
    """The evaluated outputs of an execution do not fit the template's ``outputs``."""

    default_code = "invalid_outputs"


def input_schema(template: Template) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the input: one object, no unknown names."""
    return parameters_schema(template.parameters)


def parameters_schema(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return the JSON Schema of an object with these parameters as its members."""
    schema: dict[str, Any] = {
        "$schema": DIALECT,
        "type": "object",
        "properties": {name: _described(parameter, name) for name, parameter in parameters.items()},
        "additionalProperties": False,
    }
    required = [name for name, parameter in parameters.items() if is_needed(parameter)]
    return {**schema, "required": required} if required else schema


def is_needed(parameter: Parameter) -> bool:
    """Say whether a run must give the parameter: a default makes ``required`` empty."""
    return parameter.required and not parameter.has_default


def secret_names(template: Template) -> frozenset[str]:
    """Return the names of the parameters whose values must never be shown."""
    return frozenset(name for name, parameter in template.parameters.items() if parameter.secret)


def bind_parameters(template: Template, given: Any) -> dict[str, JsonValue]:
    """Return the input of a run: what was given, with the defaults.

    Raises:
        InvalidParameters: with the problems (at most 100 of a kind) in ``details["problems"]``; values of
            secret parameters are never shown.
    """
    value = _normalised(template, given)
    defaults = {name: one.default for name, one in template.parameters.items() if one.has_default}
    bound: dict[str, JsonValue] = {**defaults, **value}
    problems = [
        *_missing_names(template, value),
        *islice(_unknown_names(template, value), _PROBLEMS_LISTED),
        *islice(_unfitting(template, bound), _PROBLEMS_LISTED),
        *_short_secrets(template, bound),
    ]
    if problems:
        raise _invalid(problems, template)
    return bound


def check_outputs(template: Template, outputs: Mapping[str, JsonValue]) -> None:
    """Check the evaluated outputs against what the template declares.

    Raises:
        InvalidOutputs: with the problems (at most 100 of a kind) in ``details["problems"]``.
    """
    schema = {
        "$schema": DIALECT,
        "type": "object",
        "properties": {name: placed(output.json_schema, name) for name, output in template.outputs.items()},
    }
    problems = list(islice(problems_with(schema, dict(outputs)), _PROBLEMS_LISTED))
    if problems:
        first = problems[0]
        raise InvalidOutputs(
            f"Output {first.path.split('/')[1]!r} does not fit its schema: {first.message}",
            path=f"/outputs{first.path}",
            suggestion="Mend the output's value or its schema in the template.",
            details={"problems": [one.as_json() for one in problems]},
        )


def _described(parameter: Parameter, name: str) -> dict[str, Any]:
    schema = placed(parameter.json_schema, name)
    if parameter.description:
        schema["description"] = parameter.description
    if parameter.has_default:
        schema["default"] = parameter.default
    if parameter.secret:
        schema["writeOnly"] = True
    return schema


def _normalised(template: Template, given: Any) -> dict[str, JsonValue]:
    try:
        value = normalise(given, "refuse").value
    except InvalidJson as error:
        name = (error.path or "").removeprefix("/").split("/")[0]
        message = error.message if name not in secret_names(template) else "*** cannot be stored as JSON."
        raise _invalid([SchemaProblem(error.path or "", message, "json")], template) from None
    if isinstance(value, dict):
        return cast("dict[str, JsonValue]", value)
    message = f"{shown(value)} stands where an object of parameters is expected."
    raise _invalid([SchemaProblem("", message, "type")], template)


def _unknown_names(template: Template, given: Mapping[str, Any]) -> Iterator[SchemaProblem]:
    for name in given:
        if name not in template.parameters:
            match = closest(name, template.parameters)
            yield SchemaProblem(
                pointer_token(name),
                f"The workflow {template.name!r} has no parameter {shown(name)}.",
                "additionalProperties",
                hint(match, template.parameters, noun="parameter"),
                match,
            )


def _missing_names(template: Template, given: Mapping[str, Any]) -> Iterator[SchemaProblem]:
    for name, parameter in template.parameters.items():
        if is_needed(parameter) and name not in given:
            meaning = f": {parameter.description}" if parameter.description else ""
            kind = parameter.json_schema.get("type")
            yield SchemaProblem(
                pointer_token(name),
                f"The required parameter {name!r} is missing{meaning or '.'}",
                "required",
                f"Give {name!r}{f', a {kind}' if isinstance(kind, str) else ''}.",
            )


def _unfitting(template: Template, bound: Mapping[str, Any]) -> Iterator[SchemaProblem]:
    hidden = sorted(secret_names(template))
    for problem in problems_with(input_schema(template), dict(bound), hidden=hidden):
        if problem.path or problem.keyword not in _SAID_OTHERWISE:
            yield problem


def _short_secrets(template: Template, bound: Mapping[str, Any]) -> Iterator[SchemaProblem]:
    for name in sorted(secret_names(template)):
        value = bound.get(name)
        if isinstance(value, str) and len(value) < SHORTEST_SECRET:
            yield SchemaProblem(
                pointer_token(name),
                f"The secret parameter {name!r} has {len(value)} characters; less than {SHORTEST_SECRET} "
                f"could not be hidden.",
                "secret",
                "Give a longer secret, or leave it out.",
            )


def _invalid(problems: Sequence[SchemaProblem], template: Template) -> InvalidParameters:
    first = problems[0]
    more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidParameters(
        f"The parameters do not fit the workflow {template.name!r}: {first.message}{more}",
        path=first.path,
        suggestion=first.suggestion,
        details={"problems": [one.as_json() for one in problems]},
    )
