"""From text to tokens: finds the expressions in a text and bounds them before any recursive parser.

The tokens are Jinja2's own, made with the patterns of its lexer, with these differences: they know their
place (``lineno`` of a token is its offset in the text), literal text keeps its line ends, ``&&``, ``||``,
``!`` and ``null`` are words for ``and``, ``or``, ``not`` and ``none``, number literals are bounded before
they are converted, and ``{{ }}`` is a pair of brackets. Knows nothing of trees and values.

Decisions that the syntax leaves open:

- ``{% raw %}`` is the only statement, and there are no comments: ``{#`` is refused, because dropping text
  silently would be worse. What shall stand literally goes between ``{% raw %}`` and ``{% endraw %}``.
- ``{{-`` and ``-}}`` (white space control) are refused: ``{{-1}}`` would not mean minus one.
- In a condition, ``{{ }}`` inside quotes is refused: ``'{{x}}' == 'a'`` would compare the braces.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from jinja2.lexer import Token, float_re, integer_re, operators, string_re

from archon_workflows.expressions.errors import ExpressionTooCostly, UnparsableExpression
from archon_workflows.expressions.limits import Limits
from archon_workflows.expressions.literals import read_number, read_text
from archon_workflows.expressions.values import unstorable

_MARK = re.compile(r"\{[{%#]")
_RAW = re.compile(r"\{%\s*raw\s*%\}(.*?)\{%\s*endraw\s*%\}", re.DOTALL)
_SYMBOL = "|".join(re.escape(symbol) for symbol in sorted(operators, key=len, reverse=True))
_TOKEN = re.compile(
    rf"(?P<space>\s+)"
    # Jinja2's patterns take quadratic time on long numbers with underscores, so those do not reach them.
    rf"|(?P<endless>\d(?:\w{{0,80}}\.\d)?\w{{80}})"
    rf"|(?P<float>(?ix:{float_re.pattern}))"
    rf"|(?P<integer>(?ix:{integer_re.pattern}))"
    rf"|(?P<name>[^\W\d]\w*)"
    rf"|(?P<string>(?s:{string_re.pattern}))"
    rf"|(?P<word>&&|\|\||!(?!=))"
    rf"|(?P<operator>{_SYMBOL})"
)
_WORDS = {"&&": "and", "||": "or", "!": "not", "null": "none"}
_LINKING_WORDS = frozenset({"and", "or", "not", "in", "is", "if", "else"})
_LINKS = frozenset(operators.values()) - {
    "lparen",
    "lbrace",
    "rparen",
    "rbracket",
    "rbrace",
    "comma",
    "colon",
}
_BINARY = _LINKS - {"dot", "lbracket", "pipe"}
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_OPERAND_ENDS = frozenset({"rparen", "rbracket", "rbrace", "string", "integer", "float"})


@dataclass(frozen=True, slots=True)
class ExpressionTokens:
    """The tokens of one expression, and where it starts in the text."""

    tokens: tuple[Token, ...]
    offset: int


Part = str | ExpressionTokens
"""Literal text, or the expression that stands between two pieces of it."""


def check_text(text: str, limits: Limits) -> None:
    """Refuse what no string of a document may be.

    Raises:
        ExpressionTooCostly: it is too long.
        UnparsableExpression: it has a NUL or a lone surrogate.
    """
    if len(text) > limits.source_length:
        raise ExpressionTooCostly(
            f"A text of a template may have {limits.source_length} characters; this one has {len(text)}."
        )
    fault = unstorable(text)
    if fault is not None:
        raise UnparsableExpression(f"The text has {fault}, which JSON in a database cannot hold.")


def is_literal(text: str) -> bool:
    """Whether the text has no ``{{``, ``{%`` or ``{#`` at all."""
    return _MARK.search(text) is None


def split_text(text: str, limits: Limits) -> tuple[Part, ...]:
    """Split a template text into literal text and expressions.

    Raises:
        SourceError: an expression is not closed, too large, or has characters of no token; or there is a
            statement or a comment.
    """
    return tuple(_parts(text, limits))


def split_condition(text: str, limits: Limits) -> ExpressionTokens:
    """Return the tokens of a condition, with ``{{ }}`` around an operand as a pair of brackets.

    Raises:
        SourceError: as for ``split_text``, or ``{{ }}`` stands where no operand can.
    """
    scanner = _Scanner(text, limits, limits.tokens, is_condition=True)
    scanner.scan(0)
    return ExpressionTokens(tuple(scanner.tokens), 0)


def _parts(text: str, limits: Limits) -> Iterator[Part]:
    position, tokens_left = 0, limits.tokens
    while (mark := _MARK.search(text, position)) is not None:
        if mark.start() > position:
            yield text[position : mark.start()]
        if mark.group() == "{{":
            scanner = _Scanner(text, limits, tokens_left, is_condition=False)
            position = scanner.scan(mark.start())
            tokens_left -= len(scanner.tokens)
            yield ExpressionTokens(tuple(scanner.tokens), mark.start())
        else:
            raw = _raw(text, mark.start())
            position = raw.end()
            yield raw.group(1)
    if position < len(text):
        yield text[position:]


def _raw(text: str, position: int) -> re.Match[str]:
    raw = _RAW.match(text, position)
    if raw is not None:
        return raw
    noun = "Comments" if text.startswith("{#", position) else "Statements"
    raise UnparsableExpression(
        f"{noun} are not part of the language.",
        suggestion="Write an expression in {{ }}, or put literal text between {% raw %} and {% endraw %}.",
    ).at(position)


@dataclass(slots=True)
class _Level:
    """How deep a tree the tokens between two brackets make: counted by element, since commas start anew."""

    opener: str
    links: int = 0
    inner: int = 0
    deepest: int = 0

    @property
    def depth(self) -> int:
        return max(self.deepest, self.links + self.inner)

    def start_element(self) -> None:
        self.deepest, self.links, self.inner = self.depth, 0, 0


@dataclass(slots=True)
class _Scanner:
    """Reads one expression; ``tokens`` holds what it found."""

    text: str
    limits: Limits
    tokens_left: int
    is_condition: bool
    tokens: list[Token] = field(default_factory=list[Token])
    _levels: list[_Level] = field(default_factory=lambda: [_Level("")])

    def scan(self, position: int) -> int:
        """Read to the end of the condition, or to the ``}}`` that closes the first ``{{``; return where."""
        while position < len(self.text):
            position = self._step(position)
            if not self.is_condition and len(self._levels) == 1:
                return position
        if len(self._levels) > 1:
            self._refuse(f"`{self._levels[-1].opener}` is not closed.", len(self.text))
        return position

    def _step(self, position: int) -> int:
        if self.text.startswith("{{", position):
            return self._open_insertion(position)
        if self._levels[-1].opener == "{{" and self.text.startswith("}}", position):
            return self._close_insertion(position)
        match = _TOKEN.match(self.text, position)
        if match is None:
            self._refuse_character(position)
        self._take(match)
        return match.end()

    @property
    def _inserting(self) -> bool:
        return any(level.opener == "{{" for level in self._levels)

    def _take(self, match: re.Match[str]) -> None:
        group, text, offset = match.lastgroup, match.group(), match.start()
        if group == "name":
            self._take_name(text, offset)
        elif group == "operator":
            self._take_operator(text, offset)
        elif group == "string":
            self._add("string", self._unquote(text, offset), offset)
        elif group == "word":
            self._take_name(_WORDS[text], offset)
        elif group == "endless":
            self._refuse("The number is too long.", offset)
        elif group == "integer":
            self._add(group, self._number(text, offset, is_integer=True), offset)
        elif group == "float":
            self._add(group, self._number(text, offset, is_integer=False), offset)

    def _add(self, kind: str, value: object, offset: int) -> None:
        if len(self.tokens) >= self.tokens_left:
            raise ExpressionTooCostly(
                f"The expressions of one text may have {self.limits.tokens} tokens; this has more."
            ).at(offset)
        # Jinja2 declares ``value`` as text, but its own lexer puts numbers there too.
        self.tokens.append(Token(offset, kind, value))  # pyright: ignore[reportArgumentType]

    def _take_name(self, name: str, offset: int) -> None:
        is_key = bool(self.tokens) and self.tokens[-1].type == "dot"
        if not is_key and name in _LINKING_WORDS:
            self._link(offset)
        if name == "not" and self.tokens and self.tokens[-1].type in _BINARY:
            self._refuse("`not` needs brackets here.", offset, "Write `a == (not b)`.")
        self._add("name", name if is_key else _WORDS.get(name, name), offset)

    def _take_operator(self, symbol: str, offset: int) -> None:
        kind = operators[symbol]
        if kind in _LINKS:
            self._link(offset)
        if symbol in _CLOSING:
            self._open(symbol, offset)
        elif symbol in ")]}":
            self._close(symbol, offset)
        elif symbol in ",:":
            if self._levels[-1].opener == "{{":
                self._refuse("`{{ }}` holds one expression.", offset)
            self._levels[-1].start_element()
        self._add(kind, symbol, offset)

    def _link(self, offset: int) -> None:
        self._levels[-1].links += 1
        self._check_depth(offset)

    def _check_depth(self, offset: int) -> None:
        if self._levels[-1].depth > self.limits.chain:
            raise ExpressionTooCostly(
                f"More than {self.limits.chain} parts of the expression depend on each other.",
                suggestion="Split it over several steps, or look at one long list with `in`.",
            ).at(offset)

    def _open(self, opener: str, offset: int) -> None:
        if len(self._levels) > self.limits.nesting:
            raise ExpressionTooCostly(
                f"More than {self.limits.nesting} brackets are open at the same time."
            ).at(offset)
        self._levels.append(_Level(opener))

    def _close(self, symbol: str, offset: int) -> None:
        level = self._levels[-1]
        if _CLOSING.get(level.opener) != symbol:
            expected = f"before `{level.opener}` is closed" if level.opener else "but nothing is open"
            self._refuse(f"`{symbol}` stands {expected}.", offset)
        self._leave(offset)

    def _leave(self, offset: int) -> None:
        level = self._levels.pop()
        outer = self._levels[-1]
        outer.inner = max(outer.inner, 1 + level.depth)
        self._check_depth(offset)

    def _open_insertion(self, position: int) -> int:
        if self._inserting:
            self._refuse("`{{` stands inside `{{ }}`.", position, "Inside `{{ }}` write the names alone.")
        if self.text[position + 2 : position + 3] in ("-", "+"):
            self._refuse_sign(position + 2)
        self._check_operand_place(position)
        self._open("{{", position)
        self._add("lparen", "(", position)
        return position + 2

    def _close_insertion(self, position: int) -> int:
        last = self.tokens[-1]
        if last.type == "lparen" and self.text.startswith("{{", last.lineno):
            self._refuse("`{{ }}` is empty.", position)
        if last.type in ("add", "sub") and last.lineno == position - 1:
            self._refuse_sign(position - 1)
        self._leave(position)
        self._add("rparen", ")", position)
        return position + 2

    def _check_operand_place(self, position: int) -> None:
        """Keep ``upper {{x}}`` and ``{{x}}{{y}}`` from looking like calls."""
        if not self.tokens:
            return
        last = self.tokens[-1]
        follows_test = len(self.tokens) > 1 and self.tokens[-2].value in ("is", "not")
        if last.type in _OPERAND_ENDS or (
            last.type == "name" and last.value not in _LINKING_WORDS and not follows_test
        ):
            self._refuse("`{{` stands where an operator is expected.", position)

    def _number(self, text: str, offset: int, *, is_integer: bool) -> float:
        try:
            return read_number(text, is_integer=is_integer)
        except ValueError as error:
            self._refuse(str(error), offset)

    def _unquote(self, quoted: str, offset: int) -> str:
        if self.is_condition and not self._inserting and "{{" in quoted and "}}" in quoted:
            self._refuse(
                "`{{ }}` inside quotes would be compared as it stands.",
                offset,
                "Remove the quotes around it.",
            )
        try:
            return read_text(quoted)
        except ValueError as error:
            self._refuse(str(error), offset)

    def _refuse_sign(self, position: int) -> NoReturn:
        self._refuse(
            "A sign right beside `{{` or `}}` could mean white space control, which there is none of.",
            position,
            "Put a blank between them: `{{ -1 }}`.",
        )

    def _refuse_character(self, position: int) -> NoReturn:
        character = self.text[position]
        if character in "'\"":
            self._refuse("The quoted text is not closed.", position)
        self._refuse(f"The character {character!r} is no part of an expression.", position)

    def _refuse(self, message: str, offset: int, suggestion: str | None = None) -> NoReturn:
        raise UnparsableExpression(message, suggestion=suggestion).at(offset)
