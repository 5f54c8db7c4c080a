"""From a request to an execution in the database: which version, with which input, allowed or not."""

from dataclasses import replace
from typing import Final
from uuid import UUID, uuid4

from archon_workflows.engine.plans import Plans
from archon_workflows.engine.vault import Vault
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.errors import Conflict, InvalidParameters, NotFound, StorageError, WorkflowError
from archon_workflows.expressions.values import is_object
from archon_workflows.interpreter import Plan, StartChild
from archon_workflows.model.json_values import InvalidJson, normalise
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.parameters import bind_parameters
from archon_workflows.model.records import CreatedExecution, NewExecution, Taker, TemplateRecord
from archon_workflows.storage.callers import seen_by
from archon_workflows.storage.repository import Repository

TEMPLATES_KEPT: Final = 256


class Launcher:
    """Creates executions; advancing them is the engine's.

    It remembers templates: the database refuses to create an execution from one that has changed since.

    Args:
        max_link_depth: how deep links may go; the first execution has depth 0.
        max_minutes: how long an execution may run, whatever its template says.
    """

    def __init__(
        self,
        repository: Repository,
        plans: Plans,
        vault: Vault,
        *,
        max_link_depth: int,
        max_minutes: float,
    ) -> None:
        self._repository = repository
        self._plans = plans
        self._vault = vault
        self._templates: dict[str, TemplateRecord] = {}
        self._max_link_depth = max_link_depth
        self._max_minutes = max_minutes

    async def launch(
        self, request: RunRequest, taker: Taker | None = None
    ) -> tuple[CreatedExecution, tuple[str, ...]]:
        """Create the execution that was asked for; return it with warnings.

        Raises:
            NotFound: no such template or version.
            InvalidParameters: the input does not fit.
            Conflict: the template's status does not allow a run, the idempotency key is taken, or the
                template's limit rejects another execution (``too_many_executions``).
        """
        remembered = self._templates.get(request.workflow)
        if remembered is not None:
            try:
                return await self._launch(request, taker, remembered)
            except StorageError:
                raise
            except WorkflowError:
                # Whether it is right to refuse is for the template to say as it is now.
                self._templates.pop(request.workflow, None)
        while True:
            template = await self._repository.read_template(name=request.workflow)
            try:
                launched = await self._launch(request, taker, template)
            except Conflict as error:
                if error.code != "template_changed":
                    raise
            else:
                self._remember(template)
                return launched

    async def _launch(
        self, request: RunRequest, taker: Taker | None, template: TemplateRecord
    ) -> tuple[CreatedExecution, tuple[str, ...]]:
        new, warnings = await self._drawn_up(request, template)
        new = replace(new, template_updated_at=template.updated_at)
        return await self._repository.create_execution(new, taker=taker), warnings

    def _remember(self, template: TemplateRecord) -> None:
        self._templates[template.name] = template
        if len(self._templates) > TEMPLATES_KEPT:
            del self._templates[next(iter(self._templates))]

    async def drawn_up(self, request: RunRequest) -> tuple[NewExecution, tuple[str, ...]]:
        """Return the execution that was asked for, with warnings; nothing is stored.

        Raises:
            NotFound: no such template or version.
            InvalidParameters: the input does not fit.
            Conflict: the template's status does not allow a run.
        """
        return await self._drawn_up(request, await self._repository.read_template(name=request.workflow))

    async def _drawn_up(
        self, request: RunRequest, template: TemplateRecord
    ) -> tuple[NewExecution, tuple[str, ...]]:
        warnings = runnable(template, allow_draft=request.allow_draft)
        version_id = await self.version_of(template, request.version)
        plan = await self._plans.of_version(version_id)
        new = NewExecution(
            id=uuid4(),
            workflow_template_id=template.id,
            workflow_version_id=version_id,
            triggered_by=request.triggered_by,
            trigger_context=_clean(request.trigger_context, "/trigger_context"),
            input_parameters=self._bound(plan, request.parameters),
            required_tools=plan.required_tools(),
            total_steps=plan.total_steps,
            timeout_seconds=min(plan.template.timeout_minutes, self._max_minutes) * 60,
            priority=request.priority,
            idempotency_key=request.idempotency_key,
        )
        return new, warnings

    async def launch_child(
        self, parent_id: UUID, command: StartChild, secret: frozenset[str], taker: Taker | None = None
    ) -> CreatedExecution:
        """Create a link step's child with the id that its parent recorded.

        Args:
            parent_id: the execution whose step it is.
            command: what to start.
            secret: names of the parameters that hold a secret of the parent's.
            taker: who is to advance it.

        Raises:
            WorkflowError: with the step error's code (``workflow_not_found``, ``workflow_not_runnable``,
                ``invalid_parameters``, ``link_too_deep``, ``too_many_executions``).
        """
        parent = await self._repository.read_execution(parent_id)
        if parent.link_depth + 1 > self._max_link_depth:
            raise Conflict(
                f"{command.workflow_name!r} would be linked {parent.link_depth + 1} deep; "
                f"the limit is {self._max_link_depth}.",
                code="link_too_deep",
            )
        template = await self._linked(command.workflow_name, parent.caller)
        try:
            version_id = await self.version_of(template, command.version)
        except NotFound as error:
            raise NotFound(error.message, code="workflow_not_found", suggestion=error.suggestion) from error
        plan = await self._plans.of_version(version_id)
        _refuse_to_disclose(plan, command, secret)
        return await self._repository.create_execution(
            NewExecution(
                id=command.child_id,
                workflow_template_id=template.id,
                workflow_version_id=version_id,
                triggered_by=parent.triggered_by,
                trigger_context=parent.trigger_context,
                input_parameters=self._bound(plan, command.parameters),
                required_tools=plan.required_tools(),
                total_steps=plan.total_steps,
                timeout_seconds=min(plan.template.timeout_minutes, self._max_minutes) * 60,
                parent_execution_id=parent_id,
                parent_step_path=command.path,
            ),
            taker=taker,
        )

    async def version_of(self, template: TemplateRecord, version_tag: str | None) -> UUID:
        """Return the id of the version that a tag means; without one the newest.

        Raises:
            NotFound: ``version_not_found``.
        """
        if version_tag is None or version_tag == template.version:
            return template.version_id
        version = await self._repository.read_version(template_id=template.id, version_tag=version_tag)
        return version.id

    async def _linked(self, name: str, caller: str | None) -> TemplateRecord:
        """Return what a link leads to for whoever started the parent, not for whoever wrote the link."""
        try:
            template = await seen_by(caller, self._repository).read_template(name=name)
            runnable(template, allow_draft=False)
        except NotFound as error:
            raise NotFound(error.message, code="workflow_not_found", suggestion=error.suggestion) from error
        except Conflict as error:
            raise Conflict(
                error.message, code="workflow_not_runnable", suggestion=error.suggestion
            ) from error
        return template

    def _bound(self, plan: Plan, parameters: object) -> dict[str, JsonValue]:
        bound = bind_parameters(plan.template, parameters)
        return self._vault.seal(plan.template, bound)


def _refuse_to_disclose(plan: Plan, command: StartChild, secret: frozenset[str]) -> None:
    """Refuse a child that would store a secret of its parent's in clear."""
    declared = plan.template.parameters
    open_names = sorted(name for name in secret if name in declared and not declared[name].secret)
    if open_names:
        raise InvalidParameters(
            f"The parameter {open_names[0]!r} of {command.workflow_name!r} would get a secret, "
            "but is no secret parameter; nothing was started.",
            path=f"/parameters/{open_names[0]}",
            suggestion=f"Declare it with secret: true in {command.workflow_name!r}.",
        )


def runnable(template: TemplateRecord, *, allow_draft: bool) -> tuple[str, ...]:
    """Return what to warn of when the template is run.

    Raises:
        Conflict: ``draft_not_allowed`` or ``template_archived``.
    """
    match template.status:
        case "draft" if not allow_draft:
            raise Conflict(
                f"The template {template.name!r} is a draft.",
                code="draft_not_allowed",
                suggestion="Run it with allow_draft, try mode dry_run, or save it with status active.",
            )
        case "archived":
            raise Conflict(
                f"The template {template.name!r} is archived and does not run.",
                code="template_archived",
                suggestion="Save it with status active, or run another template.",
            )
        case "deprecated":
            return (f"The template {template.name!r} is deprecated.",)
        case _:
            return ()


def _clean(value: object, pointer: str) -> dict[str, JsonValue]:
    try:
        clean = normalise(value, "refuse").value
    except InvalidJson as error:
        raise InvalidParameters(
            error.message, path=f"{pointer}{error.path or ''}", suggestion=error.suggestion
        ) from error
    if not is_object(clean):
        raise InvalidParameters(f"{pointer} must be an object, not {type(value).__name__}.", path=pointer)
    return dict(clean)
