"""From tokens to a tree: Jinja2's own expression parser, fed with tokens that are already bounded."""

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.lexer import TokenStream
from jinja2.parser import Parser

from archon_workflows.expressions.errors import ExpressionTooCostly, UnparsableExpression
from archon_workflows.expressions.tokens import ExpressionTokens

_ENVIRONMENT = Environment(autoescape=False, optimized=False)  # noqa: S701 - nothing is ever rendered


def parse(expression: ExpressionTokens) -> nodes.Expr:
    """Return the tree of one expression; ``lineno`` of a node is the offset of its start in the text.

    Raises:
        UnparsableExpression: the tokens do not make one expression.
        ExpressionTooCostly: the caller has not left enough of Python's stack to parse it.
    """
    parser = Parser(_ENVIRONMENT, "", state="variable")
    parser.stream = TokenStream(expression.tokens, None, None)
    try:
        tree = parser.parse_expression()
        if parser.stream.current.type != "eof":
            parser.fail(f"unexpected {parser.stream.current.value!r}")
    except TemplateSyntaxError as error:
        raise UnparsableExpression(_sentence(error.message)).at(error.lineno) from None
    except RecursionError:
        raise ExpressionTooCostly("The expression is nested too deeply to be parsed here.") from None
    return tree


def _sentence(message: str | None) -> str:
    text = (message or "syntax error").rstrip(".").replace("end of template", "end of the expression")
    return f"The expression does not parse: {text}."
