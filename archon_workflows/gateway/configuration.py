"""The tool servers that someone configured, in the file format that MCP hosts share.

``{"mcpServers": {name: {command, args, env, cwd} | {url, headers, type}}}``; nothing is started here.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, StringConstraints, ValidationError

from archon_workflows.errors import ToolServerError, did_you_mean
from archon_workflows.model.json_values import InvalidJson, parse_json, pointer_token, shown
from archon_workflows.model.outcomes import JsonValue

logger = logging.getLogger(__name__)

_SECTIONS = ("mcpServers", "servers")
_VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SERVER_NAME = re.compile(r"[^\x00-\x20/\x7f]{1,64}")
_HTTP_URL = r"^https?://[^\s]+$"
_FILE_LIMIT_BYTES = 1_048_576

Text = Annotated[str, StringConstraints(max_length=32_768, pattern=r"^[^\x00]*$")]


class StdioServer(BaseModel):
    """A tool server that is started as a process; ``env`` is all it gets beside a short safe list.

    Attributes:
        max_calls: how many calls it gets at a time; ``None`` is the gateway's own limit.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    command: Annotated[Text, StringConstraints(min_length=1)]
    args: list[Text] = Field(default_factory=list[str])
    env: dict[Text, Text] = Field(default_factory=dict[str, str])
    cwd: Text | None = None
    max_calls: PositiveInt | None = None

    @property
    def transport(self) -> Literal["stdio"]:
        """The name of the transport."""
        return "stdio"


class HttpServer(BaseModel):
    """A tool server that is reached over streamable HTTP, or over HTTP with SSE; ``max_calls`` as above."""

    model_config = ConfigDict(frozen=True, strict=True)

    url: Annotated[Text, StringConstraints(pattern=_HTTP_URL)]
    headers: dict[Text, Text] = Field(default_factory=dict[str, str])
    max_calls: PositiveInt | None = None
    transport: Literal["streamable-http", "sse"] = "streamable-http"


ToolServerConfiguration = StdioServer | HttpServer

_TRANSPORTS: Mapping[str, Literal["stdio", "streamable-http", "sse"]] = {
    "stdio": "stdio",
    "local": "stdio",
    "http": "streamable-http",
    "streamable-http": "streamable-http",
    "streamable_http": "streamable-http",
    "streamableHttp": "streamable-http",
    "sse": "sse",
}


def read_tool_servers(
    path: Path, environment: Mapping[str, str] = os.environ
) -> dict[str, ToolServerConfiguration]:
    """Read a configuration file.

    Raises:
        ToolServerError: ``invalid_tool_configuration``, with the file, the JSON pointer and what to do.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _wrong(f"The tool server file {str(path)!r} cannot be read: {error.strerror}.", "") from error
    if len(text) > _FILE_LIMIT_BYTES:
        raise _wrong(f"The tool server file {str(path)!r} is larger than {_FILE_LIMIT_BYTES:,} bytes.", "")
    try:
        document = parse_json(text)
    except InvalidJson as error:
        raise _wrong(f"In {str(path)!r}: {error.message}", error.path or "", error.suggestion) from error
    return parse_tool_servers(document, environment)


def parse_tool_servers(
    document: JsonValue, environment: Mapping[str, str] = os.environ
) -> dict[str, ToolServerConfiguration]:
    """Parse a configuration; servers with ``disabled: true`` are left out, unknown keys only warned of.

    Args:
        document: the parsed file.
        environment: where ``${VAR}`` and ``${VAR:-default}`` come from.

    Raises:
        ToolServerError: ``invalid_tool_configuration`` with the JSON pointer; a variable that is not set
            is named.
    """
    section, servers = _section_of(document)
    configured: dict[str, ToolServerConfiguration] = {}
    for name, entry in servers.items():
        path = pointer_token(section) + pointer_token(name)
        if not _SERVER_NAME.fullmatch(name):
            raise _wrong(
                f"The tool server name {shown(name)} must be 1 to 64 characters without '/' or spaces.", path
            )
        if not isinstance(entry, dict):
            raise _wrong(f"The tool server {name!r} must be an object, not {shown(entry)}.", path)
        fields = cast("dict[str, JsonValue]", entry)
        if fields.get("disabled") is not True:
            configured[name] = _server(name, fields, path, environment)
    return configured


def _section_of(document: JsonValue) -> tuple[str, dict[str, JsonValue]]:
    if not isinstance(document, dict):
        raise _wrong(f"The configuration must be an object, not {shown(document)}.", "", _example())
    sections = cast("dict[str, JsonValue]", document)
    section = next((key for key in _SECTIONS if key in sections), None)
    if section is None:
        hint = did_you_mean(next(iter(sections), ""), _SECTIONS, noun="key")
        raise _wrong("The configuration has no 'mcpServers'.", "", f"{hint} {_example()}")
    servers = sections[section]
    if not isinstance(servers, dict):
        raise _wrong(
            f"{section!r} must be an object of tool servers by name.", pointer_token(section), _example()
        )
    return section, cast("dict[str, JsonValue]", servers)


def _server(
    name: str, fields: dict[str, JsonValue], path: str, environment: Mapping[str, str]
) -> ToolServerConfiguration:
    transport = _transport_of(name, fields, path)
    given = cast("dict[str, Any]", _expanded({**fields}, path, environment))
    model: type[ToolServerConfiguration] = StdioServer if transport == "stdio" else HttpServer
    known = {key: given[key] for key in model.model_fields if key in given and key != "transport"}
    _warn_of_unknown(name, set(given) - set(model.model_fields) - {"type", "transport", "disabled"})
    if transport != "stdio":
        known["transport"] = transport
    try:
        return model.model_validate(known)
    except ValidationError as error:
        raise _shape_error(name, error, path) from error


def _transport_of(
    name: str, fields: dict[str, JsonValue], path: str
) -> Literal["stdio", "streamable-http", "sse"]:
    key = "type" if "type" in fields else "transport"
    if key in fields:
        given = fields[key]
        if not isinstance(given, str) or given not in _TRANSPORTS:
            hint = did_you_mean(str(given), sorted(_TRANSPORTS), noun="transport")
            raise _wrong(
                f"The tool server {name!r} has the unknown {key} {shown(given)}.",
                path + pointer_token(key),
                hint,
            )
        return _TRANSPORTS[given]
    if ("command" in fields) == ("url" in fields):
        problem = "both 'command' and 'url'" if "url" in fields else "neither 'command' nor 'url'"
        raise _wrong(f"The tool server {name!r} has {problem}.", path, _example())
    return "stdio" if "command" in fields else "streamable-http"


def _expanded(value: JsonValue, path: str, environment: Mapping[str, str]) -> JsonValue:
    if isinstance(value, str):
        return "".join(_parts(value, path, environment))
    if isinstance(value, list):
        items = cast("list[JsonValue]", value)
        return [_expanded(one, f"{path}/{index}", environment) for index, one in enumerate(items)]
    if isinstance(value, dict):
        fields = cast("dict[str, JsonValue]", value)
        return {key: _expanded(one, path + pointer_token(key), environment) for key, one in fields.items()}
    return value


def _parts(text: str, path: str, environment: Mapping[str, str]) -> Iterator[str]:
    end = 0
    for match in _VARIABLE.finditer(text):
        yield text[end : match.start()]
        variable = str(match[1])
        default: str | None = match[2]
        found = environment.get(variable, default)
        if found is None:
            suggestion = f"Set {variable}, or give a default: ${{{variable}:-...}}."
            raise _wrong(f"The environment variable {variable!r} is not set.", path, suggestion)
        yield found
        end = match.end()
    yield text[end:]


def _warn_of_unknown(name: str, keys: set[str]) -> None:
    if keys:
        logger.warning("Tool server %r: ignoring unknown keys %s", name, ", ".join(sorted(keys)))


def _shape_error(name: str, error: ValidationError, path: str) -> ToolServerError:
    first = error.errors(include_url=False, include_input=False)[0]
    where = path + "".join(pointer_token(part) for part in first["loc"])
    return _wrong(f"The tool server {name!r} is not right at {where}: {first['msg']}.", where, _example())


def _example() -> str:
    return (
        'Write {"mcpServers": {"NAME": {"command": "...", "args": []}}} or '
        '{"mcpServers": {"NAME": {"type": "http", "url": "https://..."}}}.'
    )


def _wrong(message: str, path: str, suggestion: str | None = None) -> ToolServerError:
    return ToolServerError(message, code="invalid_tool_configuration", path=path, suggestion=suggestion)
