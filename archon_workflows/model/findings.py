"""What validation says: one finding for each mistake, written for whoever is to mend it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

from archon_workflows.errors import nearest
from archon_workflows.model.json_values import pointer_token

_LONGEST_COMPARED = 128
_NAMES_COMPARED = 100
_NAMES_SHOWN = 12

Severity = Literal["error", "warning", "info"]
PatchOperation = dict[str, Any]
"""One operation of JSON Patch (RFC 6902)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One result of validation.

    Attributes:
        path: JSON pointer into the document as it was given; empty for the whole of it.
        rule: id of the rule in ``archon_workflows.model.review.RULES``.
        severity: nothing is stored while there is an ``error``.
        message: what is wrong, with the value.
        suggestion: what to do.
        nearest: the valid name that was probably meant.
        patch: JSON Patch that makes the finding go away, where there is an obvious one.
        candidates: what could have been meant, where several could.
    """

    path: str
    rule: str
    severity: Severity
    message: str
    suggestion: str | None = None
    nearest: str | None = None
    patch: tuple[PatchOperation, ...] | None = None
    candidates: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Return the finding as a JSON object without empty entries."""
        letter: dict[str, Any] = {
            "path": self.path,
            "rule": self.rule,
            "severity": self.severity,
            "message": self.message,
            "suggestion": self.suggestion,
            "nearest": self.nearest,
            "patch": list(self.patch) if self.patch else None,
            "candidates": list(self.candidates),
        }
        required = ("path", "rule", "severity", "message")
        return {key: value for key, value in letter.items() if value or key in required}


def has_errors(findings: Sequence[Finding]) -> bool:
    """Say whether any finding forbids to store the document."""
    return any(finding.severity == "error" for finding in findings)


def replacement(path: str, match: str | None) -> tuple[PatchOperation, ...] | None:
    """Return the patch that puts ``match`` at ``path``, if there is a match."""
    return ({"op": "replace", "path": path, "value": match},) if match is not None else None


def renaming(
    path: str, key: str, match: str | None, taken: Sequence[str]
) -> tuple[PatchOperation, ...] | None:
    """Return the patch that renames a key of the object at ``path``, unless the name is taken there."""
    if match is None or match in taken:
        return None
    from_pointer = path + pointer_token(key)
    return ({"op": "move", "from": from_pointer, "path": path + pointer_token(match)},)


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like ``name``: spelled alike, or alike but for case and separators.

    Among more than a hundred only those with the same first letter are compared, so that a document with
    thousands of mistakes does not cost minutes.
    """
    if len(name) > _LONGEST_COMPARED:
        return None
    spellings = _spellings(tuple(known))
    return spellings.by_letters.get(_letters(name)) or nearest(name, spellings.alike(name))


def hint(match: str | None, known: Iterable[str], *, noun: str) -> str:
    """Return the sentence that names the match, or the first few of what there is."""
    if match is not None:
        return f"Did you mean {match!r}?"
    shown = [repr(one) for one in islice(known, _NAMES_SHOWN + 1)]
    if not shown:
        return f"There is no {noun} to choose from."
    more = " and more" if len(shown) > _NAMES_SHOWN else ""
    return f"Known {noun}s: {', '.join(shown[:_NAMES_SHOWN])}{more}."


@dataclass(frozen=True, slots=True)
class _Spellings:
    known: tuple[str, ...]
    by_letters: dict[str, str]
    by_initial: dict[str, list[str]]

    def alike(self, name: str) -> Sequence[str]:
        if len(self.known) <= _NAMES_COMPARED:
            return self.known
        return self.by_initial.get(name[:1], [])[:_NAMES_COMPARED]


@lru_cache(maxsize=32)
def _spellings(known: tuple[str, ...]) -> _Spellings:
    by_initial: dict[str, list[str]] = {}
    for one in known:
        by_initial.setdefault(one[:1], []).append(one)
    return _Spellings(known, {_letters(one): one for one in known}, by_initial)


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
