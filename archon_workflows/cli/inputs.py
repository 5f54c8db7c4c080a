"""What the caller gives on the command line and in files, made into the words of the verbs.

Only the form is judged here; whether a document is a valid template, or a value fits its parameter, is said
by the verbs.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from archon_workflows.errors import InvalidRequest
from archon_workflows.model.json_values import InvalidJson, parse_json
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.steps import NAME_PATTERN

STANDARD_INPUT = "-"
FILE_LIMIT_BYTES = 16 * 1_048_576


def is_template_name(text: str) -> bool:
    """Say whether ``NAME_OR_FILE`` is a template's name: a file's name has a dot, a slash, or is ``-``."""
    return re.match(NAME_PATTERN, text) is not None


def read_document(source: str) -> JsonValue:
    """Return the JSON value in a file, or on standard input for ``-``.

    Raises:
        InvalidRequest: the file cannot be read.
        InvalidJson: it holds no JSON; the message names the file.
    """
    text = _read(source)
    try:
        return parse_json(text)
    except InvalidJson as error:
        raise InvalidJson(
            f"{_named(source)}: {error.message}", path=error.path, suggestion=error.suggestion
        ) from error


def read_object(source: str) -> dict[str, JsonValue]:
    """Return the JSON object in a file, or on standard input for ``-``.

    Raises:
        InvalidRequest: the file cannot be read, or holds something else than an object.
        InvalidJson: it holds no JSON.
    """
    value = read_document(source)
    if isinstance(value, dict):
        return cast("dict[str, JsonValue]", value)
    raise InvalidRequest(
        f"{_named(source)} holds {type(value).__name__}, not a JSON object.",
        suggestion='Write an object, such as {"vm_name": "web-1"}.',
    )


def bind_pairs(pairs: Sequence[str], declared: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Return the parameters that ``key=value`` pairs give.

    A value is JSON where it is valid JSON (``3``, ``true``, ``["a"]``), else text; for a parameter that is
    ``declared`` (in the template's ``parameters``) as ``string`` it is always the text as it stands.

    Raises:
        InvalidRequest: a pair has no ``=``, or a key is given twice.
    """
    parameters: dict[str, JsonValue] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise InvalidRequest(
                f"{pair!r} is not of the form key=value.", suggestion="Write -p vm_name=web-1."
            )
        if key in parameters:
            raise InvalidRequest(f"The parameter {key!r} is given twice.", suggestion="Give it once.")
        parameters[key] = _value(text, declared.get(key))
    return parameters


def execution_id(text: str) -> UUID:
    """Return the id of an execution.

    Raises:
        InvalidRequest: the text is no UUID.
    """
    try:
        return UUID(text)
    except ValueError:
        raise InvalidRequest(
            f"{text!r} is not the id of an execution.",
            code="invalid_execution_id",
            suggestion="`archon-workflows executions` lists them.",
        ) from None


def _value(text: str, parameter: object) -> JsonValue:
    if isinstance(parameter, Mapping) and parameter.get("type") == "string":  # pyright: ignore[reportUnknownMemberType] - any JSON
        return text
    try:
        return parse_json(text)
    except InvalidJson:
        return text


def _read(source: str) -> bytes:
    try:
        if source == STANDARD_INPUT:
            content = sys.stdin.buffer.read(FILE_LIMIT_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                content = file.read(FILE_LIMIT_BYTES + 1)
    except OSError as error:
        raise InvalidRequest(
            f"{_named(source)} cannot be read: {error.strerror or error}.",
            code="file_unreadable",
            suggestion="Give the path of a JSON file, or - for standard input.",
        ) from error
    if len(content) > FILE_LIMIT_BYTES:
        raise InvalidRequest(
            f"{_named(source)} is larger than {FILE_LIMIT_BYTES} bytes.",
            code="file_too_large",
            suggestion="Keep large values out of documents; let a tool fetch them.",
        )
    return content


def _named(source: str) -> str:
    return "Standard input" if source == STANDARD_INPUT else f"The file {source!r}"
