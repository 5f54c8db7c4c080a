"""What an expression refers to, known without evaluating it, so that a review can check it."""

from collections.abc import Sequence
from dataclasses import dataclass

Key = str | int
"""A key that is written in the expression: the name of an object's item, or the index of a list's."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One name of the scope with the lookups that follow it.

    Attributes:
        root: the name in the scope.
        path: the keys that follow, as far as they are written out (``a.b[c].d`` has the path ``("b",)``).
        source: the reference as one would write it; ``[...]`` stands for a key that is computed.
        guarded: whether the expression says what to do when it is not there, with ``default(...)``,
            ``is defined`` or ``is undefined``.
    """

    root: str
    path: tuple[Key, ...]
    source: str
    guarded: bool


def spell(root: str, keys: Sequence[Key | None]) -> str:
    """Return the reference as one would write it; a key of ``None`` is computed."""
    return root + "".join(map(_spell_key, keys))


def _spell_key(key: Key | None) -> str:
    if key is None:
        return "[...]"
    if isinstance(key, str) and key.isidentifier():
        return f".{key}"
    return f"[{key!r}]"
