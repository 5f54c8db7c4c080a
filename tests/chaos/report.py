"""What a run came to, as the table that is printed at its end."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import median

from checker import IN_FLIGHT_SECONDS, Violation
from evidence import Evidence, ExecutionWrite, ToolCall
from writers import owner_pid

from archon_workflows.model.records import TERMINAL_STATUSES

GONE = (
    "worker killed",
    "server killed",
    "worker frozen beyond",
    "server frozen beyond",
    "kill at",
    "freeze at",
    "network away",
    "network silent",
)
"""How the names of those faults begin after which others must take over."""


def table(evidence: Evidence, violations: Sequence[Violation], seconds: float) -> str:
    """Return the table as text."""
    faults = Counter(fault.kind for fault in evidence.faults)
    tool_faults = Counter(fault.kind for fault in evidence.misbehaviours)
    laws = Counter(violation.law for violation in violations)
    rows: list[tuple[str, object]] = [
        ("seconds", f"{seconds:.0f}"),
        ("executions asked for", len(evidence.submissions)),
        ("executions, children included", len(evidence.executions)),
        *_statuses(evidence),
        ("faults", faults.total()),
        *((f"  {kind}", count) for kind, count in sorted(faults.items())),
        ("misbehaved tool calls", tool_faults.total()),
        *((f"  {kind}", count) for kind, count in sorted(tool_faults.items())),
        ("steps", len(evidence.steps)),
        ("tool calls", len(evidence.calls)),
        ("steps that were interrupted while they ran", _interruptions(evidence)),
        ("re-runs: calls made again because of it", _reruns(evidence)),
        ("calls that overlapped another one of their key", overlaps(evidence.calls)),
        ("doubles: calls after their result was recorded", laws["recorded results are final"]),
        ("losses", laws["nothing is lost"]),
        ("entries or claims of a second owner", laws["one owner writes"]),
        ("broken laws in all", len(violations)),
        *_take_over_rows(take_overs(evidence)),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


@dataclass(frozen=True, slots=True)
class TakeOver:
    """How long it took from what made an owner silent to the claim of another.

    Attributes:
        was_disturbed: further faults fell into that time.
    """

    seconds: float
    was_disturbed: bool


def take_overs(evidence: Evidence) -> list[TakeOver]:
    """Return the claims of executions whose owner was hit and gave no sign of life any more."""
    claims = [
        write
        for writes in evidence.execution_writes.values()
        for write in writes
        if write.old_lease_expires_at is not None and write.fencing_token != write.old_fencing_token
    ]
    return [found for claim in claims if (found := _take_over(evidence, claim)) is not None]


def _take_over(evidence: Evidence, claim: ExecutionWrite) -> TakeOver | None:
    assert claim.old_owner_id is not None
    assert claim.old_lease_expires_at is not None
    pid = owner_pid(claim.old_owner_id)
    last_sign = claim.old_lease_expires_at - evidence.lease_seconds - IN_FLIGHT_SECONDS
    hits = [
        fault.at
        for fault in evidence.faults
        if fault.kind.startswith(GONE) and fault.pid == pid and last_sign < fault.at < claim.at
    ]
    if not hits:
        return None
    others = [fault for fault in evidence.faults if min(hits) < fault.at < claim.at]
    return TakeOver(claim.at - min(hits), bool(others))


def overlaps(calls: Sequence[ToolCall]) -> int:
    """Return how many calls of one key were under way at two tool servers at once."""
    by_key: dict[str, list[ToolCall]] = {}
    for call in calls:
        by_key.setdefault(call.key, []).append(call)
    return sum(
        one.pid != other.pid and other.started < (one.ended or one.started)
        for same in by_key.values()
        for one, other in combinations(same, 2)
    )


def _statuses(evidence: Evidence) -> Iterable[tuple[str, object]]:
    counts = Counter(row["status"] for row in evidence.executions.values())
    return ((f"  {status}", counts[status]) for status in sorted({*counts, *TERMINAL_STATUSES}))


def _interruptions(evidence: Evidence) -> int:
    return sum(
        after.interruptions > before.interruptions
        for writes in evidence.step_writes.values()
        for before, after in pairwise(writes)
    )


def _reruns(evidence: Evidence) -> int:
    """Return how many calls there are beyond one for each start that was recorded."""
    calls = Counter((call.execution_id, call.path) for call in evidence.calls)
    starts = {
        subject: sum(write.status == "running" != write.old_status for write in writes)
        for subject, writes in evidence.step_writes.items()
    }
    return sum(max(0, count - starts.get(subject, 0)) for subject, count in calls.items())


def _take_over_rows(found: Sequence[TakeOver]) -> Iterable[tuple[str, object]]:
    yield "take-overs from workers that were hit", len(found)
    undisturbed = [one for one in found if not one.was_disturbed]
    for name, some in (("all", found), ("without another fault meanwhile", undisturbed)):
        if some:
            seconds = [one.seconds for one in some]
            yield f"  {name}: count, median, maximum (s)", _three(seconds)


def _three(seconds: Sequence[float]) -> str:
    return f"{len(seconds)}  {median(seconds):.2f}  {max(seconds):.2f}"
