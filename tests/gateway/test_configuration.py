"""The file format that MCP hosts share."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from archon_workflows.errors import ToolServerError
from archon_workflows.gateway.configuration import (
    HttpServer,
    StdioServer,
    parse_tool_servers,
    read_tool_servers,
)

ENVIRONMENT = {"TOKEN": "t0ken", "HOME": "/home/me"}


def parse(servers: Any) -> dict[str, Any]:
    return dict(parse_tool_servers({"mcpServers": servers}, ENVIRONMENT))


@pytest.mark.parametrize(
    ("entry", "server"),
    [
        ({"command": "uvx", "args": ["x"]}, StdioServer(command="uvx", args=["x"])),
        ({"type": "stdio", "command": "x"}, StdioServer(command="x")),
        (
            {"command": "x", "env": {"A": "${TOKEN}", "B": "${GONE:-b}"}, "cwd": "${HOME}/work"},
            StdioServer(command="x", env={"A": "t0ken", "B": "b"}, cwd="/home/me/work"),
        ),
        (
            {"command": "x", "args": ["${env:TOKEN}", "$HOME"]},
            StdioServer(command="x", args=["t0ken", "$HOME"]),
        ),
        ({"url": "https://a.example/mcp"}, HttpServer(url="https://a.example/mcp")),
        (
            {"url": "https://a.example/mcp", "type": "streamable-http"},
            HttpServer(url="https://a.example/mcp"),
        ),
        (
            {"url": "http://a.example/sse", "type": "sse", "headers": {"Authorization": "Bearer ${TOKEN}"}},
            HttpServer(
                url="http://a.example/sse", transport="sse", headers={"Authorization": "Bearer t0ken"}
            ),
        ),
    ],
)
def test_a_server_is_read(entry: dict[str, Any], server: object) -> None:
    assert parse({"name": entry}) == {"name": server}


@pytest.mark.parametrize(
    ("servers", "path", "words"),
    [
        ([], "/mcpServers", "object"),
        ({"a": 1}, "/mcpServers/a", "object"),
        ({"a": {}}, "/mcpServers/a", "neither 'command' nor 'url'"),
        ({"a": {"command": "x", "url": "http://x"}}, "/mcpServers/a", "both"),
        ({"a": {"command": ""}}, "/mcpServers/a/command", "at least 1"),
        ({"a": {"command": 5}}, "/mcpServers/a/command", "string"),
        ({"a": {"command": "x", "args": "y"}}, "/mcpServers/a/args", "list"),
        ({"a": {"command": "x", "args": [1]}}, "/mcpServers/a/args/0", "string"),
        ({"a": {"command": "x", "env": {"K": 1}}}, "/mcpServers/a/env/K", "string"),
        ({"a": {"command": "${GONE}"}}, "/mcpServers/a/command", "'GONE' is not set"),
        ({"a": {"url": "file:///etc/passwd"}}, "/mcpServers/a/url", "pattern"),
        ({"a": {"url": "http://x", "type": "htp"}}, "/mcpServers/a/type", "unknown type"),
        ({"a/b": {"command": "x"}}, "/mcpServers/a~1b", "without '/'"),
    ],
)
def test_a_mistake_is_named_with_its_pointer(servers: Any, path: str, words: str) -> None:
    with pytest.raises(ToolServerError) as caught:
        parse(servers)
    assert caught.value.code == "invalid_tool_configuration"
    assert caught.value.path == path
    assert words in caught.value.message


def test_a_mistake_never_shows_a_secret() -> None:
    with pytest.raises(ToolServerError) as caught:
        parse({"a": {"url": "http://x", "headers": {"Authorization": ["${TOKEN}"]}}})
    assert "t0ken" not in json.dumps(caught.value.as_json())


def test_disabled_servers_are_left_out_and_their_variables_not_needed() -> None:
    assert parse({"a": {"command": "${GONE}", "disabled": True}}) == {}


def test_keys_of_other_hosts_are_warned_of_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert parse({"a": {"command": "x", "autoApprove": []}}) == {"a": StdioServer(command="x")}
    assert "autoApprove" in caplog.text


def test_the_section_of_another_host_is_understood() -> None:
    assert parse_tool_servers({"servers": {"a": {"command": "x"}}}, {}) == {"a": StdioServer(command="x")}


def test_a_document_without_servers_says_what_to_write() -> None:
    with pytest.raises(ToolServerError) as caught:
        parse_tool_servers({"mcpservers": {}}, {})
    assert "Did you mean 'mcpServers'?" in (caught.value.suggestion or "")


@pytest.mark.parametrize("text", ["{", '{"mcpServers": {}, "mcpServers": {}}', "\ufeff{}"])
def test_a_file_that_is_no_json_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tools.json"
    file.write_text(text)
    with pytest.raises(ToolServerError) as caught:
        read_tool_servers(file, {})
    assert "tools.json" in caught.value.message


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ToolServerError, match=r"absent\.json"):
        read_tool_servers(tmp_path / "absent.json", {})
