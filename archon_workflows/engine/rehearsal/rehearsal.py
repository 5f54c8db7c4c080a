"""The door: previews and dry runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from archon_workflows.engine.plans import Plans
from archon_workflows.engine.rehearsal.invention import Invention
from archon_workflows.engine.rehearsal.performance import Part, PartEnd, perform
from archon_workflows.engine.rehearsal.pieces import Pieces, read_pieces, steps_of
from archon_workflows.engine.rehearsal.previews import Known, Walk
from archon_workflows.engine.rehearsal.stage import DryRunLimits, Stage
from archon_workflows.engine.rehearsal.stubs import Stubs
from archon_workflows.engine.rehearsal.tools import RehearsedTools
from archon_workflows.engine.tool_policy import ToolPolicy
from archon_workflows.engine.vault import secret_values
from archon_workflows.engine.verbs import DryRun, Preview, PreviewedCall, RunRequest
from archon_workflows.errors import InvalidRequest
from archon_workflows.gateway.port import Gateway
from archon_workflows.model.json_values import InvalidJson, normalise
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.parameters import bind_parameters
from archon_workflows.model.steps import ActionStep
from archon_workflows.model.template import Template
from archon_workflows.storage.repository import Repository

MOST_CALLS = 5_000
"""Calls that a preview lists."""


class Rehearsal:
    """Says what a run would do; nothing is called and nothing is stored.

    Step paths inside a linked template begin with the link's step path and ``/``.

    Args:
        repository: where the templates are.
        gateway: what is known of the tools.
        policy: which of them steps may call.
        max_link_depth: how deep links may go; the first execution has depth 0.
        limits: how long a dry run may be.
    """

    def __init__(
        self,
        repository: Repository,
        gateway: Gateway,
        policy: ToolPolicy | None = None,
        *,
        max_link_depth: int = 10,
        limits: DryRunLimits | None = None,
    ) -> None:
        self._repository = repository
        self._gateway = gateway
        self._policy = policy or ToolPolicy()
        self._plans = Plans(repository)
        self._max_link_depth = max_link_depth
        self._limits = limits or DryRunLimits()

    async def preview(self, request: RunRequest) -> Preview:
        """Return the calls that stand in a template, whatever conditions say, in document order.

        Raises:
            NotFound: no such template or version.
            InvalidParameters: the input does not fit.
            Conflict: ``template_archived``.
            InvalidRequest: the trigger context is no JSON object.
        """
        given = await self._read(request)
        known = Known(
            piece=given.pieces.main,
            parameters=given.parameters,
            unknown=frozenset(),
            trigger_context=given.trigger_context,
            secrets=given.secrets,
            hidden=given.hidden,
        )
        walk = Walk(
            pieces=given.pieces,
            tools=given.tools,
            invention=given.invention,
            max_link_depth=self._max_link_depth,
        )
        calls, cut = await _first_calls(walk, known)
        return Preview(
            workflow=given.template.name,
            version_tag=given.template.version,
            calls=calls,
            warnings=(*given.warnings, *dict.fromkeys(walk.warnings), *cut),
        )

    async def dry_run(self, request: RunRequest, stubs: Mapping[str, JsonValue]) -> DryRun:
        """Run a template with the real interpreter and without its tools, in no time.

        Approvals are given, waits are skipped, links are followed. A step without a stub gets a made-up
        output that has whatever the template reads of it; such an output is taken as success: ``fail_when``
        and ``repeat_until`` are not asked. What a tool would refuse fails its step as in a run: the tool
        does not exist, or the arguments do not fit.

        Args:
            request: as for a run; drafts are allowed.
            stubs: results by step name or step path, in linked templates too; a path without indexes means
                every item. ``{"$error": {"code", "message"}}`` makes the step fail. A stub of a
                ``workflow_link`` stands for the whole child.

        Raises:
            NotFound: no such template or version.
            InvalidParameters: the input does not fit.
            Conflict: ``template_archived``.
            InvalidRequest: ``unused_stub``: no action or link has that name; ``invalid_stub``;
                ``dry_run_too_long``; or the trigger context is no JSON object.
        """
        given = await self._read(request)
        stage = Stage(
            pieces=given.pieces,
            tools=given.tools,
            stubs=Stubs(stubs, given.pieces),
            invention=given.invention,
            secrets=given.secrets,
            trigger_context=given.trigger_context,
            triggered_by=request.triggered_by,
            max_link_depth=self._max_link_depth,
            limits=self._limits,
        )
        return _told(given, stage, await perform(stage, given.main_part()))

    async def _read(self, request: RunRequest) -> "_Given":
        pieces = await read_pieces(self._repository, self._plans, request.workflow, request.version)
        parameters = bind_parameters(pieces.main.plan.template, request.parameters)
        trigger_context = _clean_context(request.trigger_context)
        steps = (step.step for piece in pieces.all() for step in steps_of(piece.plan.sequence))
        names = {step.tool_name for step in steps if isinstance(step, ActionStep)}
        invention = Invention()
        return _Given(
            pieces=pieces,
            tools=await RehearsedTools.of(self._gateway, self._policy, sorted(names)),
            invention=invention,
            parameters=parameters,
            trigger_context=trigger_context,
            secrets=_secrets(pieces, invention),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """A request after everything that it means has been read."""

    pieces: Pieces
    tools: RehearsedTools
    invention: Invention
    parameters: Mapping[str, JsonValue]
    trigger_context: Mapping[str, JsonValue]
    secrets: Mapping[str, str]

    @property
    def template(self) -> Template:
        return self.pieces.main.plan.template

    @property
    def hidden(self) -> frozenset[str]:
        return frozenset((*secret_values(self.template, self.parameters), *self.secrets.values()))

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*self.pieces.warnings, *self.tools.warnings())

    def main_part(self) -> Part:
        return Part(
            piece=self.pieces.main,
            parameters=self.parameters,
            secrets=self.hidden,
            begins_at=datetime.now(UTC),
        )


def _told(given: _Given, stage: Stage, end: PartEnd) -> DryRun:
    return DryRun(
        workflow=given.template.name,
        version_tag=given.template.version,
        status=end.status,
        output=end.output,
        error=end.error,
        steps=end.steps,
        generated=tuple(stage.generated),
        approvals=tuple(stage.approvals),
        warnings=given.warnings,
    )


async def _first_calls(walk: Walk, known: Known) -> tuple[tuple[PreviewedCall, ...], tuple[str, ...]]:
    calls: list[PreviewedCall] = []
    async for call in walk.calls(known):
        if len(calls) == MOST_CALLS:
            return tuple(calls), (f"There are more than {MOST_CALLS} calls; the others are not listed.",)
        calls.append(call)
    return tuple(calls), ()


def _secrets(pieces: Pieces, invention: Invention) -> dict[str, str]:
    """Return a text for each secret that is referred to; which ones are configured is not known here."""
    references = (
        reference
        for piece in pieces.all()
        for step in steps_of(piece.plan.sequence)
        if step.inputs is not None
        for reference in step.inputs.references
    )
    names = {str(one.path[0]) for one in references if one.root == "secrets" and one.path}
    return {name: invention.named(f"secrets.{name}") for name in names}


def _clean_context(given: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        clean = normalise(given, "refuse").value
    except InvalidJson as error:
        raise InvalidRequest(
            error.message, path=f"/trigger_context{error.path or ''}", suggestion=error.suggestion
        ) from error
    if not isinstance(clean, dict):
        raise InvalidRequest("The trigger context is no JSON object.", path="/trigger_context")
    return cast("dict[str, JsonValue]", clean)
