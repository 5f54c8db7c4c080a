"""From a claim to an interpreter: the plan, the recorded steps, the secrets, and a retry's resets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from archon_workflows.engine.journal import Journal
from archon_workflows.engine.mask import Mask
from archon_workflows.engine.plans import Plans
from archon_workflows.engine.retrying import until_database_answers
from archon_workflows.engine.tool_policy import Admission, ToolPolicy
from archon_workflows.engine.tree_limits import Trees, TreeShare
from archon_workflows.engine.vault import Vault, secret_values
from archon_workflows.errors import Conflict, NotFound, WorkflowError
from archon_workflows.interpreter import ExecutionFacts, Interpreter, Plan, records_to_reset
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.records import (
    Claim,
    ControlRequest,
    ExecutionChange,
    ExecutionRecord,
    JournalEntry,
    LogEntry,
    StepRecord,
)
from archon_workflows.storage.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A claimed execution, ready to be advanced."""

    interpreter: Interpreter
    mask: Mask
    admission: Admission
    share: TreeShare
    requests: tuple[ControlRequest, ...]
    journal_sequence: int
    deadline_at: datetime


class Preparation:
    """Prepares claimed executions.

    Args:
        policy: which tools steps may call.
        trees: what execution trees have done and may do.
        secrets: what ``secrets.X`` may read, in clear.
    """

    def __init__(
        self,
        repository: Repository,
        plans: Plans,
        vault: Vault,
        policy: ToolPolicy,
        trees: Trees,
        *,
        secrets: Mapping[str, str],
    ) -> None:
        self._repository = repository
        self._plans = plans
        self._vault = vault
        self._policy = policy
        self._trees = trees
        self._secrets = secrets

    async def prepare(self, claim: Claim, journal: Journal) -> Prepared | None:
        """Return the interpreter of a claimed execution, or ``None`` when it cannot go on and was failed."""
        try:
            return await self._prepare(claim, journal)
        except WorkflowError as error:
            await journal.write(_refusal(claim, error))
            return None

    async def _prepare(self, claim: Claim, journal: Journal) -> Prepared:
        execution = claim.execution
        retry = next((one for one in execution.control_requests if one.action == "retry"), None)
        version_id = execution.workflow_version_id
        if retry is not None and retry.version_number is not None:
            version_id = await self._newer_version(execution, retry.version_number)
        plan = await until_database_answers(lambda: self._plans.of_version(version_id))
        records = await self._records(execution)
        sequence = execution.journal_sequence
        if retry is not None:
            resets = records_to_reset(plan, records, retry.from_step)
            sequence += 1
            await self._reopen_children(resets, retry)
            await journal.write(
                _reopening(claim, retry, resets=resets, version_id=version_id, plan=plan, sequence=sequence)
            )
            records = _replaced(records, resets)
        parameters = self._vault.open(execution.input_parameters)
        paths = [record.step_path for record in records]
        share = await until_database_answers(lambda: self._trees.share_of(execution, paths))
        return Prepared(
            interpreter=Interpreter(plan, self._facts(claim, parameters, share), records),
            mask=Mask((*secret_values(plan.template, parameters), *self._secrets.values())),
            admission=Admission(
                policy=self._policy,
                allowed_tools=plan.template.allowed_tools,
                fingerprints=plan.tool_fingerprints,
            ),
            share=share,
            requests=tuple(one for one in execution.control_requests if one is not retry),
            journal_sequence=sequence,
            deadline_at=_deadline(claim, plan, self._trees.limits.minutes),
        )

    async def _newer_version(self, execution: ExecutionRecord, version_number: int) -> UUID:
        version = await self._repository.read_version(
            template_id=execution.workflow_template_id, version_number=version_number
        )
        return version.id

    async def _records(self, execution: ExecutionRecord) -> tuple[StepRecord, ...]:
        if execution.started_at is None:
            return ()
        return (await until_database_answers(lambda: self._repository.read_steps(execution.id))).records

    async def _reopen_children(self, resets: Sequence[StepRecord], retry: ControlRequest) -> None:
        """Retry the children of the links that are retried; one that did not fail goes on as it is."""
        for record in resets:
            child_id = record.sub_workflow_execution_id
            if child_id is None:
                continue
            request = ControlRequest(
                id=uuid5(retry.id, str(child_id)),
                action="retry",
                requested_by=retry.requested_by,
                reason="its parent is retried",
            )
            try:
                await self._repository.request_control(child_id, request)
            except (Conflict, NotFound):
                continue

    def _facts(self, claim: Claim, parameters: Mapping[str, JsonValue], share: TreeShare) -> ExecutionFacts:
        execution = claim.execution
        return ExecutionFacts(
            id=execution.id,
            template_id=execution.workflow_template_id,
            parameters=parameters,
            trigger_context=execution.trigger_context,
            triggered_by=execution.triggered_by,
            status=execution.status,
            pause_reason=execution.pause_reason,
            progress_percentage=execution.progress_percentage,
            started_at=execution.started_at,
            log_length=len(execution.execution_log),
            secrets=self._secrets,
            asks_before_destructive=self._policy.destructive_tools == "approve",
            steps_allowed=share.steps_allowed,
            timeout_minutes=self._trees.limits.minutes,
        )


def _deadline(claim: Claim, plan: Plan, longest_minutes: float) -> datetime:
    """Return when the execution has run for ``timeout_minutes``; time spent paused does not count."""
    execution = claim.execution
    if execution.deadline_at is None:
        return claim.now + timedelta(minutes=min(plan.template.timeout_minutes, longest_minutes))
    if execution.paused_at is not None:
        return execution.deadline_at + (claim.now - execution.paused_at)
    return execution.deadline_at


def _replaced(records: Iterable[StepRecord], resets: Iterable[StepRecord]) -> tuple[StepRecord, ...]:
    by_path = {record.step_path: record for record in records} | {
        record.step_path: record for record in resets
    }
    return tuple(by_path.values())


def _reopening(
    claim: Claim,
    retry: ControlRequest,
    *,
    resets: Sequence[StepRecord],
    version_id: UUID,
    plan: Plan,
    sequence: int,
) -> JournalEntry:
    by = f" by {retry.requested_by}" if retry.requested_by else ""
    start = f" from step {retry.from_step!r}" if retry.from_step else ""
    message = f"Retried{by}{start}: {len(resets)} steps run again"
    return JournalEntry(
        execution_id=claim.execution.id,
        fencing_token=claim.fencing_token,
        sequence=sequence,
        change=ExecutionChange(workflow_version_id=version_id, total_steps=plan.total_steps),
        steps=resets,
        log=(LogEntry(claim.now, "info", message, details={"version": plan.template.version}),),
        acknowledged=(retry.id,),
    )


def _refusal(claim: Claim, error: WorkflowError) -> JournalEntry:
    """Return the entry that fails an execution which cannot be advanced by anyone."""
    message = f"The execution cannot go on: {error.message}"
    return JournalEntry(
        execution_id=claim.execution.id,
        fencing_token=claim.fencing_token,
        sequence=claim.execution.journal_sequence + 1,
        change=ExecutionChange(status="failed", error_message=message, error_details=error.as_json()),
        log=(LogEntry(claim.now, "error", message, details={"code": error.code}),),
        acknowledged=tuple(request.id for request in claim.execution.control_requests),
        release=True,
    )
