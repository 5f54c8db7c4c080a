"""Parameters and outputs: their schemas, defaults and secrets."""

from collections.abc import Iterator, Mapping
from typing import Any

from archon_workflows.model.findings import Finding, replacement
from archon_workflows.model.json_values import pointer_token, shown
from archon_workflows.model.rules import finding
from archon_workflows.model.schemas import problems_with, schema_problems
from archon_workflows.model.template import Parameter, Template


def review_declarations(template: Template) -> Iterator[Finding]:
    """Yield what is wrong with the template's parameters and outputs."""
    for name, parameter in template.parameters.items():
        yield from _parameter(parameter, "/parameters" + pointer_token(name))
    for name, output in template.outputs.items():
        yield from _schema(output.json_schema, "/outputs" + pointer_token(name))


def _parameter(parameter: Parameter, path: str) -> Iterator[Finding]:
    problems = list(_schema(parameter.json_schema, path))
    yield from problems
    if parameter.secret and parameter.json_schema.get("type") != "string":
        yield _secret_not_text(parameter, path)
    if not parameter.has_default:
        return
    if parameter.required:
        yield finding(
            "required_with_default",
            f"{path}/required",
            f"A run never lacks this parameter, since it has the default {_default(parameter)}.",
            suggestion="Remove 'required', or the default.",
            patch=({"op": "remove", "path": f"{path}/required"},),
        )
    if not problems:
        yield from _unfitting_default(parameter, path)


def _schema(schema: Mapping[str, Any], path: str) -> Iterator[Finding]:
    for problem in schema_problems(schema):
        where = path + problem.path
        yield finding(
            "remote_reference" if problem.keyword in {"$ref", "$dynamicRef", "$id"} else "invalid_schema",
            where,
            problem.message,
            suggestion=problem.suggestion or "See the keyword in JSON Schema draft 2020-12.",
            nearest=problem.nearest,
            patch=replacement(where, problem.nearest),
        )


def _unfitting_default(parameter: Parameter, path: str) -> Iterator[Finding]:
    hidden = ("default",) if parameter.secret else ()
    schema = {"properties": {"default": {"$id": "member:default", **parameter.json_schema}}}
    for problem in problems_with(schema, {"default": parameter.default}, hidden=hidden):
        yield finding(
            "invalid_default",
            path + problem.path,
            f"The default does not fit: {problem.message}",
            suggestion=problem.suggestion or "Change the default or the schema beside it.",
            nearest=problem.nearest,
            patch=replacement(path + problem.path, problem.nearest),
        )


def _secret_not_text(parameter: Parameter, path: str) -> Finding:
    schema_type = parameter.json_schema.get("type")
    given = f"its type is {shown(schema_type)}" if schema_type is not None else "it has no type"
    operation = "add" if schema_type is None else "replace"
    return finding(
        "secret_not_text",
        f"{path}/type",
        f"A secret parameter must be text, and {given}.",
        suggestion="Write 'type': 'string'.",
        nearest="string",
        patch=({"op": operation, "path": f"{path}/type", "value": "string"},),
    )


def _default(parameter: Parameter) -> str:
    return "***" if parameter.secret else shown(parameter.default)
