"""From a tree to a closure: checks each node against a closed list and builds what evaluates it.

The tree is walked once; evaluating it afterwards is calling nested closures, which touch nothing but the
scope and the functions of ``operators``, ``filters`` and ``predicates``. What is not in the closed list
(calls, ``**``, unknown filters, ...) is refused here, before anything runs.

``and``, ``or``, ``not`` and the condition of an inline ``if`` take booleans only: ``'false'`` is never true.
"""

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, cast

from jinja2 import nodes

from archon_workflows.errors import did_you_mean
from archon_workflows.expressions import operators
from archon_workflows.expressions.arguments import bind, bind_filter
from archon_workflows.expressions.errors import (
    ExpressionTypeError,
    Missing,
    SourceError,
    UnparsableExpression,
    UnresolvedReference,
)
from archon_workflows.expressions.filters import DEFAULT_FILTERS, FILTERS
from archon_workflows.expressions.lookups import Evaluate, Lookup, computed_key, items_of, static_reference
from archon_workflows.expressions.predicates import DEFINITION_PREDICATES, PREDICATES
from archon_workflows.expressions.references import Key, Reference, spell
from archon_workflows.expressions.values import Evaluation, kind, plain

_OPERATORS: dict[type[nodes.BinExpr], operators.Operator] = {
    nodes.Add: operators.add,
    nodes.Sub: operators.subtract,
    nodes.Mul: operators.multiply,
    nodes.Div: operators.divide,
    nodes.FloorDiv: operators.floor_divide,
    nodes.Mod: operators.remainder,
}
_SIGNS: dict[type[nodes.UnaryExpr], Callable[[Evaluation, Any], Any]] = {
    nodes.Neg: operators.negative,
    nodes.Pos: operators.positive,
}
_KEYWORDS = frozenset({"and", "or", "not", "in", "is", "if", "else"})


class Compiler:
    """Compiles the expressions of one text and collects their references.

    Args:
        roots: the names that a scope will have; ``None`` when they are not known.
    """

    def __init__(self, roots: Collection[str] | None) -> None:
        self.references: list[Reference] = []
        self._roots = roots
        self._guards = 0
        self._builders: dict[type[nodes.Node], Callable[[Any], Evaluate]] = {
            nodes.Const: self._constant,
            nodes.Name: self._lookup,
            nodes.Getattr: self._lookup,
            nodes.Getitem: self._item,
            nodes.List: self._list,
            nodes.Tuple: self._list,
            nodes.Dict: self._object,
            nodes.Compare: self._comparison,
            nodes.And: self._and,
            nodes.Or: self._or,
            nodes.Not: self._not,
            nodes.Concat: self._concatenation,
            nodes.CondExpr: self._inline_if,
            nodes.Filter: self._filter,
            nodes.Test: self._test,
            nodes.Call: self._call,
        }
        self._builders.update(dict.fromkeys(_OPERATORS, self._operation))
        self._builders.update(dict.fromkeys(_SIGNS, self._sign))

    def compile(self, node: nodes.Node) -> Evaluate:
        """Return what evaluates the node.

        Raises:
            SourceError: something in it is not part of the language, or not one of the roots.
        """
        builder = self._builders.get(type(node))
        if builder is None:
            self._refuse(
                _REFUSED.get(type(node), f"{type(node).__name__} is not part of the language."), node
            )
        return builder(node)

    def _refuse(self, message: str, node: nodes.Node, suggestion: str | None = None) -> NoReturn:
        raise UnparsableExpression(message, suggestion=suggestion).at(node.lineno)

    def _call(self, node: nodes.Call) -> NoReturn:
        suggestion = "Write filters with a bar: `value | upper`."
        if isinstance(node.node, nodes.Getattr) and node.node.attr in FILTERS:
            suggestion = f"Did you mean the filter `| {node.node.attr}`?"
        self._refuse("Nothing can be called in an expression.", node, suggestion)

    def _constant(self, node: nodes.Const) -> Evaluate:
        value = node.value
        return lambda _evaluation: value

    def _list(self, node: nodes.List | nodes.Tuple) -> Evaluate:
        parts = [self.compile(one) for one in node.items]

        def evaluate(evaluation: Evaluation) -> Any:
            evaluation.spend(len(parts))
            return [plain(evaluation, part(evaluation)) for part in parts]

        return evaluate

    def _object(self, node: nodes.Dict) -> Evaluate:
        pairs = [(self.compile(pair.key), self.compile(pair.value)) for pair in node.items]

        def evaluate(evaluation: Evaluation) -> Any:
            evaluation.spend(len(pairs))
            return {
                _member_key(key(evaluation)): plain(evaluation, value(evaluation)) for key, value in pairs
            }

        return _placed(evaluate, node)

    def _item(self, node: nodes.Getitem) -> Evaluate:
        return self._slice(node) if isinstance(node.arg, nodes.Slice) else self._lookup(node)

    def _lookup(self, node: nodes.Name | nodes.Getattr | nodes.Getitem) -> Evaluate:
        lookups: list[Lookup] = []
        base: nodes.Node = node
        while isinstance(base, (nodes.Getattr, nodes.Getitem)) and not _is_slice(base):
            lookups.append(self._key(base))
            base = base.node
        lookups.reverse()
        if not isinstance(base, nodes.Name):
            return items_of(self.compile(base), None, lookups)
        self._refer(base, lookups)
        if all(compute is None for _, compute, _ in lookups):
            return static_reference(
                base.name, [(cast("Key", key), at) for key, _, at in lookups], base.lineno
            )
        return items_of(static_reference(base.name, [], base.lineno), base.name, lookups)

    def _key(self, node: nodes.Getattr | nodes.Getitem) -> Lookup:
        if isinstance(node, nodes.Getattr):
            if node.attr.startswith("__"):
                self._refuse(
                    f"`.{node.attr}` looks like Python's inside, which cannot be reached.",
                    node,
                    f"Write ['{node.attr}'] if data has an item of that name.",
                )
            return node.attr, None, node.lineno
        if isinstance(node.arg, nodes.Const):
            value = node.arg.value
            if type(value) is not str and type(value) is not int:
                self._refuse(f"A key is a text or an integer, but this one is {kind(value)}.", node)
            return value, None, node.lineno
        if isinstance(node.arg, nodes.Neg) and isinstance(node.arg.node, nodes.Const):
            value = node.arg.node.value
            if type(value) is int:
                return -value, None, node.lineno
        if isinstance(node.arg, nodes.Tuple):
            self._refuse("One lookup has one key.", node, "Write a[b][c].")
        compute = self.compile(node.arg)
        return None, _placed(lambda evaluation: computed_key(compute(evaluation)), node), node.lineno

    def _refer(self, name: nodes.Name, lookups: Sequence[Lookup]) -> None:
        root, keys = name.name, [key for key, _, _ in lookups]
        if root in _KEYWORDS:
            self._refuse(
                f"`{root}` stands where a value is expected.", name, "Put brackets around its operand."
            )
        if self._roots is not None and root not in self._roots:
            raise UnresolvedReference(
                f"There is no {root!r} in the scope.",
                suggestion=did_you_mean(root, sorted(self._roots), noun="name"),
                details={"reference": root, "candidates": sorted(self._roots)},
            ).at(name.lineno)
        written = keys[: keys.index(None)] if None in keys else keys
        path = tuple(cast("list[Key]", written))
        self.references.append(Reference(root, path, spell(root, keys), guarded=self._guards > 0))

    def _slice(self, node: nodes.Getitem) -> Evaluate:
        bounds = cast("nodes.Slice", node.arg)
        value = self.compile(node.node)
        start, stop, step = (
            _nothing if bound is None else self.compile(bound)
            for bound in (bounds.start, bounds.stop, bounds.step)
        )
        return _placed(
            lambda evaluation: operators.piece(
                evaluation, value(evaluation), start(evaluation), stop(evaluation), step(evaluation)
            ),
            node,
        )

    def _operation(self, node: nodes.BinExpr) -> Evaluate:
        apply = _OPERATORS[type(node)]
        left, right = self.compile(node.left), self.compile(node.right)
        return _placed(lambda evaluation: apply(evaluation, left(evaluation), right(evaluation)), node)

    def _sign(self, node: nodes.UnaryExpr) -> Evaluate:
        apply = _SIGNS[type(node)]
        operand = self.compile(node.node)
        return _placed(lambda evaluation: apply(evaluation, operand(evaluation)), node)

    def _concatenation(self, node: nodes.Concat) -> Evaluate:
        parts = [self.compile(one) for one in node.nodes]
        return _placed(
            lambda evaluation: operators.join_texts(evaluation, [part(evaluation) for part in parts]), node
        )

    def _comparison(self, node: nodes.Compare) -> Evaluate:
        first = self.compile(node.expr)
        rest = [(operators.COMPARISONS[one.op], self.compile(one.expr)) for one in node.ops]
        if len(rest) == 1:
            (compare, other), *_ = rest
            return _placed(
                lambda evaluation: compare(evaluation, first(evaluation), other(evaluation)), node.expr
            )

        def evaluate(evaluation: Evaluation) -> bool:
            left = first(evaluation)
            for compare, operand in rest:
                right = operand(evaluation)
                if not compare(evaluation, left, right):
                    return False
                left = right
            return True

        return _placed(evaluate, node.expr)

    def _and(self, node: nodes.And) -> Evaluate:
        left, right = self._boolean(node.left, "`and`"), self._boolean(node.right, "`and`")
        return lambda evaluation: left(evaluation) and right(evaluation)

    def _or(self, node: nodes.Or) -> Evaluate:
        left, right = self._boolean(node.left, "`or`"), self._boolean(node.right, "`or`")
        return lambda evaluation: left(evaluation) or right(evaluation)

    def _not(self, node: nodes.Not) -> Evaluate:
        operand = self._boolean(node.node, "`not`")
        return lambda evaluation: not operand(evaluation)

    def _boolean(self, node: nodes.Expr, where: str) -> Evaluate:
        operand = self.compile(node)
        return _placed(lambda evaluation: operators.is_true(operand(evaluation), where), node)

    def _inline_if(self, node: nodes.CondExpr) -> Evaluate:
        condition = self._boolean(node.test, "`if`")
        value = self.compile(node.expr1)
        other = _without_else(node.lineno) if node.expr2 is None else self.compile(node.expr2)
        return lambda evaluation: value(evaluation) if condition(evaluation) else other(evaluation)

    def _filter(self, node: nodes.Filter) -> Evaluate:
        if node.name in DEFAULT_FILTERS:
            return self._default(node)
        entry = FILTERS.get(node.name)
        if entry is None:
            known = sorted(FILTERS.keys() | DEFAULT_FILTERS)
            self._refuse(
                f"There is no filter {node.name!r}.", node, did_you_mean(node.name, known, noun="filter")
            )
        value = self.compile(cast("nodes.Expr", node.node))
        arguments = {name: self.compile(one) for name, one in bind_filter(node, entry).items()}
        apply = entry.apply
        if not arguments:
            return _placed(lambda evaluation: apply(evaluation, value(evaluation)), node)
        return _placed(
            lambda evaluation: apply(
                evaluation,
                value(evaluation),
                **{name: given(evaluation) for name, given in arguments.items()},
            ),
            node,
        )

    def _default(self, node: nodes.Filter) -> Evaluate:
        given = bind(node, ("default_value", "boolean"), 1)
        with self._guarded():
            operand = self.compile(cast("nodes.Expr", node.node))
        other = self.compile(given["default_value"])
        replaces_empty = self._boolean(given["boolean"], "`boolean`") if "boolean" in given else _false

        def evaluate(evaluation: Evaluation) -> Any:
            try:
                value = operand(evaluation)
            except Missing:
                return other(evaluation)
            return other(evaluation) if replaces_empty(evaluation) and not value else value

        return evaluate

    @contextmanager
    def _guarded(self) -> Generator[None]:
        self._guards += 1
        try:
            yield
        finally:
            self._guards -= 1

    def _test(self, node: nodes.Test) -> Evaluate:
        if node.name in DEFINITION_PREDICATES:
            return self._definition(node)
        predicate = PREDICATES.get(node.name)
        if predicate is None:
            known = sorted(PREDICATES.keys() | DEFINITION_PREDICATES)
            self._refuse(
                f"There is no test {node.name!r}.", node, did_you_mean(node.name, known, noun="test")
            )
        value, check = self.compile(node.node), predicate.check
        parameters = ("other",)[: predicate.arguments]
        given = bind(node, parameters, predicate.arguments)
        if not given:
            return _placed(lambda evaluation: check(evaluation, value(evaluation)), node)
        other = self.compile(given["other"])
        return _placed(lambda evaluation: check(evaluation, value(evaluation), other(evaluation)), node)

    def _definition(self, node: nodes.Test) -> Evaluate:
        bind(node, (), 0)
        with self._guarded():
            operand = self.compile(node.node)
        if_there = node.name == "defined"

        def evaluate(evaluation: Evaluation) -> bool:
            try:
                operand(evaluation)
            except Missing:
                return not if_there
            return if_there

        return evaluate


_REFUSED: dict[type[nodes.Node], str] = {
    nodes.Pow: "`**` is not part of the language, since its results have no bound.",
    nodes.Slice: "A slice stands in brackets behind a list or a text.",
}


def _placed(evaluate: Evaluate, node: nodes.Node) -> Evaluate:
    """Let what goes wrong know where it did."""
    offset = node.lineno

    def placed(evaluation: Evaluation) -> Any:
        try:
            return evaluate(evaluation)
        except (SourceError, Missing) as error:
            error.at(offset)
            raise

    return placed


def _is_slice(node: nodes.Getattr | nodes.Getitem) -> bool:
    return isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)


def _nothing(_evaluation: Evaluation) -> None:
    """Evaluate the bound of a slice that is not given."""


def _false(_evaluation: Evaluation) -> bool:
    return False


def _without_else(offset: int) -> Evaluate:
    def evaluate(_evaluation: Evaluation) -> NoReturn:
        raise Missing("... if ...", "its condition is false and it has no `else`", offset=offset)

    return evaluate


def _member_key(value: Any) -> str:
    if type(value) is str:
        return value
    raise ExpressionTypeError(f"The keys of an object are texts, but this one is {kind(value)}.")
