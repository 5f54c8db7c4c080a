"""How large an expression, its work and its result may be. Numbers only; the rooms around check them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one template text or condition, and of one evaluation.

    Attributes:
        source_length: characters of one string of a document, or of one condition.
        tokens: tokens of all expressions in one string. Each node of a tree is made of at least one token,
            so this bounds the trees too, and with them the nodes that one evaluation visits: there are no
            loops in the language.
        nesting: brackets open at the same time. Jinja2's parser is recursive, with 15 frames a bracket.
        chain: links that depend on each other (``a.b.c``, ``a and b and c``, ``not not a``), over all
            brackets: the depth of the tree.
        work: units of one evaluation of one expression or document. A unit is one node of a JSON value
            looked at, or 32 characters of text looked at or made.
        text_length: characters of one text that an expression makes.
        result_nodes: nodes of a value that an expression or document puts together.
        result_length: characters of all texts and keys in such a value.
        value_depth: levels of a value that is converted, compared or put together.
    """

    source_length: int = 65_536
    tokens: int = 2_000
    nesting: int = 24
    chain: int = 100
    work: int = 100_000
    text_length: int = 1_048_576
    result_nodes: int = 100_000
    result_length: int = 4_194_304
    value_depth: int = 128


DEFAULT_LIMITS = Limits()
