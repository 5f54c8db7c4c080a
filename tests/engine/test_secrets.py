"""A secret is where it is needed and nowhere else: traced through every path, and looked for everywhere.

Real processes, with the log at its most talkative; a tool that gives away what it is told, in every dress.
"""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from leaky import dresses
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from pydantic import SecretStr

from archon_workflows.bootstrap import open_application
from archon_workflows.engine.secret_source import read_secrets
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.errors import InvalidParameters, WorkflowError
from archon_workflows.settings import Settings
from archon_workflows.storage.sessions import SessionLimits, open_session

ROOT = Path(__file__).parents[2]
SECRETS = {
    "of the environment": 'sk-live"7421/ü+\\one',
    "of the file": "file-secret/9931+zwei",
    "of a parameter": "pärameter\"secret\\drei'4",
}
API_KEY, FILE_KEY, TOKEN = SECRETS.values()

TABLES = ("templates", "template_versions", "executions", "step_executions", "workers", "schedules")


def leaking(name: str, secret: str, how: str = "output", **fields: Any) -> dict[str, Any]:
    parameters = {"secret": "{{ " + secret + " }}", "how": how}
    return {"name": name, "type": "action", "tool_name": "leak", "parameters": parameters, **fields}


OF_PARAMETER = "workflow.parameters.token"
PARAMETERS = {"token": {"type": "string", "secret": True, "required": True}}
TEMPLATES: list[dict[str, Any]] = [
    {"name": "child", "parameters": PARAMETERS, "steps": [leaking("inside", OF_PARAMETER)]},
    {
        "name": "succeeding",
        "parameters": PARAMETERS,
        "steps": [
            leaking("environment", "secrets.API_KEY", set_context={"kept": "{{ output.said }}"}),
            leaking("file", "secrets.FILE_KEY"),
            leaking("parameter", OF_PARAMETER),
            {
                "name": "link",
                "type": "workflow_link",
                "workflow_name": "child",
                "parameters": {"token": "{{ " + OF_PARAMETER + " }}"},
            },
            {
                "name": "mixed",
                "type": "action",
                "tool_name": "leak",
                "parameters": {"secret": "{{ secrets.API_KEY }}{{ " + OF_PARAMETER + " }}"},
            },
        ],
    },
    {
        "name": "failing",
        "parameters": PARAMETERS,
        "steps": [
            leaking("again", "secrets.API_KEY", "error", retry_count=1, retry_delay_seconds=0,
                    on_failure="continue"),
            leaking("died", "secrets.FILE_KEY", "die", on_failure="continue"),
            {"name": "refused", "type": "action", "tool_name": "strict", "on_failure": "continue",
             "parameters": {"secret": "{{ secrets.API_KEY }}"}},
            {"name": "wrong", "type": "action", "tool_name": "leak", "on_failure": "continue",
             "parameters": {"secret": "{{ " + OF_PARAMETER + " + 1 }}"}},
            leaking("last", OF_PARAMETER, "error"),
        ],
    },
    {"name": "holding", "parameters": PARAMETERS, "steps": [leaking("held", OF_PARAMETER, "hold")]},
]  # fmt: skip


class Trail:
    """Everything that anybody could read afterwards."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.texts: dict[str, str] = {}
        self._database_url = database_url
        secrets_file = folder / "secrets.json"
        secrets_file.write_text(json.dumps({"FILE_KEY": FILE_KEY}))
        secrets_file.chmod(0o600)
        leaky = {"command": sys.executable, "args": [str(ROOT / "tests/tool_servers/leaky.py"), str(folder)]}
        tools = folder / "tools.json"
        tools.write_text(json.dumps({"mcpServers": {"leaky": leaky}}))
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "API_KEY": API_KEY,
            "ARCHON_WORKFLOWS_DATABASE_URL": database_url,
            "ARCHON_WORKFLOWS_HOME": str(folder / "home"),
            "ARCHON_WORKFLOWS_TOOLS": str(tools),
            "ARCHON_WORKFLOWS_SECRETS": "API_KEY",
            "ARCHON_WORKFLOWS_SECRETS_FILE": str(secrets_file),
            "ARCHON_WORKFLOWS_LEASE_SECONDS": "0.5",
            "ARCHON_WORKFLOWS_LOG_LEVEL": "debug",
        }

    def start(self, *arguments: str, **pipes: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "archon_workflows", *arguments]
        return subprocess.Popen(command, env=self.environment, text=True, **pipes)

    def command(self, *arguments: str, given: Any = None) -> str:
        """Run a command of the CLI to its end; keep what it wrote."""
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with self.start(*arguments, **pipes) as process:
            out, err = process.communicate(json.dumps(given) if given is not None else "", timeout=60)
        name = f"{len(self.texts)} {' '.join(arguments)}"
        self.texts |= {f"{name} stdout": out, f"{name} stderr": err}
        return out

    def keep(self, name: str, value: Any) -> None:
        self.texts[f"{len(self.texts)} {name}"] = value if isinstance(value, str) else str(value)

    async def keep_tables(self) -> None:
        session = await open_session(self._database_url, SessionLimits())
        try:
            for table in TABLES:
                rows = await session.fetch(f"select t::text as line from public.archon_workflow_{table} t")  # noqa: S608 - a fixed list of names
                self.texts[table] = "\n".join(row["line"] for row in rows)
        finally:
            session.terminate()


def needles(secret: str) -> Mapping[str, str]:
    """Return what must be found nowhere; of base64 the letters that are the secret's alone."""
    plain = dresses(secret)
    shown = {name: text for name, text in plain.items() if not name.startswith(("base64", "json"))}
    escaped = json.dumps(secret)[1:-1]
    inner: dict[str, str] = {}
    for before in range(3):
        letters = base64.b64encode(b"x" * before + secret.encode()).decode()
        inner[f"base64 at {before}"] = letters[4:-4]
    return {**shown, "json": escaped, "json in json": json.dumps(escaped)[1:-1], **inner}


def found(texts: Mapping[str, str]) -> list[str]:
    return [
        f"the secret {which}, {dress}, in {place}"
        for which, secret in SECRETS.items()
        for dress, needle in needles(secret).items()
        for place, text in texts.items()
        if needle in text
    ]


async def test_a_secret_is_found_in_no_row_log_answer_or_output(tmp_path: Path, database_url: str) -> None:
    trail = Trail(tmp_path, database_url)
    given = {"token": TOKEN}
    for template in TEMPLATES:
        file = tmp_path / f"{template['name']}.json"
        file.write_text(json.dumps(template))
        trail.command("templates", "save", str(file))

    ids = [
        json.loads(trail.command("run", name, "--params", "-", "--json", given=given))
        for name in ("succeeding", "failing")
    ]
    statuses = [one["status"] for one in ids]
    trail.command("run", "succeeding", "--params", "-", given=given)
    await killed_and_taken_over(trail, given)

    with (tmp_path / "serve.stderr").open("w+") as errors:
        parameters = StdioServerParameters(
            command=sys.executable, args=["-m", "archon_workflows", "serve"], env=trail.environment
        )
        async with Client(stdio_client(parameters, errlog=errors)) as client:
            await ask_everything(trail, client, given)
        errors.seek(0)
        trail.keep("serve stderr", errors.read())
    for one in ids:
        execution_id = str(one.get("id") or one.get("execution_id"))
        for further in (["--log"], ["--log", "--json"]):
            trail.command("show", execution_id, *further)
        if one["status"] == "failed":
            trail.command("control", execution_id, "retry", "--follow")
    for words in (["executions"], ["executions", "--json"], ["tools", "--json"], ["doctor"]):
        trail.command(*words)
    await trail.keep_tables()
    trail.keep("the metas of the calls", (tmp_path / "metas").read_text())

    assert statuses == ["completed", "failed"]
    assert trail.texts["step_executions"].count("***") > 50
    assert "$sealed" in trail.texts["executions"]
    assert trail.texts["executions"].count("completed") >= 4
    assert found(trail.texts) == []


async def killed_and_taken_over(trail: Trail, given: dict[str, str]) -> None:
    with (trail.folder / "killed").open("w+") as output:
        process = trail.start("run", "holding", "--params", "-", stdin=subprocess.PIPE, stdout=output,
                              stderr=output)  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps(given))
        process.stdin.close()
        patience = time.monotonic() + 30
        while not (trail.folder / "held").exists():
            assert time.monotonic() < patience
            time.sleep(0.02)  # noqa: ASYNC251 - another process makes the file, and nothing else goes on here
        process.send_signal(signal.SIGKILL)
        process.wait()
        output.seek(0)
        trail.keep("the killed process", output.read())


async def ask_everything(trail: Trail, client: Client, given: dict[str, str]) -> None:
    async def heard(progress: float, total: float | None, message: str | None) -> None:
        trail.keep(f"progress {progress} of {total}", message or "")

    async def call(tool: str, **arguments: Any) -> dict[str, Any]:
        result = await client.call_tool(tool, arguments, progress_callback=heard)
        trail.keep(tool, result.model_dump_json())
        return result.structured_content or {}

    await call("run_workflow", workflow="succeeding", parameters=given, mode="dry_run")
    await call("run_workflow", workflow="failing", parameters=given, mode="preview")
    await call("run_workflow", workflow="succeeding", parameters={**given, "unknown": 1})
    await call("run_workflow", workflow="succeeding", parameters=given)
    await call("run_workflow", workflow="failing", parameters=given)
    listed = await call("get_execution")
    await call("get_execution", workflow="holding", wait_seconds=20)
    for one in listed["executions"]:
        include = ["steps", "log", "input", "output", "tool_results"]
        await call("get_execution", execution_id=one["execution_id"], include=include, wait_seconds=20)
        resource = await client.read_resource(f"workflow://executions/{one['execution_id']}")
        trail.keep("resource", resource.model_dump_json())
    await call("manage_workflow_template", action="get", name="succeeding")


# -- where they come from ------------------------------------------------------------------------


def secrets_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "secrets"
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    "text",
    ['{"A": "first-secret", "B": "second # secret"}', "# mine\nA=first-secret\nexport B='second # secret'\n"],
)
def test_a_file_names_secrets_as_json_or_as_lines_and_the_environment_counts_first(
    tmp_path: Path, text: str
) -> None:
    file = secrets_file(tmp_path, text)
    assert read_secrets((), file, {"A": "ignored"}) == {"A": "first-secret", "B": "second # secret"}
    assert read_secrets(("A", "C"), file, {"A": "listed"})["A"] == "listed"


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ('{"A": "s3cret-value"}', 0o640, "mode 640"),
        ('{"A": "s3cret-value"}', 0o604, "mode 604"),
        ('{"A": 12345}', 0o600, "no text for 'A'"),
        ('{"A": "s3cret-value"', 0o600, "no JSON"),
        ('{"A": "s3cret-value", "A": "s3cret-value"}', 0o600, "no JSON"),
        ('{"a b": "s3cret-value"}', 0o600, "identifier"),
        ("A", 0o600, "no text for 'A'"),
    ],
)
def test_a_file_that_is_wrong_or_open_is_refused_without_showing_it(
    tmp_path: Path, text: str, mode: int, said: str
) -> None:
    with pytest.raises(WorkflowError, match=said) as refused:
        read_secrets((), secrets_file(tmp_path, text, mode), {})
    assert refused.value.code == "invalid_secrets_file"
    assert "s3cret" not in json.dumps(refused.value.as_json())


async def test_a_secret_that_could_not_be_hidden_is_refused(tmp_path: Path, database_url: str) -> None:
    with pytest.raises(WorkflowError, match="'PIN' has 3 characters") as refused:
        read_secrets(("PIN",), None, {"PIN": "987"})
    assert refused.value.code == "secret_too_short"
    assert "987" not in json.dumps(refused.value.as_json())
    async with open_application(Settings(home=tmp_path, database_url=SecretStr(database_url))) as application:
        await application.templates.create(
            {"name": "flow", "parameters": PARAMETERS, "steps": [{"type": "condition", "condition": True}]}
        )
        with pytest.raises(InvalidParameters, match="has 3 characters") as short:
            await application.executions.start(RunRequest(workflow="flow", parameters={"token": "abc"}))
        assert "abc" not in json.dumps(short.value.as_json())
