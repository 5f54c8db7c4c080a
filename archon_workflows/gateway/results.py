"""What a tool answered, as an outcome: its output for expressions, and the raw result for the record."""

from collections.abc import Mapping
from typing import Any, cast

from archon_workflows.gateway.faults import says_rate_limited
from archon_workflows.gateway.port import ToolEntry
from archon_workflows.gateway.schemas import SchemaCheck
from archon_workflows.model.json_values import InvalidJson, normalise, parse_json, shown
from archon_workflows.model.outcomes import Failed, JsonValue, Outcome, StepError, Succeeded

REPLACED_KEY = "archon-workflows/replaced"
"""Where the ``_meta`` of a recorded result lists what the normaliser had to replace in it."""

_MESSAGE_CHARACTERS = 4_000
_COMPLETE = "complete"
_INPUT_REQUIRED = "input_required"


def read_result(tool: ToolEntry, raw: Mapping[str, Any], check: SchemaCheck | None) -> Outcome:
    """Turn a ``tools/call`` result into an outcome.

    Args:
        tool: that was called.
        raw: the result as it came, already of the shape that the protocol asks for.
        check: of the tool's output schema, if it has one.
    """
    kind = raw.get("resultType", _COMPLETE)
    if kind != _COMPLETE:
        return _unfinished(tool, kind)
    try:
        result = _normalised(raw)
    except InvalidJson as error:
        message = f"The tool {tool.address!r} answered with something that cannot be stored. {error.message}"
        return Failed(StepError("invalid_result", message, {"tool": tool.address, "path": error.path or ""}))
    if result.get("isError") is True:
        return _tool_error(tool, result)
    return _schema_violation(tool, result, check) or Succeeded(_output(result), result)


def _normalised(raw: Mapping[str, Any]) -> dict[str, JsonValue]:
    normalised = normalise(dict(raw), "replace")
    result = cast("dict[str, JsonValue]", normalised.value)
    if not normalised.changes:
        return result
    meta = cast("dict[str, JsonValue]", result.get("_meta") or {})
    replaced = [{"path": change.path, "what": change.what} for change in normalised.changes]
    return {**result, "_meta": {**meta, REPLACED_KEY: replaced}}


def _output(result: Mapping[str, JsonValue]) -> JsonValue:
    structured = result.get("structuredContent")
    if isinstance(structured, dict):
        members = cast("dict[str, JsonValue]", structured)
        return members["result"] if members.keys() == {"result"} else members
    if structured is not None:
        return structured
    blocks = cast("list[dict[str, JsonValue]]", result.get("content") or [])
    outputs = [_block_output(block) for block in blocks]
    return outputs[0] if len(outputs) == 1 else (outputs or None)


def _block_output(block: Mapping[str, JsonValue]) -> JsonValue:
    if block.get("type") != "text":
        return dict(block)
    return _decoded(str(block.get("text", "")))


def _decoded(text: str) -> JsonValue:
    """Decode text that is one JSON object or array and means one thing only; else it stays text."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return normalise(parse_json(text), "replace").value
    except InvalidJson:
        return text


def _tool_error(tool: ToolEntry, result: dict[str, JsonValue]) -> Failed:
    text = "\n".join(
        str(block.get("text"))
        for block in cast("list[dict[str, JsonValue]]", result.get("content") or [])
        if block.get("type") == "text"
    )
    said = text[:_MESSAGE_CHARACTERS] or shown(result.get("structuredContent"))
    code = "rate_limited" if says_rate_limited(text) else "tool_error"
    message = f"The tool {tool.address!r} failed: {said}"
    return Failed(StepError(code, message, {"tool": tool.address}), result)


def _schema_violation(
    tool: ToolEntry, result: dict[str, JsonValue], check: SchemaCheck | None
) -> Failed | None:
    if check is None:
        return None
    if "structuredContent" not in result:
        problem, path = "it has an output schema but gave no structured content", ""
    else:
        mismatches = check.mismatches(result["structuredContent"])
        if not mismatches:
            return None
        problem, path = mismatches[0].message, mismatches[0].path
    message = f"The tool {tool.address!r} did not keep to its output schema at {path or '/'}: {problem}."
    return Failed(StepError("schema_violation", message, {"tool": tool.address, "path": path}), result)


def _unfinished(tool: ToolEntry, kind: Any) -> Failed:
    if kind == _INPUT_REQUIRED:
        message = (
            f"The tool {tool.address!r} asks for input from a person or a model, which a workflow cannot "
            "give. Give it everything in its arguments, or put an approval before the step."
        )
        return Failed(StepError("input_required", message, {"tool": tool.address}))
    message = f"The tool {tool.address!r} answered with a result of the unknown type {shown(kind)}."
    return Failed(StepError("protocol_error", message, {"tool": tool.address}))
