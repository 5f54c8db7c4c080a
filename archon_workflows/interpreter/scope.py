"""What expressions see: lazily resolved views over the interpreter's live state.

Nothing is copied to evaluate an expression: a view looks a name up when the expression asks for it.
"""

from collections.abc import Iterator, Mapping

from archon_workflows.errors import ExpressionError
from archon_workflows.expressions import JsonValue


class View(Mapping[str, object]):
    """Base of the lazily resolved objects; children say which keys there are and what one means."""

    __slots__ = ()

    def __len__(self) -> int:
        return sum(1 for _ in self)


class StepView(View):
    """A finished step as references see it: ``output``, ``status``, ``error``, ``attempts``, ``name``."""

    __slots__ = ("_values", "_whole")

    def __init__(
        self,
        *,
        name: str,
        status: str,
        output: JsonValue,
        error: Mapping[str, JsonValue] | None,
        attempts: int,
        truncated: bool = False,
    ) -> None:
        self._whole = not truncated
        self._values: dict[str, object] = {
            "name": name,
            "status": status,
            "output": output,
            "error": error,
            "attempts": attempts,
        }

    def __getitem__(self, key: str) -> object:
        if key == "output" and not self._whole:
            raise payload_too_large(f"steps.{self._values['name']}.output", self._values["output"])
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    @property
    def output(self) -> JsonValue:
        """The output as recorded, possibly truncated."""
        return self._values["output"]


def payload_too_large(reference: str, marker: JsonValue) -> ExpressionError:
    """Return the error of an expression that needs a value which was too large to be stored whole."""
    size = marker["$truncated"]["size"]
    return ExpressionError(
        f"{reference} was too large to be stored whole ({size} bytes), so nothing can be read from it.",
        code="payload_too_large",
        suggestion="Let the tool return less, or let it store the value and return a reference to it.",
    )


class Context(View):
    """Context variables: a layer of writes over the layers below.

    Each container's run writes into a layer of its own, which its step merges when it completes. The layer
    of a parallel branch or a concurrent iteration is *isolated*: what it holds is nobody else's yet.
    """

    __slots__ = ("_below", "_isolated", "own")

    def __init__(
        self,
        own: Mapping[str, JsonValue] | None = None,
        *,
        below: "Context | None" = None,
        isolated: bool = False,
    ) -> None:
        self.own = dict(own or {})
        self._below = below
        self._isolated = isolated

    def __getitem__(self, key: str) -> JsonValue:
        layer: Context | None = self
        while layer is not None:
            if key in layer.own:
                return layer.own[key]
            layer = layer._below
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.snapshot())

    def snapshot(self) -> dict[str, JsonValue]:
        """Return all variables that are seen here."""
        below = self._below.snapshot() if self._below is not None else {}
        return below | self.own

    def write(self, updates: Mapping[str, JsonValue]) -> None:
        """Set variables in this layer."""
        self.own.update(updates)

    def layer(self, *, isolated: bool = False) -> "Context":
        """Return an empty layer over this one."""
        return Context(below=self, isolated=isolated)

    @property
    def is_recorded(self) -> bool:
        """Whether ``execution_context`` shows this layer: no layer from here down is isolated."""
        return not self._isolated and (self._below is None or self._below.is_recorded)


class Scope(View):
    """The names that one sequence sees, over those of the sequence around it."""

    __slots__ = ("_globals", "_locals", "_parent", "context", "finished", "previous")

    def __init__(
        self,
        *,
        context: Context,
        parent: "Scope | None" = None,
        global_names: Mapping[str, object] | None = None,
        local_names: Mapping[str, object] | None = None,
    ) -> None:
        self.context = context
        self.finished: dict[str, StepView] = {}
        self.previous: StepView | None = None
        self._parent = parent
        self._globals: Mapping[str, object] = parent._globals if parent is not None else (global_names or {})
        self._locals = local_names or {}

    def __getitem__(self, key: str) -> object:
        if key == "steps":
            return FinishedSteps(self)
        if key == "context":
            return self.context
        if key == "previous_step" and self.previous is not None:
            return self.previous
        if key in self._globals:
            return self._globals[key]
        return self._local(key)

    def _local(self, key: str) -> object:
        scope: Scope | None = self
        while scope is not None:
            if key in scope._locals:
                return scope._locals[key]
            scope = scope._parent
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        yield from ("steps", "context")
        if self.previous is not None:
            yield "previous_step"
        yield from self._globals
        scope: Scope | None = self
        while scope is not None:
            yield from scope._locals
            scope = scope._parent

    def find_step(self, name: str) -> StepView:
        """Return the finished step of that name in this sequence or one around it."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.finished:
                return scope.finished[name]
            scope = scope._parent
        raise KeyError(name)

    def step_names(self) -> Iterator[str]:
        """Yield the names of the finished steps that can be referred to from here."""
        scope: Scope | None = self
        while scope is not None:
            yield from scope.finished
            scope = scope._parent

    def inner(
        self, *, context: Context | None = None, local_names: Mapping[str, object] | None = None
    ) -> "Scope":
        """Return the scope of a sequence inside this one."""
        return Scope(
            context=self.context if context is None else context, parent=self, local_names=local_names
        )

    def adopt(self, inner: "Scope") -> None:
        """Make the finished steps of an inner sequence visible after it."""
        self.finished.update(inner.finished)


class FinishedSteps(View):
    """The root name ``steps``."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __getitem__(self, key: str) -> object:
        return self._scope.find_step(key)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(self._scope.step_names()))


class With(View):
    """A scope with further names in front: ``output`` and ``error`` for one expression."""

    __slots__ = ("_further", "_scope")

    def __init__(self, scope: Mapping[str, object], **further: object) -> None:
        self._scope = scope
        self._further = further

    def __getitem__(self, key: str) -> object:
        return self._further[key] if key in self._further else self._scope[key]

    def __iter__(self) -> Iterator[str]:
        yield from self._further
        yield from (name for name in self._scope if name not in self._further)
