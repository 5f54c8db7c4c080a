"""How references and items are looked up: in objects and lists, nothing else.

No attribute of a Python object is ever read. ``list[-1]`` is the last item, as in Python; a text has no
items.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

from archon_workflows.errors import did_you_mean
from archon_workflows.expressions.errors import ExpressionTypeError, Missing, UnresolvedReference, shorten
from archon_workflows.expressions.references import Key, spell
from archon_workflows.expressions.values import Evaluation, is_list, is_object, is_plain_object, kind

Evaluate = Callable[[Evaluation], Any]
"""What a node of a tree is compiled to."""

Lookup = tuple[Key | None, Evaluate | None, int]
"""A key that is written, or what computes one; and the offset of the lookup."""

_MOST_CANDIDATES = 100
_LONGEST_CANDIDATE = 64


def item(value: Any, key: Key) -> Any:
    """Return the item of an object or list.

    Raises:
        KeyError: an object has none of that name, or the value is of a type that has none.
        IndexError: a list is shorter.
    """
    if is_object(value):
        return value[key] if type(key) is str else _no_item(key)
    if is_list(value) and type(key) is int:
        return value[key]
    return _no_item(key)


def _no_item(key: Key) -> Any:
    raise KeyError(key)


def missing_item(value: Any, key: Key, what: str, *, is_written: bool) -> Missing:
    """Return why the lookup failed; a computed name is not shown, since it may be a secret."""
    shown = shorten(repr(key)) if is_written or type(key) is int else "of the computed name"
    name = key if is_written and type(key) is str else None
    if is_object(value):
        why = f"the object has no item {shown}"
    elif is_list(value):
        why = f"the list has {len(value)} items and none {shown}"
    else:
        why = f"{kind(value)} has no items"
    return Missing(what, why, holder=value, key=name)


def computed_key(value: Any) -> Key:
    """Return a computed key.

    Raises:
        ExpressionTypeError: it is neither a text nor an integer.
    """
    if type(value) is str or type(value) is int:
        return value
    raise ExpressionTypeError(f"A key is a text or an integer, but this one is {kind(value)}.")


def static_reference(root: str, lookups: Sequence[tuple[Key, int]], offset: int) -> Evaluate:
    """Return the lookup of a reference whose keys are all written; the path that most expressions take."""
    keys = tuple(key for key, _ in lookups)

    def evaluate(evaluation: Evaluation) -> Any:
        done = -1
        value: Any = evaluation.scope
        try:
            value = value[root]
            done = 0
            for key in keys:
                value = value[key] if is_plain_object(value) and type(key) is str else item(value, key)
                done += 1
        except (KeyError, IndexError):
            if done < 0:
                raise Missing(
                    root, "there is no such name here", holder=value, key=root, offset=offset
                ) from None
            what = spell(root, keys[: done + 1])
            missing = missing_item(value, keys[done], what, is_written=True)
            raise missing.at(lookups[done][1]) from None
        return value

    return evaluate


def items_of(base: Evaluate, name: str | None, lookups: Sequence[Lookup]) -> Evaluate:
    """Return the lookup of items one after the other, some of whose keys may be computed.

    A base that is no name of the scope (``None``) was put together here, and so were the names in it, perhaps
    of secrets: they are no candidates.
    """

    def evaluate(evaluation: Evaluation) -> Any:
        value = base(evaluation)
        for index, (written, compute, offset) in enumerate(lookups):
            key = cast("Key", written) if compute is None else compute(evaluation)
            try:
                value = item(value, key)
            except (KeyError, IndexError):
                what = spell(name or "(...)", [one for one, _, _ in lookups[: index + 1]])
                missing = missing_item(value, key, what, is_written=compute is None)
                if name is None:
                    missing.holder = None
                raise missing.at(offset) from None
        return value

    return evaluate


def unresolved(missing: Missing) -> UnresolvedReference:
    """Return the letter about a value that nobody expected to be missing."""
    names, what = _names(missing.holder), shorten(missing.what)
    hint = did_you_mean(shorten(missing.key), names, noun="name") if missing.key is not None and names else ""
    error = UnresolvedReference(
        f"`{what}` does not resolve: {missing.why}.",
        suggestion=f"{hint} Use `| default(...)` if it may be missing.".strip(),
        details={"reference": what, "candidates": names},
    )
    return error if missing.offset is None else error.at(missing.offset)


def _names(holder: object) -> list[str]:
    names: list[str] = []
    if is_object(holder):
        for name in holder:
            if len(name) <= _LONGEST_CANDIDATE:
                names.append(name)
            if len(names) == _MOST_CANDIDATES:
                break
    return names
