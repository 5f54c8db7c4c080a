"""The walk of a preview: every call that stands in a plan, with what is known of it before the run."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import cast

from archon_workflows.engine.mask import Mask
from archon_workflows.engine.rehearsal.invention import Invention
from archon_workflows.engine.rehearsal.pieces import Piece, Pieces
from archon_workflows.engine.rehearsal.stubs import CHILD
from archon_workflows.engine.rehearsal.tools import RehearsedTools
from archon_workflows.engine.vault import secret_values
from archon_workflows.engine.verbs import PreviewedCall
from archon_workflows.errors import ExpressionError, InvalidParameters, WorkflowError
from archon_workflows.expressions import Reference, compile_value
from archon_workflows.interpreter.plan import SequencePlan, StepPlan
from archon_workflows.model.json_values import pointer_token
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.parameters import bind_parameters
from archon_workflows.model.steps import ActionStep, LoopStep, WorkflowLinkStep

EVERY_ITEM = "[*]"
"""Stands where the index of a loop's item will stand in a step path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of one execution before it runs.

    Attributes:
        parameters: those whose values are known, after defaults, secret ones in clear.
        unknown: names of the parameters whose values the run will tell.
        secrets: what ``secrets.X`` reads.
        hidden: clear texts that must not be seen.
    """

    piece: Piece
    parameters: Mapping[str, JsonValue]
    unknown: frozenset[str]
    trigger_context: Mapping[str, JsonValue]
    secrets: Mapping[str, str]
    hidden: frozenset[str]
    prefix: str = ""
    depth: int = 0

    def resolved(self, value: JsonValue) -> "Resolved":
        """Evaluate what can be evaluated of a template value."""
        resolution = _Resolution(self)
        return Resolved(resolution.resolve(value, ""), tuple(resolution.unresolved), resolution.problem)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A template value with template texts where JSON pointers of ``unresolved`` lead to."""

    value: JsonValue
    unresolved: tuple[str, ...]
    problem: str | None


class _Resolution:
    def __init__(self, known: Known) -> None:
        template = known.piece.plan.template
        self.unresolved: list[str] = []
        self.problem: str | None = None
        self._known = known
        self._written = known.piece.written_names
        self._scope: dict[str, object] = {
            "workflow": {
                "name": template.name,
                "version": template.version,
                "id": str(known.piece.record.id),
                "parameters": known.parameters,
            },
            "context": known.trigger_context,
            "secrets": known.secrets,
        }

    def resolve(self, value: JsonValue, path: str) -> JsonValue:
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, dict):
            members = cast("dict[str, JsonValue]", value)
            return {key: self.resolve(one, path + pointer_token(key)) for key, one in members.items()}
        if isinstance(value, list):
            elements = cast("list[JsonValue]", value)
            return [self.resolve(one, f"{path}/{index}") for index, one in enumerate(elements)]
        return value

    def _text(self, text: str, path: str) -> JsonValue:
        compiled = compile_value(text)
        if all(self._is_known(reference) for reference in compiled.references):
            try:
                return compiled.evaluate(self._scope)
            except ExpressionError as error:
                self.problem = self.problem or error.message
        self.unresolved.append(path)
        return text

    def _is_known(self, reference: Reference) -> bool:
        match reference.root, reference.path:
            case "workflow", ("parameters", str() as name, *_):
                return name not in self._known.unknown
            case "workflow", ("parameters",) | ():
                return not self._known.unknown
            case "context", (str() as name, *_):
                return name not in self._written
            case "context", _:
                return not self._written
            case root, _:
                return root in self._scope


@dataclass(slots=True, kw_only=True)
class Walk:
    """Walks the plan of a template and of what it links to, in document order.

    Attributes:
        warnings: what is wrong with links.
    """

    pieces: Pieces
    tools: RehearsedTools
    invention: Invention
    max_link_depth: int
    warnings: list[str] = field(default_factory=list[str])

    async def calls(self, known: Known) -> AsyncGenerator[PreviewedCall]:
        """Yield every call of an execution."""
        async for call in self._sequence(known, known.piece.plan.sequence, known.prefix):
            yield call

    async def _sequence(
        self, known: Known, sequence: SequencePlan, prefix: str
    ) -> AsyncGenerator[PreviewedCall]:
        for step in sequence.steps:
            path = prefix + step.name
            if isinstance(step.step, ActionStep):
                yield await self._call(known, step.step, path)
            elif isinstance(step.step, WorkflowLinkStep):
                async for call in self._link(known, step.step, path):
                    yield call
            async for call in self._inside(known, step, path):
                yield call

    async def _inside(self, known: Known, step: StepPlan, path: str) -> AsyncGenerator[PreviewedCall]:
        for sequence in step.inner_sequences():
            is_item = isinstance(step.step, LoopStep) and sequence in step.body
            async for call in self._sequence(known, sequence, f"{path}{EVERY_ITEM if is_item else ''}."):
                yield call

    async def _call(self, known: Known, step: ActionStep, path: str) -> PreviewedCall:
        resolved = known.resolved(step.parameters)
        mask = Mask(known.hidden)
        problem = await self._problem(known, step, resolved)
        tool = self.tools.entry(step.tool_name)
        return PreviewedCall(
            step_path=path,
            tool_name=step.tool_name,
            arguments=mask.value(resolved.value),
            unresolved=resolved.unresolved,
            address=tool.address if tool is not None else None,
            destructive=tool.destructive if tool is not None else None,
            problem=mask.text(problem) if problem is not None else None,
        )

    async def _problem(self, known: Known, step: ActionStep, resolved: Resolved) -> str | None:
        tool = self.tools.entry(step.tool_name)
        if tool is None:
            return self.tools.problem(step.tool_name)
        refusal = self.tools.refusal(known.piece.plan.template, tool)
        if refusal is not None:
            return refusal.message
        if resolved.problem is not None:
            return resolved.problem
        unknown = [*resolved.unresolved, *self.invention.made_up_texts(resolved.value)]
        error = await self.tools.argument_error(tool, resolved.value, unknown)
        return error.message if error is not None else None

    async def _link(self, known: Known, step: WorkflowLinkStep, path: str) -> AsyncGenerator[PreviewedCall]:
        child = self.pieces.behind(step)
        if isinstance(child, WorkflowError):
            self.warnings.append(f"{path}: {child.message}")
        elif known.depth + 1 > self.max_link_depth:
            deep = f"would be linked {known.depth + 1} deep; the limit is {self.max_link_depth}."
            self.warnings.append(f"{path}: {step.workflow_name!r} {deep}")
        else:
            async for call in self.calls(self._known_of_child(known, child, step, path)):
                yield call

    def _known_of_child(self, known: Known, child: Piece, step: WorkflowLinkStep, path: str) -> Known:
        resolved = known.resolved(step.parameters)
        unknown = frozenset(pointer.split("/")[1] for pointer in resolved.unresolved)
        given = {name: value for name, value in resolved.value.items() if name not in unknown}
        template = child.plan.template
        defaults = {name: one.default for name, one in template.parameters.items() if one.has_default}
        parameters = {name: value for name, value in {**defaults, **given}.items() if name not in unknown}
        problem = resolved.problem
        if not unknown:
            try:
                parameters = bind_parameters(template, given)
            except InvalidParameters as error:
                problem = error.message
        if problem is not None:
            self.warnings.append(Mask(known.hidden).text(f"{path}: {problem}"))
        return Known(
            piece=child,
            parameters=parameters,
            unknown=unknown,
            trigger_context=known.trigger_context,
            secrets=known.secrets,
            hidden=known.hidden.union(secret_values(template, parameters)),
            prefix=f"{path}{CHILD}",
            depth=known.depth + 1,
        )
