"""The laws that no fault may break, each a function from a run's evidence to what breaks it.

They look at the history that the database kept of every write, and at the ledger of the tool server; both
have the clock of one machine, so that their times can be compared.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, zip_longest
from uuid import UUID

from catalogue import CATALOGUE, PLACES, SECRET_TRACES, Expectation
from evidence import Evidence, ExecutionWrite, Row, StepWrite, ToolCall
from writers import owner_pid, writer_pid

from archon_workflows.interpreter.steps.action import MAX_INTERRUPTIONS
from archon_workflows.model.records import TERMINAL_STATUSES

LOG_LIMIT = 600
"""Entries about steps are bounded by 500; what is said of the execution itself comes on top."""

IN_FLIGHT_SECONDS = 0.25
"""A request that was written before a cancellation may be read by the tool server so much later."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken law."""

    law: str
    subject: str
    what: str

    def __str__(self) -> str:
        return f"{self.law}: {self.subject}: {self.what}"


Broken = tuple[str, str]
Law = Callable[[Evidence], Iterator[Broken]]


def check(evidence: Evidence) -> list[Violation]:
    """Return everything that breaks a law."""
    return [Violation(name, *broken) for name, law in LAWS.items() for broken in law(evidence)]


def nothing_is_lost(evidence: Evidence) -> Iterator[Broken]:
    for submission in evidence.submissions:
        row = evidence.executions.get(submission.execution_id)
        if row is None:
            yield _named(submission.workflow, submission.execution_id), "was acknowledged and is not there"
        elif not evidence.ended(submission.execution_id):
            yield _named(submission.workflow, submission.execution_id), f"never ended: {row['status']}"
    keys = [row["idempotency_key"] for row in evidence.executions.values() if row["idempotency_key"]]
    for key in {key for key in keys if keys.count(key) > 1}:
        yield key, "names several executions"
    for row in evidence.executions.values():
        if row["parent_execution_id"] is not None and not evidence.ended(row["id"]):
            yield str(row["id"]), f"a child never ended: {row['status']}"


def executions_are_honest(evidence: Evidence) -> Iterator[Broken]:
    """Completed means that no failure was left unhandled; what came out is a function of what went in."""
    worn_out = _worn_out(evidence)
    for submission in evidence.submissions:
        row = evidence.executions.get(submission.execution_id)
        if row is None or not evidence.ended(submission.execution_id):
            continue
        if submission.execution_id in worn_out and row["status"] == "failed":
            continue
        expected = CATALOGUE[submission.workflow].expected(submission.n, submission.bias)
        name = _named(submission.workflow, submission.execution_id)
        steps = [step for step in evidence.steps if step["workflow_execution_id"] == submission.execution_id]
        for problem in (*_misjudged(row, expected), *_mislaid(row, steps, expected)):
            yield name, problem


def _worn_out(evidence: Evidence) -> set[UUID]:
    """Return the executions with a step whose owners died so often that it must fail."""
    return {
        evidence.executions[execution_id]["root_execution_id"]
        for (execution_id, _), writes in evidence.step_writes.items()
        if writes[-1].interruptions > MAX_INTERRUPTIONS and writes[-1].status == "failed"
    }


def _misjudged(row: Row, expected: Expectation) -> Iterator[str]:
    if row["status"] != expected.status:
        yield f"is {row['status']}, not {expected.status}: {row['error_message']}"
    elif expected.status == "completed" and row["output_data"] != expected.output:
        yield f"has the output {row['output_data']}, not {expected.output}"
    elif expected.code is not None and row["error_details"]["code"] != expected.code:
        yield f"failed with {row['error_details']}, not with {expected.code}"


def _mislaid(row: Row, steps: Sequence[Row], expected: Expectation) -> Iterator[str]:
    if row["status"] != "completed":
        return
    for step in steps:
        path, status = step["step_path"], step["status"]
        if status == "failed" and not step["failure_handled"]:
            yield f"completed over the unhandled failure of {path}"
        wanted = expected.not_completed.get(path, "completed")
        if "." not in path and status != wanted:
            yield f"completed with {path} {status}, not {wanted}"


def recorded_results_are_final(evidence: Evidence) -> Iterator[Broken]:
    """No call begins with a key whose result was recorded; no completed row is anything else again."""
    for subject, writes in evidence.step_writes.items():
        for before, after in pairwise(writes):
            if before.status == "completed" and (after.status, after.generation) != (
                before.status,
                before.generation,
            ):
                yield _step(subject), f"was completed and became {after.status}"
    calls = _calls_by_step(evidence)
    for subject, made in calls.items():
        recorded = _recorded_spans(evidence.step_writes.get(subject, ()))
        for call in made:
            for start, end in recorded.get(call.query, ()):
                if start < call.started < end and not _was_in_flight(evidence, call, start):
                    late = call.started - start
                    yield call.key, f"was called {late:.3f} s after its result was recorded (pid {call.pid})"


def _recorded_spans(writes: Sequence[StepWrite]) -> Mapping[str, list[tuple[float, float]]]:
    """Return from when to when each key's result was recorded; a retry of the execution ends a failure."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for write, following in zip_longest(writes, writes[1:]):
        if write.is_polled_result:
            spans.setdefault(write.query, []).append((write.at, float("inf")))
        elif write.is_final:
            end = float("inf") if following is None else following.at
            spans.setdefault(write.query, []).append((write.at, end))
    return spans


def _was_in_flight(evidence: Evidence, call: ToolCall, recorded_at: float) -> bool:
    """Whether the result is a cancellation, which may cross the request on its way."""
    statuses = [
        write.status
        for write in evidence.step_writes[call.execution_id, call.path]
        if write.at == recorded_at
    ]
    return statuses == ["failed"] and call.started - recorded_at < IN_FLIGHT_SECONDS


def intents_come_first(evidence: Evidence) -> Iterator[Broken]:
    """A call begins only after its start was recorded; so there are no more calls than recorded starts."""
    for subject, made in _calls_by_step(evidence).items():
        starts = _recorded_starts(evidence.step_writes.get(subject, ()))
        for number, call in enumerate(made, start=1):
            allowed = sum(at < call.started for at in starts)
            if number > allowed:
                yield call.key, f"was called {number} times when {allowed} starts were recorded"


def _recorded_starts(writes: Sequence[StepWrite]) -> list[float]:
    starts: list[float] = []
    interruptions = 0
    for write in writes:
        if write.status == "running" and write.old_status != "running":
            starts.append(write.at)
        if write.interruptions > interruptions:
            starts.append(write.at)
        interruptions = write.interruptions
    return starts


def attempts_are_counted(evidence: Evidence) -> Iterator[Broken]:
    """They stay within their maximum, and no crash sets them back."""
    for subject, writes in evidence.step_writes.items():
        for write in writes:
            if write.attempt_number > write.max_attempts:
                yield _step(subject), f"is at attempt {write.attempt_number} of {write.max_attempts}"
        for before, after in pairwise(writes):
            was_reset = before.is_final and after.status == "pending"
            polls_on = after.poll_number > before.poll_number
            if after.attempt_number < before.attempt_number and not (was_reset or polls_on):
                yield _step(subject), f"fell from attempt {before.attempt_number} to {after.attempt_number}"


def one_owner_writes(evidence: Evidence) -> Iterator[Broken]:
    """Every journal entry is its owner's and follows the one before; every claim finds no valid lease."""
    for execution_id, writes in evidence.execution_writes.items():
        for write in writes:
            for problem in (*_foreign(write), *_misclaimed(write), *_misleased(write, evidence)):
                yield str(execution_id), problem


def _foreign(write: ExecutionWrite) -> Iterator[str]:
    if write.old_journal_sequence in (None, write.journal_sequence):
        return
    if write.journal_sequence != (write.old_journal_sequence or 0) + 1:
        yield f"entry {write.journal_sequence} follows {write.old_journal_sequence}"
    if write.fencing_token != write.old_fencing_token:
        yield f"entry {write.journal_sequence} changed the fencing token"
    if write.old_owner_id is None or owner_pid(write.old_owner_id) != writer_pid(write.writer):
        yield f"entry {write.journal_sequence} of {write.old_owner_id} was written by {write.writer}"


def _misclaimed(write: ExecutionWrite) -> Iterator[str]:
    if write.old_fencing_token in (None, write.fencing_token):
        return
    if write.fencing_token != (write.old_fencing_token or 0) + 1:
        yield f"the fencing token went from {write.old_fencing_token} to {write.fencing_token}"
    if write.old_lease_expires_at is not None and write.old_lease_expires_at > write.at:
        left = write.old_lease_expires_at - write.at
        yield f"was claimed by {write.owner_id} when {write.old_owner_id} had {left:.3f} s of its lease left"


def _misleased(write: ExecutionWrite, evidence: Evidence) -> Iterator[str]:
    if write.lease_expires_at in (None, write.old_lease_expires_at):
        return
    seconds = (write.lease_expires_at or 0.0) - write.at
    if not evidence.lease_seconds / 2 < seconds <= evidence.lease_seconds:
        yield f"{write.writer} set a lease of {seconds:.3f} s; a lease has {evidence.lease_seconds:g} s"


def cancelled_stays_cancelled(evidence: Evidence) -> Iterator[Broken]:
    """A cancellation that was accepted is obeyed, and no step starts after it."""
    for execution_id in evidence.cancelled:
        row = evidence.executions.get(execution_id)
        if row is not None and row["status"] != "cancelled":
            yield str(execution_id), f"was to be cancelled and is {row['status']}"
    steps = _steps_by_execution(evidence)
    for execution_id, writes in evidence.execution_writes.items():
        at = next((write.at for write in reversed(writes) if write.status == "cancelled"), None)
        if at is None or evidence.executions[execution_id]["status"] != "cancelled":
            continue
        for step in steps.get(execution_id, ()):
            if any(write.at > at and write.status == "running" for write in step):
                yield _step((execution_id, step[0].step_path)), "started after the execution was cancelled"
        for call in evidence.calls:
            if call.execution_id == execution_id and call.started > at + IN_FLIGHT_SECONDS:
                yield call.key, f"was called {call.started - at:.3f} s after its execution was cancelled"


def progress_never_falls(evidence: Evidence) -> Iterator[Broken]:
    for execution_id, writes in evidence.execution_writes.items():
        for before, after in pairwise(writes):
            if after.progress_percentage < before.progress_percentage:
                fall = f"from {before.progress_percentage} to {after.progress_percentage}"
                yield str(execution_id), f"progress fell {fall}"
        for write in writes:
            if (write.progress_percentage == 100) != (write.status == "completed"):
                yield str(execution_id), f"has progress {write.progress_percentage} and is {write.status}"


def the_log_is_whole(evidence: Evidence) -> Iterator[Broken]:
    """It only grows, within its bound, and counts what it leaves out."""
    steps = _steps_by_execution(evidence)
    for execution_id, writes in evidence.execution_writes.items():
        if not all(write.log_only_grew for write in writes):
            yield str(execution_id), "a log entry was changed or removed"
        last = writes[-1]
        if last.log_length > LOG_LIMIT:
            yield str(execution_id), f"the log has {last.log_length} entries"
        said = sum(_sayings(step) for step in steps.get(execution_id, ()))
        if last.log_length + last.log_dropped_count < said:
            counted = f"{last.log_length} entries and {last.log_dropped_count} left out"
            yield str(execution_id), f"steps started and completed {said} times; the log has {counted}"


def _sayings(writes: Iterable[StepWrite]) -> int:
    """Return how often the log must have spoken of a step: each start, each completion."""
    return sum(
        write.old_status != write.status and write.status in ("running", "completed") for write in writes
    )


def versions_are_pinned(evidence: Evidence) -> Iterator[Broken]:
    pinned = {one.execution_id: one.version_id for one in evidence.submissions}
    for execution_id, writes in evidence.execution_writes.items():
        versions = {write.workflow_version_id for write in writes}
        if versions != {pinned.get(execution_id, writes[0].workflow_version_id)}:
            yield str(execution_id), f"was pinned to {pinned.get(execution_id)} and ran {versions}"


def secrets_are_hidden(evidence: Evidence) -> Iterator[Broken]:
    for place, text in {**evidence.text, "the workers' log": evidence.said}.items():
        found = sum(text.count(trace) for trace in SECRET_TRACES)
        if found:
            yield place, f"holds the secret {found} times"


def children_are_announced(evidence: Evidence) -> Iterator[Broken]:
    """A child is known to its parent before it exists; so there is one for each start of a link."""
    for row in evidence.executions.values():
        if row["parent_execution_id"] is None:
            continue
        subject = (row["parent_execution_id"], row["parent_step_path"])
        known = any(
            write.sub_workflow_execution_id == row["id"] and write.at < row["created_at"].timestamp() + 0.001
            for write in evidence.step_writes.get(subject, ())
        )
        if not known:
            yield _step(subject), f"started the child {row['id']}, which it had not recorded"


def limits_are_kept(evidence: Evidence) -> Iterator[Broken]:
    """Of a limited template no more executions are under way at any time than it has places."""
    for workflow, places in PLACES.items():
        changes = sorted(
            change
            for one in evidence.submissions
            if one.workflow == workflow
            for change in _spans_under_way(evidence.execution_writes.get(one.execution_id, ()))
        )
        for at, under_way in zip(
            (at for at, _ in changes), accumulate(change for _, change in changes), strict=True
        ):
            if under_way > places:
                yield workflow, f"had {under_way} executions under way at {at:.3f}; it has {places} places"


def _spans_under_way(writes: Sequence[ExecutionWrite]) -> Iterator[tuple[float, int]]:
    started = next((write.at for write in writes if write.status == "running"), None)
    if started is not None:
        yield started, 1
        yield from ((write.at, -1) for write in writes if write.status in TERMINAL_STATUSES)


LAWS: Mapping[str, Law] = {
    "nothing is lost": nothing_is_lost,
    "executions are honest": executions_are_honest,
    "recorded results are final": recorded_results_are_final,
    "intents come first": intents_come_first,
    "attempts are counted": attempts_are_counted,
    "one owner writes": one_owner_writes,
    "cancelled stays cancelled": cancelled_stays_cancelled,
    "progress never falls": progress_never_falls,
    "the log is whole": the_log_is_whole,
    "versions are pinned": versions_are_pinned,
    "secrets are hidden": secrets_are_hidden,
    "children are announced": children_are_announced,
    "limits are kept": limits_are_kept,
}


def _named(workflow: str, execution_id: UUID) -> str:
    return f"{workflow} {execution_id}"


def _step(subject: tuple[UUID, str]) -> str:
    return f"{subject[0]}/{subject[1]}"


def _steps_by_execution(evidence: Evidence) -> Mapping[UUID, list[Sequence[StepWrite]]]:
    steps: dict[UUID, list[Sequence[StepWrite]]] = {}
    for (execution_id, _), writes in evidence.step_writes.items():
        steps.setdefault(execution_id, []).append(writes)
    return steps


def _calls_by_step(evidence: Evidence) -> Mapping[tuple[UUID, str], list[ToolCall]]:
    calls: dict[tuple[UUID, str], list[ToolCall]] = {}
    for call in evidence.calls:
        calls.setdefault((call.execution_id, call.path), []).append(call)
    return calls
