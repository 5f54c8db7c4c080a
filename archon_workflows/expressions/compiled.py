"""The doors of this floor: values and conditions of a document, compiled once and evaluated often.

Only strings of the document are ever parsed, and only here; what an evaluation reads from the scope stays
data, whatever it looks like.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from jinja2 import nodes

from archon_workflows.errors import ExpressionError
from archon_workflows.expressions.compiler import Compiler
from archon_workflows.expressions.errors import (
    ExpressionTooCostly,
    ExpressionTypeError,
    Missing,
    SourceError,
    UnparsableExpression,
)
from archon_workflows.expressions.limits import DEFAULT_LIMITS, Limits
from archon_workflows.expressions.lookups import Evaluate, unresolved
from archon_workflows.expressions.operators import join_texts
from archon_workflows.expressions.parser import parse
from archon_workflows.expressions.references import Reference
from archon_workflows.expressions.tokens import (
    ExpressionTokens,
    Part,
    check_text,
    is_literal,
    split_condition,
    split_text,
)
from archon_workflows.expressions.values import Evaluation, JsonValue, Scope, kind, measure, plain

_NO_SCOPE: Scope = {}


@dataclass(frozen=True, slots=True, eq=False)
class CompiledValue:
    """A JSON value whose strings were template texts. Immutable; may be shared by threads."""

    references: tuple[Reference, ...]
    limits: Limits
    _value: JsonValue
    _evaluate: Evaluate | None

    @property
    def is_constant(self) -> bool:
        """Whether the value is the same in every scope."""
        return self._evaluate is None

    def evaluate(self, scope: Scope) -> JsonValue:
        """Return the value with every expression replaced by what it yields in the scope.

        What the scope holds is passed on, not copied, so treat the result as immutable.

        Raises:
            ExpressionError: an expression has no value; ``path`` points to its string in the document.
        """
        if self._evaluate is None:
            return self._value
        return self._evaluate(Evaluation(scope, self.limits))


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """An expression that yields a boolean. Immutable; may be shared by threads."""

    references: tuple[Reference, ...]
    source: str
    limits: Limits
    _evaluate: Evaluate

    def evaluate(self, scope: Scope) -> bool:
        """Return what the condition yields in the scope.

        Raises:
            ExpressionError: it has no value, or one that is not a boolean; it is never taken as true.
        """
        return self._evaluate(Evaluation(scope, self.limits))


def compile_value(
    value: JsonValue, *, roots: Collection[str] | None = None, limits: Limits = DEFAULT_LIMITS
) -> CompiledValue:
    """Compile a JSON value, each string of which is a template text; keys of objects are not.

    A string that is exactly one ``{{ }}`` yields the value itself, of its own type. In any other the parts
    are joined: texts as they are, everything else as compact JSON. ``{% raw %}`` keeps text from being
    parsed. An expression without references is evaluated here and now.

    Args:
        value: the JSON value.
        roots: the names that scopes will have; a reference to any other is refused.
        limits: the bounds.

    Raises:
        ExpressionError: the first string that is wrong; ``path`` is its JSON pointer.
    """
    document = _Document(roots, limits)
    compiled = document.compile(value)
    if document.errors:
        raise document.errors[0]
    return compiled


def find_expression_errors(
    value: JsonValue, *, roots: Collection[str] | None = None, limits: Limits = DEFAULT_LIMITS
) -> list[ExpressionError]:
    """Return what ``compile_value`` would refuse: one error for each string that is wrong, in order."""
    document = _Document(roots, limits)
    document.compile(value)
    return document.errors


def compile_condition(
    source: str | bool,  # noqa: FBT001 - a document may say true or false instead of an expression
    *,
    roots: Collection[str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Condition:
    """Compile a condition: one expression in which ``{{ }}`` may stand around any operand.

    ``{{ }}`` is a pair of brackets here: its operand is a value in the tree, never text in the source.
    Inside quotes it is refused. ``{{ a == b }}`` as a whole is fine too.

    Args:
        source: the expression, or a boolean that is the condition's value.
        roots: the names that scopes will have; a reference to any other is refused.
        limits: the bounds.

    Raises:
        ExpressionError: it is blank or does not parse, or has no references and does not yield a boolean.
    """
    if isinstance(source, bool):
        return Condition((), str(source).lower(), limits, lambda _evaluation: source)
    compiler = Compiler(roots)
    try:
        check_text(source, limits)
        if not source.strip():
            raise UnparsableExpression("The condition is blank.")
        evaluate = _yielding_boolean(compiler.compile(parse(split_condition(source, limits))))
    except SourceError as error:
        error.within(source)
        raise
    evaluate = _with_source(evaluate, source, None)
    if not compiler.references:
        evaluate(Evaluation(_NO_SCOPE, limits))
    return Condition(tuple(dict.fromkeys(compiler.references)), source, limits, evaluate)


def _yielding_boolean(evaluate: Evaluate) -> Evaluate:
    def boolean(evaluation: Evaluation) -> bool:
        value = evaluate(evaluation)
        if value is True or value is False:
            return value
        raise ExpressionTypeError(
            f"A condition yields true or false, but this one yields {kind(value)}.",
            suggestion="Compare the value, as in `{{x}} == 'ready'`.",
        )

    return boolean


def _with_source(evaluate: Evaluate, source: str, path: str | None) -> Evaluate:
    """Let every error leave with the text, the column and the pointer that it is about."""

    def told(evaluation: Evaluation) -> Any:
        try:
            return evaluate(evaluation)
        except Missing as missing:
            raise _told(unresolved(missing), source, path) from None
        except ExpressionError as error:
            _told(error, source, path)
            raise

    return told


def _told(error: ExpressionError, source: str, path: str | None) -> ExpressionError:
    if isinstance(error, SourceError):
        error.within(source)
    if error.path is None:
        error.path = path
    return error


_Compiled = tuple[JsonValue, Evaluate | None]
"""A value that is the same in every scope and ``None``, or anything and what evaluates it."""


class _Document:
    """Compiles one JSON value; gathers references, and errors instead of raising them."""

    def __init__(self, roots: Collection[str] | None, limits: Limits) -> None:
        self.errors: list[ExpressionError] = []
        self._roots = roots
        self._limits = limits
        self._references: list[Reference] = []
        self._evaluated_strings = 0

    def compile(self, value: JsonValue) -> CompiledValue:
        constant, evaluate = self._value(value, "", 0)
        if evaluate is not None and self._evaluated_strings > 1:
            evaluate = _measured(evaluate)
        return CompiledValue(tuple(dict.fromkeys(self._references)), self._limits, constant, evaluate)

    def _value(self, value: JsonValue, path: str, depth: int) -> _Compiled:
        if depth > self._limits.value_depth:
            message = f"The value is nested more than {self._limits.value_depth} levels deep."
            self.errors.append(ExpressionTooCostly(message, path=path))
        elif isinstance(value, str):
            return self._string(value, path)
        elif isinstance(value, dict):
            return self._object(cast("dict[str, JsonValue]", value), path, depth)
        elif isinstance(value, (list, tuple)):
            return self._list(cast("Sequence[JsonValue]", value), path, depth)
        return value, None

    def _object(self, value: dict[str, JsonValue], path: str, depth: int) -> _Compiled:
        members = {
            key: self._value(one, f"{path}/{_pointer_part(key)}", depth + 1) for key, one in value.items()
        }
        constants = {key: constant for key, (constant, _) in members.items()}
        evaluated = [(key, evaluate) for key, (_, evaluate) in members.items() if evaluate is not None]
        if not evaluated:
            return constants, None

        def evaluate_object(evaluation: Evaluation) -> JsonValue:
            result = constants.copy()
            for key, evaluate in evaluated:
                result[key] = evaluate(evaluation)
            return result

        return None, evaluate_object

    def _list(self, value: Sequence[JsonValue], path: str, depth: int) -> _Compiled:
        members = [self._value(one, f"{path}/{index}", depth + 1) for index, one in enumerate(value)]
        constants = [constant for constant, _ in members]
        evaluated = [(index, evaluate) for index, (_, evaluate) in enumerate(members) if evaluate is not None]
        if not evaluated:
            return constants, None

        def evaluate_list(evaluation: Evaluation) -> JsonValue:
            result = constants.copy()
            for index, evaluate in evaluated:
                result[index] = evaluate(evaluation)
            return result

        return None, evaluate_list

    def _string(self, text: str, path: str) -> _Compiled:
        try:
            return self._text(text, path)
        except ExpressionError as error:
            self.errors.append(_told(error, text, path))
            return None, None

    def _text(self, text: str, path: str) -> _Compiled:
        check_text(text, self._limits)
        if is_literal(text):
            return text, None
        compiler = Compiler(self._roots)
        evaluate = _with_source(_text_of(split_text(text, self._limits), compiler), text, path)
        self._references.extend(compiler.references)
        if not compiler.references:
            return evaluate(Evaluation(_NO_SCOPE, self._limits)), None
        self._evaluated_strings += 1
        return None, evaluate


def _text_of(parts: Sequence[Part], compiler: Compiler) -> Evaluate:
    if len(parts) == 1 and isinstance(parts[0], ExpressionTokens):
        return _value_of(parts[0], compiler)
    compiled = [_literal(part) if isinstance(part, str) else compiler.compile(parse(part)) for part in parts]
    return lambda evaluation: join_texts(evaluation, [part(evaluation) for part in compiled])


def _value_of(expression: ExpressionTokens, compiler: Compiler) -> Evaluate:
    tree = parse(expression)
    evaluate = compiler.compile(tree)
    if isinstance(tree, _PUTTING_TOGETHER) or any(tree.find(one) for one in _PUTTING_TOGETHER):
        return _measured(evaluate)
    return lambda evaluation: plain(evaluation, evaluate(evaluation))


_PUTTING_TOGETHER = (nodes.List, nodes.Tuple, nodes.Dict, nodes.Add)
"""The only nodes that make a value with more nodes than the largest value they read."""


def _literal(text: str) -> Evaluate:
    return lambda _evaluation: text


def _measured(evaluate: Evaluate) -> Evaluate:
    """Bound the size of a result: ``[big, big, ...]`` costs nothing to make, but a lot to write down."""

    def measured(evaluation: Evaluation) -> JsonValue:
        value = plain(evaluation, evaluate(evaluation))
        measure(evaluation, value)
        return value

    return measured


def _pointer_part(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
