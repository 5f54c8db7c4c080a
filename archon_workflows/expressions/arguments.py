"""Matches the arguments of a filter or test with its parameters, when it is compiled."""

from collections.abc import Sequence
from typing import NoReturn, cast

from jinja2 import nodes

from archon_workflows.errors import did_you_mean
from archon_workflows.expressions.errors import UnparsableExpression
from archon_workflows.expressions.filters import Filter


def bind_filter(node: nodes.Filter, entry: Filter) -> dict[str, nodes.Expr]:
    """Return the arguments of a filter by name.

    Raises:
        UnparsableExpression: they do not match, or one that must be a written name is not.
    """
    by_name_only = entry.literal.intersection(entry.parameters[: len(node.args)])
    if by_name_only:
        (name,) = by_name_only
        _refuse(f"{node.name!r} takes {name!r} by name only: {name}='a.b'.", node)
    given = bind(node, entry.parameters, entry.required)
    for name in entry.literal & given.keys():
        _check_path(given[name], name)
    return given


def bind(node: nodes.Filter | nodes.Test, parameters: Sequence[str], required: int) -> dict[str, nodes.Expr]:
    """Return the arguments by name, matched as Python would; the first ``required`` ones must be there.

    Raises:
        UnparsableExpression: they do not match.
    """
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        _refuse("Arguments are written one by one, without `*`.", node)
    if len(node.args) > len(parameters):
        _refuse(f"{node.name!r} takes {len(parameters)} arguments, not {len(node.args)}.", node)
    given = dict(zip(parameters, node.args, strict=False))
    for pair in cast("list[nodes.Keyword]", node.kwargs):
        if pair.key not in parameters:
            hint = did_you_mean(pair.key, parameters, noun="argument")
            _refuse(f"{node.name!r} has no argument {pair.key!r}.", node, hint)
        if pair.key in given:
            _refuse(f"{node.name!r} is given {pair.key!r} twice.", node)
        given[pair.key] = pair.value
    absent = [name for name in parameters[:required] if name not in given]
    if absent:
        _refuse(f"{node.name!r} needs {' and '.join(map(repr, absent))}.", node)
    return given


def _check_path(argument: nodes.Expr, name: str) -> None:
    """Let only a written path of item names pass: what is computed could be anything."""
    value = argument.value if isinstance(argument, nodes.Const) else None
    if type(value) is not str or not all(value.split(".")):
        _refuse(f"`{name}` is the name of an item, written as a text: {name}='a.b'.", argument)
    if any(part.startswith("__") for part in value.split(".")):
        _refuse(f"`{name}` looks like Python's inside, which cannot be reached.", argument)


def _refuse(message: str, node: nodes.Node, suggestion: str | None = None) -> NoReturn:
    raise UnparsableExpression(message, suggestion=suggestion).at(node.lineno)
