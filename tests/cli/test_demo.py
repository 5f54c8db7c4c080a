"""The demonstration: its documents, its tool server, and the whole of it in a home of its own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client import Client

from archon_workflows.cli.demo.surroundings import missing_parts, template_text, tool_servers
from archon_workflows.gateway.configuration import parse_tool_servers
from archon_workflows.model.parsing import parse_template
from archon_workflows.model.steps import STEP_TYPES

ROOT = Path(__file__).parents[2]
NAMES = [file.stem for file in (ROOT / "archon_workflows/cli/demo/templates").glob("*.json")]


def test_the_deployment_is_the_seed_documents_example_byte_for_byte() -> None:
    seed = (ROOT / "tests/cases/SEED.md").read_bytes()
    example = seed.split(b"## Example Workflow Template")[1].split(b"```json\n")[1].split(b"```")[0]
    assert template_text("vm_deployment") == example


@pytest.mark.parametrize("name", NAMES)
def test_every_packaged_template_is_valid_and_named_like_its_file(name: str) -> None:
    template = parse_template(json.loads(template_text(name))).template
    assert template is not None
    assert template.name == name


def test_the_report_uses_all_five_step_types() -> None:
    types = set(re.findall(rb'"type": "(\w+)"', template_text("repository_report")))
    assert {kind.encode() for kind in STEP_TYPES} <= types


def test_nothing_is_missing_where_the_tests_run() -> None:
    assert missing_parts() == []
    assert set(parse_tool_servers(tool_servers())) == {"git", "infrastructure", "time"}


def test_what_is_missing_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    [missing] = missing_parts()
    assert "git" in missing.what
    assert missing.advice
    assert set(tool_servers()["mcpServers"]) == {"infrastructure"}


async def test_the_infrastructure_fails_an_announcement_once_and_keeps_machines_by_name() -> None:
    server = tool_servers()["mcpServers"]["infrastructure"]
    async with Client(StdioServerParameters(**server)) as client:
        message = {"channel": "c", "message": "m", "reference": "r"}
        tries = [await client.call_tool("announce", message) for _ in range(2)]
        machine = {"name": "web-1", "template": "ubuntu-22.04"}
        made = [await client.call_tool("create_virtual_machine", machine) for _ in range(2)]
    assert [one.is_error for one in tries] == [True, False]
    ids = {structured(one)["vm_id"] for one in made}
    assert len(ids) == 1


def structured(result: Any) -> dict[str, Any]:
    return result.structured_content


def test_the_demonstration_runs_twice_in_a_home_with_nothing_in_it(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    home = tmp_path / "home"
    runs = [demonstration(environment | {"ARCHON_WORKFLOWS_HOME": str(home)}) for _ in range(2)]
    for run in runs:
        assert run.returncode == 0, run.stderr
        executions = json.loads(run.stdout)["executions"]
        assert [one["workflow_name"] for one in executions] == ["vm_deployment", "repository_report"]
        assert {one["status"] for one in executions} == {"completed"}
        assert {one["version_number"] for one in executions} == {1}
    listed = subprocess.run(
        [sys.executable, "-m", "archon_workflows", "executions", "--json"],
        env=environment | {"ARCHON_WORKFLOWS_HOME": str(home)},
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert json.loads(listed.stdout)["total"] == 8


def demonstration(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "archon_workflows", "demo", "--json"],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
