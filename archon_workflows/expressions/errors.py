"""What can be wrong with an expression, as letters to whoever wrote it.

::

    ExpressionError                   archon_workflows.errors; a view of the scope may raise one of its own
    └── SourceError                   knows the text and the column it is about; never raised itself
        ├── UnparsableExpression      expression_invalid: outside the language; found when compiling
        ├── UnresolvedReference       unresolved_reference: names something that is not there
        ├── ExpressionTypeError       expression_type: a value does not fit its operator, filter or test
        └── ExpressionTooCostly       expression_too_costly: a bound of ``Limits`` would be exceeded

No letter shows a value of the scope, only its type and size: it may be a secret, and part of a secret would
pass every redaction.
"""

from typing import ClassVar, Self

from archon_workflows.errors import ExpressionError

_EXCERPT_LENGTH = 80


class SourceError(ExpressionError):
    """An error at a place of a text; ``details`` gains ``expression`` and ``column`` (from 1)."""

    offset: int | None = None

    def at(self, offset: int) -> Self:
        """Remember the place; the innermost place, which is told first, stays."""
        if self.offset is None:
            self.offset = offset
        return self

    def within(self, source: str) -> Self:
        """Say in the message which text is meant; told once, the first text stays."""
        if "expression" not in self.details:
            excerpt = shorten(source, self.offset or 0)
            column = "" if self.offset is None else f", column {self.offset + 1}"
            self.message = f"{self.message} (in `{excerpt}`{column})"
            self.args = (self.message,)
            self.details["expression"] = excerpt
            if self.offset is not None:
                self.details["column"] = self.offset + 1
        return self


class UnparsableExpression(SourceError):
    """The text is not an expression of the language, or asks for what the language does not have."""

    default_code: ClassVar[str] = "expression_invalid"


class UnresolvedReference(SourceError):
    """The expression names something that is not there; ``details["candidates"]`` lists what is."""

    default_code: ClassVar[str] = "unresolved_reference"


class ExpressionTypeError(SourceError):
    """A value does not fit the operator, filter, test or place where it stands."""

    default_code: ClassVar[str] = "expression_type"


class ExpressionTooCostly(SourceError):
    """The expression, its work or its result is larger than the bounds allow."""

    default_code: ClassVar[str] = "expression_too_costly"


class Missing(Exception):
    """A value is not there; becomes an ``UnresolvedReference`` unless someone expected it.

    It carries facts, not sentences, so that an expected absence costs nothing.

    Attributes:
        what: the reference, or the part of the expression, that has no value.
        why: half a sentence.
        holder: what was looked into; its keys are the candidates.
        key: the name that was looked for, where the author wrote it.
    """

    def __init__(
        self, what: str, why: str, *, holder: object = None, key: str | None = None, offset: int | None = None
    ) -> None:
        super().__init__(what, why)
        self.what = what
        self.why = why
        self.holder = holder
        self.key = key
        self.offset = offset

    def at(self, offset: int) -> Self:
        """Remember the place, unless a more exact one is known."""
        if self.offset is None:
            self.offset = offset
        return self


def shorten(source: str, offset: int = 0) -> str:
    """Return the part of the source around the offset that fits into a message."""
    if len(source) <= _EXCERPT_LENGTH:
        return source
    start = max(0, min(offset - _EXCERPT_LENGTH // 2, len(source) - _EXCERPT_LENGTH))
    end = start + _EXCERPT_LENGTH
    return ("…" if start else "") + source[start:end] + ("…" if end < len(source) else "")
