"""What became of a tool call or a step: data, never an exception."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JsonValue = Any
"""A JSON value as the normaliser leaves it: dict, list, str, int, float, bool or None."""

NEVER_RETRIED = frozenset(
    {
        "ambiguous_tool",
        "approval_timeout",
        "cancelled",
        "collection_invalid",
        "expression_error",
        "invalid_arguments",
        "invalid_parameters",
        "link_too_deep",
        "payload_too_large",
        "rejected",
        "too_many_calls",
        "too_many_iterations",
        "too_many_steps",
        "too_many_visits",
        "too_much_output",
        "tool_changed",
        "tool_not_allowed",
        "unknown_tool",
        "workflow_not_found",
        "workflow_not_runnable",
    }
)
"""Codes of failures that trying again cannot mend."""


@dataclass(frozen=True, slots=True)
class StepError:
    """Why a step failed.

    Attributes:
        code: stable snake_case code (``tool_error``, ``timeout``, ``connection``, ``rate_limited``, ...).
        message: one or two sentences with the value and what to do.
        details: further facts: JSON pointer, candidates, the cause's own error, the tool's error object.
    """

    code: str
    message: str
    details: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])

    def as_json(self) -> dict[str, JsonValue]:
        """Return ``{code, message, details?}``."""
        letter: dict[str, JsonValue] = {"code": self.code, "message": self.message}
        if self.details:
            letter["details"] = dict(self.details)
        return letter

    @classmethod
    def from_json(cls, letter: Mapping[str, JsonValue]) -> "StepError":
        """Read back what ``as_json`` wrote; other keys are ignored."""
        return cls(str(letter["code"]), str(letter["message"]), dict(letter.get("details") or {}))


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The tool answered. ``output`` is what expressions see, ``result`` the raw ``tools/call`` result."""

    output: JsonValue
    result: JsonValue = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The call did not take place or the tool said that it failed."""

    error: StepError
    result: JsonValue = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The call was sent and no answer came (time-out, lost connection): the effect may have happened."""

    error: StepError


Outcome = Succeeded | Failed | Unknown
