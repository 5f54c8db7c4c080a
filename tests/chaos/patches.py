"""How the process of a chaos worker changes the product's objects: by name, for good, and only in itself."""

from collections.abc import Callable
from typing import Any

Method = Callable[..., Any]


def original(kind: type[object], name: str) -> Method:
    """Return a method as it is now, private ones too."""
    method: Method = getattr(kind, name)
    return method


def put(kind: type[object], **methods: Method) -> None:
    """Replace methods; a name that the product does not have any more is an error."""
    for name, method in methods.items():
        assert callable(getattr(kind, name))
        setattr(kind, name, method)
