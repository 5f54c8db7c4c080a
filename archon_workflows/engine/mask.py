"""Secrets out of everything that is recorded: each occurrence becomes ``***``."""

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import quote, quote_plus

from archon_workflows.expressions.values import is_list, is_object
from archon_workflows.interpreter import Turn
from archon_workflows.model.outcomes import Failed, JsonValue, Outcome, StepError, Succeeded, Unknown
from archon_workflows.model.records import ExecutionChange, LogEntry, StepRecord

MASK = "***"


class Mask:
    """Replaces the given texts, plain and as they look JSON-escaped, URL-encoded or in base64.

    Args:
        secrets: the texts to hide; with none of them every method returns what it was given.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def text(self, text: str) -> str:
        """Mask a text."""
        return self._pattern.sub(MASK, text) if self._pattern is not None else text

    def value(self, value: JsonValue) -> JsonValue:
        """Mask every text and key inside a JSON value."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if is_object(value):
            return {self.text(key): self.value(inner) for key, inner in value.items()}
        if is_list(value):
            return [self.value(inner) for inner in value]
        return value

    def hides(self, value: JsonValue) -> bool:
        """Whether a secret stands anywhere in the value."""
        return bool(self.value(value) != value)

    def outcome(self, outcome: Outcome) -> Outcome:
        """Mask what a tool answered, its echo of the secret included."""
        if self._pattern is None:
            return outcome
        match outcome:
            case Succeeded():
                return Succeeded(self.value(outcome.output), self.value(outcome.result))
            case Failed():
                return Failed(self.error(outcome.error), self.value(outcome.result))
            case Unknown():
                return Unknown(self.error(outcome.error))

    def error(self, error: StepError) -> StepError:
        """Mask an error's words."""
        return StepError(error.code, self.text(error.message), self.value(error.details))

    def turn(self, turn: Turn) -> None:
        """Mask what a turn is about to record; its commands keep the clear values."""
        if self._pattern is None:
            return
        turn.steps = {path: self._step(record) for path, record in turn.steps.items()}
        turn.log = [self._entry(entry) for entry in turn.log]
        turn.change = self._change(turn.change)

    def _step(self, record: StepRecord) -> StepRecord:
        return replace(
            record,
            input_data=self.value(record.input_data),
            output_data=self.value(record.output_data),
            tool_parameters=self.value(record.tool_parameters),
            tool_result=self.value(record.tool_result),
            context_updates=self.value(record.context_updates),
            error_message=self.value(record.error_message),
            error_details=self.value(record.error_details),
            progress=self.value(record.progress),
        )

    def _entry(self, entry: LogEntry) -> LogEntry:
        return replace(entry, message=self.text(entry.message), details=self.value(entry.details))

    def _change(self, change: ExecutionChange) -> ExecutionChange:
        return replace(
            change,
            execution_context=self.value(change.execution_context),
            output_data=self.value(change.output_data),
            error_message=self.value(change.error_message),
            error_details=self.value(change.error_details),
        )


def _forms(secret: str) -> Iterable[str]:
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield quote(secret, safe="")
    yield quote_plus(secret)
    encoded = secret.encode()
    yield base64.b64encode(encoded).decode().rstrip("=")
    yield base64.urlsafe_b64encode(encoded).decode().rstrip("=")
