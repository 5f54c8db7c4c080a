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
from archon_workflows.model.parameters import SHORTEST_SECRET
from archon_workflows.model.records import ExecutionChange, LogEntry, StepRecord

MASK = "***"

_BEGINNINGS_LOOKED_AT = 1_000
_ENDS = ("...", "\N{HORIZONTAL ELLIPSIS}")
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")


class Mask:
    """Replaces the given texts, plain and as they look escaped (JSON, Python), URL-encoded or in base64.

    In base64 a secret is found wherever it stands in the encoded text. What a message that was cut short
    left of a secret at its end is replaced too.

    Args:
        secrets: the texts to hide; with none of them every method returns what it was given.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        hidden = sorted({secret for secret in secrets if secret})
        self._forms = {form for secret in hidden for form in _forms(secret)}
        self._encoded = {form for secret in hidden for form in _inside_base64(secret)} - self._forms
        longest_first = sorted(self._forms | self._encoded, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def text(self, text: str) -> str:
        """Mask a text."""
        if self._pattern is None:
            return text
        return self._without_beginnings(self._without_whole(text, self._pattern))

    def _without_whole(self, text: str, pattern: re.Pattern[str]) -> str:
        parts: list[str] = []
        end = 0
        for match in pattern.finditer(text):
            start, stop = match.span()
            if match.group() in self._encoded:
                start, stop = _with_shared_letters(text, start, stop)
            if start > end or not parts:
                parts += (text[end:start], MASK)
            end = max(end, stop)
        return "".join([*parts, text[end:]]) if parts else text

    def _without_beginnings(self, text: str) -> str:
        for form in self._forms:
            beginning = form[:SHORTEST_SECRET]
            if beginning not in text:
                continue
            if text.count(beginning) > _BEGINNINGS_LOOKED_AT:
                text = text.replace(beginning, MASK)
            text = _without_beginning(text, form, beginning)
        return text

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


def _without_beginning(text: str, form: str, beginning: str) -> str:
    """Return the text without each beginning of ``form`` at which it ends or was cut short."""
    start = text.find(beginning)
    while start != -1:
        length = _shared_length(text, start, form)
        if start + length == len(text) or text.startswith(_ENDS, start + length):
            text = text[:start] + MASK + text[start + length :]
        start = text.find(beginning, start + 1)
    return text


def _shared_length(text: str, start: int, form: str) -> int:
    pairs = zip(text[start : start + len(form)], form, strict=False)
    return next(
        (index for index, (one, other) in enumerate(pairs) if one != other), min(len(form), len(text) - start)
    )


def _with_shared_letters(text: str, start: int, stop: int) -> tuple[int, int]:
    """Widen the place of an encoded secret by the letters that hold its first and last bits."""
    if start > 0 and text[start - 1] in _BASE64:
        start -= 1
    if stop < len(text) and text[stop] in _BASE64:
        stop += 1
    while stop < len(text) and text[stop] == "=":
        stop += 1
    return start, stop


def _forms(secret: str) -> Iterable[str]:
    yield secret
    yield repr(secret)[1:-1]
    for escaped in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        yield from (escaped, escaped.replace("/", "\\/"), json.dumps(escaped)[1:-1])
    for encoded in (quote(secret, safe=""), quote_plus(secret), quote(secret)):
        yield from (encoded, re.sub("%[0-9A-F]{2}", lambda match: match.group().lower(), encoded))


def _inside_base64(secret: str) -> Iterable[str]:
    """Yield the letters that the secret's own bits make up, for each place that it can have in a group."""
    content = secret.encode()
    for before in range(3):
        first, beyond = -(-before * 8 // 6), (before + len(content)) * 8 // 6
        letters = base64.b64encode(bytes(before) + content).decode()[first:beyond]
        yield from (letters, letters.replace("+", "-").replace("/", "_"), letters.replace("/", "\\/"))
