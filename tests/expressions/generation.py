"""Makes expressions: mostly well-formed ones over every part of the language, some of them damaged."""

from collections.abc import Callable
from random import Random
from typing import Any

from archon_workflows.expressions.filters import DEFAULT_FILTERS, FILTERS
from archon_workflows.expressions.predicates import DEFINITION_PREDICATES, PREDICATES

ROOTS = ("a", "b", "steps", "text", "list", "object", "number", "flag", "nothing", "absent")
_KEYS = ("a", "b", "items", "keys", "x", "output", "not")
_TEXTS = ("''", "'a'", '"b c"', "'{{7*7}}'", r"'\u00e9\n'", "'{0.__class__}'", "'%s'", "'12'", "'{\"a\":1}'")
_NUMBERS = ("0", "1", "2", "-1", "1.5", "1e308", "9223372036854775807", "0x10", "1_000")
_OPERATORS = (
    *("+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">="),
    *("in", "not in", "and", "or", "&&", "||"),
)
_FILTERS = tuple(sorted(FILTERS.keys() | DEFAULT_FILTERS))
_TESTS = tuple(sorted(PREDICATES.keys() | DEFINITION_PREDICATES))
_FRAGMENTS = (
    *(
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "{% raw %}",
        "{% endraw %}",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "'",
        '"',
        "\\",
    ),
    *(
        "|",
        ".",
        ",",
        ":",
        "=",
        "!",
        "&&",
        "not",
        "if",
        "else",
        "is",
        "in",
        "__class__",
        "\0",
        "\ud800",
        "\u202e",
    ),
    *("0x", "1e9", "_", "\n", " ", "é", "😀", "٣", "lambda", "self", "*", "**"),
    *("|attr('a')", "|format", " is callable", ".__class__", "()", "(1)", "~", "["),
)

SCOPE: dict[str, Any] = {
    "a": {"a": 1, "b": [1, "x", None, True, 2.5], "items": {"keys": "k"}, "__class__": "mine"},
    "b": {"a": {"a": {"a": "deep"}}, "x": "{{ a.a }}", "0": "zero"},
    "steps": {"a": {"output": {"a": [{"a": 3}, {"a": 1}], "b": "{{7*7}}"}}, "b": {"output": None}},
    "text": "Straße {{ x }} %s {0}",
    "list": [3, 1, 2, 2],
    "object": {"b": 1, "a": [1, 2], "": False},
    "number": 7,
    "flag": True,
    "nothing": None,
}


def make_text(random: Random) -> str:
    """Return a template text."""
    parts = [
        random.choice(("", "x ", " ", "} ")),
        "{{ ",
        make_expression(random, random.randint(0, 4)),
        " }}",
    ]
    if random.random() < 0.3:
        parts += ["-", "{{", make_expression(random), "}}", "."]
    return _damaged(random, "".join(parts if random.random() < 0.5 else parts[1:4]))


def make_condition(random: Random) -> str:
    """Return a condition."""
    left, right = make_expression(random, 2), make_expression(random, 2)
    operator = random.choice(("==", "!=", "<", "in", "and", "||", "is not"))
    return _damaged(
        random, random.choice(("{{%s}} %s %s", "%s %s {{ %s }}", "!{{%s}} %s %s")) % (left, operator, right)
    )


def make_expression(random: Random, levels: int = 4) -> str:
    """Return an expression of at most so many levels."""
    if levels == 0:
        return random.choice((_reference, _literal))(random)
    make = random.choices(tuple(_SHAPES), weights=tuple(_SHAPES.values()))[0]
    return make(random, levels - 1)


def _reference(random: Random) -> str:
    text = random.choice(ROOTS)
    for _ in range(random.randrange(4)):
        key = random.choice(_KEYS)
        text += random.choice((f".{key}", f"['{key}']", "[-1]", "[0]", ".0"))
    return text


def _literal(random: Random) -> str:
    return random.choice((*_TEXTS, *_NUMBERS, "true", "false", "null", "none", "[]", "{}"))


def _leaf(random: Random, _levels: int) -> str:
    return make_expression(random, 0)


def _binary(random: Random, levels: int) -> str:
    return (
        f"({make_expression(random, levels)} {random.choice(_OPERATORS)} {make_expression(random, levels)})"
    )


def _unary(random: Random, levels: int) -> str:
    return f"({random.choice(('not ', '-', '+', '!'))}{make_expression(random, levels)})"


def _group(random: Random, levels: int) -> str:
    return f"({make_expression(random, levels)})"


def _collection(random: Random, levels: int) -> str:
    items = [make_expression(random, levels) for _ in range(random.randrange(4))]
    if random.random() < 0.5:
        return f"[{', '.join(items)}]"
    return "{" + ", ".join(f"{random.choice(_TEXTS)}: {item}" for item in items) + "}"


def _lookup(random: Random, levels: int) -> str:
    bounds = random.choice(("{0}", "{0}:", ":{0}", "{0}:{0}:{0}", "::{0}"))
    return f"{make_expression(random, levels)}[{bounds.format(make_expression(random, 0))}]"


def _inline_if(random: Random, levels: int) -> str:
    text = f"{make_expression(random, levels)} if {make_expression(random, levels)}"
    return f"({text})" if random.random() < 0.2 else f"({text} else {make_expression(random, levels)})"


def _filter(random: Random, levels: int) -> str:
    name = random.choice(_FILTERS)
    arguments = [_argument(random, parameter) for parameter in _parameters(random, name)]
    call = f"({', '.join(arguments)})" if arguments else ""
    return f"({make_expression(random, levels)} | {name}{call})"


def _parameters(random: Random, name: str) -> tuple[str, ...]:
    if name in DEFAULT_FILTERS:
        return ("default_value", "boolean")[: random.randint(1, 2)]
    if name not in FILTERS:
        return ()
    entry = FILTERS[name]
    return entry.parameters[: random.randint(entry.required, len(entry.parameters))]


def _argument(random: Random, parameter: str) -> str:
    if parameter == "attribute":
        return f"attribute={random.choice(('a', 'b', 'a.a', 'output.0'))!r}"
    if parameter == "boolean":
        return f"boolean={random.choice(('true', 'false', 'flag', 'text'))}"
    return f"{parameter}={make_expression(random, 0)}"


def _test(random: Random, levels: int) -> str:
    name = random.choice(_TESTS)
    takes_one = name in PREDICATES and PREDICATES[name].arguments == 1
    argument = f" {make_expression(random, 0)}" if takes_one else ""
    return f"({make_expression(random, levels)} {random.choice(('is', 'is not'))} {name}{argument})"


_SHAPES: dict[Callable[[Random, int], str], int] = {
    _leaf: 5,
    _binary: 4,
    _unary: 1,
    _group: 2,
    _collection: 2,
    _lookup: 1,
    _inline_if: 1,
    _filter: 4,
    _test: 2,
}


def _damaged(random: Random, text: str) -> str:
    """Return the text, one time in five with pieces cut out, doubled or put in."""
    if random.random() < 0.8:
        return text
    for _ in range(random.randint(1, 3)):
        start, end = sorted(random.randrange(len(text) + 1) for _ in range(2))
        text = random.choice(
            (
                text[:start] + text[end:],
                text[:end] + text[start:],
                text[:start] + random.choice(_FRAGMENTS) + text[start:],
            )
        )
    return text
