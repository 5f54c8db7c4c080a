"""The template of a rehearsal and the templates that it links to, read once and compiled."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from archon_workflows.engine.launch import runnable
from archon_workflows.engine.plans import Plans
from archon_workflows.errors import Conflict, NotFound, WorkflowError
from archon_workflows.interpreter import Plan
from archon_workflows.interpreter.plan import SequencePlan, StepPlan
from archon_workflows.model.records import TemplateRecord
from archon_workflows.model.steps import WorkflowLinkStep
from archon_workflows.storage.repository import Repository


@dataclass(frozen=True, eq=False)
class Piece:
    """One version that is rehearsed."""

    record: TemplateRecord
    plan: Plan

    @cached_property
    def written_names(self) -> frozenset[str]:
        """The context variables that some step of it writes."""
        return frozenset(name for step in steps_of(self.plan.sequence) for name in step.set_context)


@dataclass(frozen=True, slots=True)
class Pieces:
    """A template's version and everything that links lead to from there.

    Attributes:
        linked: by what a link says, ``(workflow_name, version)``: the piece, or why it would not start.
    """

    main: Piece
    warnings: tuple[str, ...]
    linked: dict[tuple[str, str | None], "Piece | WorkflowError"]

    def all(self) -> Iterator[Piece]:
        """Yield every piece once, the main one first."""
        pieces = [self.main, *(one for one in self.linked.values() if isinstance(one, Piece))]
        yield from {id(one.plan): one for one in pieces}.values()

    def behind(self, step: WorkflowLinkStep) -> "Piece | WorkflowError":
        """Return what the link leads to."""
        return self.linked[step.workflow_name, step.version]


async def read_pieces(repository: Repository, plans: Plans, name: str, version: str | None) -> Pieces:
    """Read a template, a draft too, and what it links to.

    Raises:
        NotFound: no such template or version.
        Conflict: ``template_archived``.
    """
    record = await repository.read_template(name=name)
    warnings = runnable(record, allow_draft=True)
    if record.status == "draft":
        warnings = (*warnings, f"The template {name!r} is a draft; a run of it needs allow_draft.")
    main = Piece(record, await _plan(repository, plans, record, version))
    pieces = Pieces(main, warnings, {})
    agenda = [main]
    while agenda:
        for step in steps_of(agenda.pop().plan.sequence):
            link = step.step
            if isinstance(link, WorkflowLinkStep) and (link.workflow_name, link.version) not in pieces.linked:
                found = await _linked(repository, plans, link)
                pieces.linked[link.workflow_name, link.version] = found
                agenda += [found] if isinstance(found, Piece) else []
    return pieces


def steps_of(sequence: SequencePlan) -> Iterator[StepPlan]:
    """Yield every step of a sequence and those inside them, in document order."""
    for step in sequence.steps:
        yield step
        for inner in step.inner_sequences():
            yield from steps_of(inner)


async def _linked(repository: Repository, plans: Plans, link: WorkflowLinkStep) -> Piece | WorkflowError:
    """Return what a link leads to, or the error with which its step would fail."""
    try:
        record = await repository.read_template(name=link.workflow_name)
        runnable(record, allow_draft=False)
        return Piece(record, await _plan(repository, plans, record, link.version))
    except NotFound as error:
        return NotFound(error.message, code="workflow_not_found", suggestion=error.suggestion)
    except Conflict as error:
        return Conflict(error.message, code="workflow_not_runnable", suggestion=error.suggestion)


async def _plan(repository: Repository, plans: Plans, record: TemplateRecord, version: str | None) -> Plan:
    if version is None or version == record.version:
        return await plans.of_version(record.version_id)
    found = await repository.read_version(template_id=record.id, version_tag=version)
    return plans.compile(found)
