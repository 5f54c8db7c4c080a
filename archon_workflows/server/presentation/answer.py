"""One answer of a tool, and the words that all answers share."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from mcp_types import CallToolResult, TextContent
from pydantic import Field
from typing_extensions import TypedDict

from archon_workflows.model.outcomes import JsonValue


class NextCall(TypedDict):
    """A call that leads on from here."""

    tool: str
    arguments: dict[str, Any]
    why: str


Next = Annotated[list[NextCall], Field(description="Calls that lead on from here, the likeliest first.")]


class PageFacts(TypedDict):
    """Which part of a list this is."""

    page: int
    page_size: int
    total: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool says: lines of text, and the same as a JSON object."""

    lines: Sequence[str]
    content: Mapping[str, Any]

    def as_result(self, *, is_error: bool = False) -> CallToolResult:
        """Return the answer as MCP carries it."""
        return CallToolResult(
            content=[TextContent(type="text", text="\n".join(self.lines))],
            structured_content=dict(self.content),
            is_error=is_error,
        )


def compact(value: JsonValue, limit: int) -> str:
    """Return the value as JSON on one line; beyond ``limit`` characters it is cut and the rest counted."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text) - limit:,} more characters)"


def size_of(value: JsonValue) -> int:
    """Return how many characters the value's compact JSON has."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def short(text: str, limit: int = 200) -> str:
    """Return the text on one line, cut at ``limit`` characters."""
    line = " ".join(text[: limit * 4].split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def moment(at: datetime) -> str:
    """Return a time in ISO 8601, UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def seconds_between(started_at: datetime | None, completed_at: datetime | None) -> float | None:
    """Return a duration in seconds, to the millisecond; ``None`` for what has not ended."""
    if started_at is None or completed_at is None:
        return None
    return round(max(0.0, (completed_at - started_at).total_seconds()), 3)


def call_lines(calls: Sequence[NextCall]) -> list[str]:
    """Return one line for each call: how it is written, and why."""
    return [f"next: {call['tool']}({_written(call['arguments'])}) - {call['why']}" for call in calls]


def page_line(facts: PageFacts, shown: int) -> list[str]:
    """Return the line that says which part of a list was shown, unless it is all of it."""
    if shown == facts["total"]:
        return []
    pages = -(-facts["total"] // facts["page_size"])
    return [f"page {facts['page']} of {pages}, {facts['total']} in all"]


def without_empty(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that say something: not null, no empty text, list or object."""
    return {name: value for name, value in members.items() if value is not None and not _is_empty(value)}


def _is_empty(value: object) -> bool:
    return isinstance(value, (str, list, tuple, dict)) and not cast("Sequence[object]", value)


def _written(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())
