"""The text under each field of a class, which is the field's description, read when someone asks for it.

pydantic's ``use_attribute_docstrings`` reads the same texts of every class as soon as it is imported, which
took a tenth of a server's start.
"""

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic_core import CoreSchema


class DescribedModel(BaseModel):
    """A model in whose JSON Schema each field has the text under it as its description."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return what pydantic makes of the model, with the descriptions."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in descriptions_of(cls).items():
            properties.get(name, {}).setdefault("description", text)
        return schema


@cache
def descriptions_of(model: type) -> Mapping[str, str]:
    """Return the texts under the fields of a class and of those that it is made from, by field."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        found |= _texts_of_module(base.__module__).get(base.__qualname__, {})
    return found


@cache
def _texts_of_module(module: str) -> Mapping[str, Mapping[str, str]]:
    if not module.startswith(__name__.partition(".")[0]):
        return {}
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: dict(_texts(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _texts(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, below in pairwise(node.body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                yield name, inspect.cleandoc(text)
            case _:
                pass
