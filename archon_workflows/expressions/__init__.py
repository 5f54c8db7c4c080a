"""The ``{{ }}`` language: text in, JSON value or ``ExpressionError`` out. Knows nothing of workflows.

Jinja2 parses; the tree is checked against a closed list of nodes, compiled to closures and evaluated with
bounded work. Nothing here reads a clock, a file, chance or an attribute of a Python object.

Rooms, in the order in which a text passes them: ``tokens`` and ``literals`` (find and bound the
expressions), ``parser`` (the tree), ``compiler`` and ``arguments`` (the closed list), ``lookups``,
``operators``, ``filters``, ``json_text`` and ``predicates`` (what an evaluation does), ``compiled`` (the
doors); and ``values`` (JSON types and the work spent on them), ``limits``, ``references``, ``errors``.
"""

from archon_workflows.expressions.compiled import (
    CompiledValue,
    Condition,
    compile_condition,
    compile_value,
    find_expression_errors,
)
from archon_workflows.expressions.errors import (
    ExpressionTooCostly,
    ExpressionTypeError,
    UnparsableExpression,
    UnresolvedReference,
)
from archon_workflows.expressions.limits import DEFAULT_LIMITS, Limits
from archon_workflows.expressions.references import Reference
from archon_workflows.expressions.values import JsonValue, Scope

__all__ = [
    "DEFAULT_LIMITS",
    "CompiledValue",
    "Condition",
    "ExpressionTooCostly",
    "ExpressionTypeError",
    "JsonValue",
    "Limits",
    "Reference",
    "Scope",
    "UnparsableExpression",
    "UnresolvedReference",
    "compile_condition",
    "compile_value",
    "find_expression_errors",
]
