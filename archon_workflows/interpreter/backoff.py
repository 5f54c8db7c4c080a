"""How long a step waits before its next attempt."""

from hashlib import sha256

from archon_workflows.model.steps import StepFields


def wait_seconds(step: StepFields, attempt: int, *, salt: str) -> float:
    """Return ``min(max_delay, delay * backoff^(attempt-1))``, with full jitter when asked for.

    Jitter is drawn from a hash of ``salt`` and the attempt instead of a random source: as spread out among
    executions as chance, and the same again when the history is replayed.
    """
    delay = step.retry_delay_seconds
    for _ in range(attempt - 1):
        delay = min(delay * step.retry_backoff, step.retry_max_delay_seconds)
    delay = min(delay, step.retry_max_delay_seconds)
    return delay * _fraction(f"{salt}#{attempt}") if step.retry_jitter else delay


def _fraction(text: str) -> float:
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") / 2**64
