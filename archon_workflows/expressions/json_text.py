"""The filter ``fromjson``: JSON text to value, under the rules for values from outside.

Finite numbers, integers within 64 bits, no duplicate keys, no NUL, no lone surrogates, bounded depth and
size.
"""

import json
from typing import Any

from archon_workflows.expressions.errors import ExpressionTypeError
from archon_workflows.expressions.values import (
    Evaluation,
    JsonValue,
    is_plain_list,
    is_plain_object,
    kind,
    measure,
    number,
    unstorable,
)

_LONGEST_INTEGER = 80


def parse_json(evaluation: Evaluation, text: Any) -> JsonValue:
    """Return the value of a JSON text.

    Raises:
        ExpressionTypeError: it is no text, no JSON, or JSON that may not come from outside.
        ExpressionTooCostly: the value is too large or too deep.
    """
    if type(text) is not str:
        raise ExpressionTypeError(f"Only a text can be read as JSON, not {kind(text)}.")
    evaluation.spend(len(text))
    try:
        document = json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_int=_json_integer,
            parse_float=_json_float,
            parse_constant=_json_constant,
        )
    except (ValueError, RecursionError) as error:
        place = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        raise ExpressionTypeError(f"The text of {len(text)} characters is not JSON{place}.") from None
    measure(evaluation, document)
    _refuse_unstorable(document)
    return document


def _refuse_unstorable(value: JsonValue) -> None:
    if is_plain_list(value):
        for one in value:
            _refuse_unstorable(one)
    elif is_plain_object(value):
        for key, one in value.items():
            _refuse_unstorable(key)
            _refuse_unstorable(one)
    elif type(value) is str and (fault := unstorable(value)) is not None:
        raise ExpressionTypeError(f"The JSON text has {fault}, which JSON in a database cannot hold.")


def _without_duplicates(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ExpressionTypeError("The JSON text has an object with the same key twice.")
    return members


def _json_integer(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER:
        raise ExpressionTypeError(f"The JSON text has an integer of {len(digits)} digits.")
    return number(int(digits))


def _json_float(digits: str) -> float:
    return number(float(digits))


def _json_constant(name: str) -> float:
    raise ExpressionTypeError(f"The JSON text has {name}, which JSON does not.")
