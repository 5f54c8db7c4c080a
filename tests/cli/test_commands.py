"""The command from outside: what it prints where, and how it ends."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from archon_workflows.cli import app

Call = Callable[..., Result]

ANSWER: dict[str, Any] = {
    "name": "answer",
    "parameters": {
        "fail": {"type": "boolean", "default": False},
        "word": {"type": "string", "default": "42"},
    },
    "outputs": {"word": {"type": "string", "value": "{{ workflow.parameters.word }}"}},
    "steps": [
        {
            "name": "decide",
            "type": "condition",
            "condition": "{{ workflow.parameters.fail }}",
            "on_true": "fail",
        }
    ],
}
ASK: dict[str, Any] = {
    "name": "ask",
    "steps": [
        {
            "name": "decide",
            "type": "condition",
            "condition": "true",
            "approval": {"message": "Really\u001b[2J?"},
        }
    ],
}
ANYTHING = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def call(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run the command in this process, on a database of the test's own."""
    monkeypatch.setenv("ARCHON_WORKFLOWS_DATABASE_URL", database_url)
    monkeypatch.setenv("ARCHON_WORKFLOWS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ARCHON_WORKFLOWS_TOOLS", raising=False)
    return invoke


def invoke(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=given)


def file_of(folder: Path, document: dict[str, Any], **changes: Any) -> str:
    path = folder / f"{document['name']}.json"
    path.write_text(json.dumps(document | changes))
    return str(path)


def test_a_file_is_stored_and_run_and_its_output_shown(call: Call, tmp_path: Path) -> None:
    result = call("run", file_of(tmp_path, ANSWER), "-p", "word=007")
    assert result.exit_code == 0
    assert "✓ decide" in result.stdout
    assert 'output {"word": "007"}' in result.stdout
    assert "007" not in call("templates", "show", "answer").stdout


def test_a_run_with_json_is_one_document_with_the_rows(call: Call, tmp_path: Path) -> None:
    result = call("run", file_of(tmp_path, ANSWER), "--json")
    execution = json.loads(result.stdout)
    assert execution["status"] == "completed"
    assert execution["output_data"] == {"word": "42"}
    assert [step["step_path"] for step in execution["steps"]] == ["decide"]


def test_a_failed_workflow_ends_with_1(call: Call, tmp_path: Path) -> None:
    result = call("run", file_of(tmp_path, ANSWER), "-p", "fail=true")
    assert result.exit_code == 1
    assert "failed condition_failed: The condition of step 'decide' is true" in result.stdout


def test_an_execution_that_waits_ends_with_4_and_goes_on_when_it_is_approved(
    call: Call, tmp_path: Path
) -> None:
    waiting = call("run", file_of(tmp_path, ASK))
    assert waiting.exit_code == 4
    assert "waits decide: Really\\x1b[2J?" in waiting.stdout
    [command] = [line for line in waiting.stdout.splitlines() if "archon-workflows control" in line]
    approved = call(*command.split()[1:], "--follow")
    assert approved.exit_code == 0, approved.stderr


def test_a_control_request_that_nobody_acts_on_is_kept_and_said_to_be(call: Call, tmp_path: Path) -> None:
    execution = json.loads(call("run", file_of(tmp_path, ASK), "--json").stdout)
    result = call("control", execution["id"], "approve")
    assert result.exit_code == 0
    assert "The request is stored" in result.stderr


def test_a_file_makes_a_version_only_when_it_says_something_new(call: Call, tmp_path: Path) -> None:
    for summary in ("one", "one", "two"):
        call("run", file_of(tmp_path, ANSWER, description=summary))
    versions = json.loads(call("templates", "versions", "answer", "--json").stdout)
    assert [one["version_number"] for one in versions["versions"]] == [2, 1]


def test_a_field_that_left_the_file_leaves_the_template(call: Call, tmp_path: Path) -> None:
    call("templates", "save", file_of(tmp_path, ANSWER, category="games"))
    call("templates", "save", file_of(tmp_path, ANSWER))
    assert not json.loads(call("templates", "show", "answer", "--json").stdout).get("category")


def test_a_detached_run_is_left_to_others(call: Call, tmp_path: Path) -> None:
    result = call("run", file_of(tmp_path, ANSWER), "--detach", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["status"] == "pending"
    assert "archon-workflows serve" in result.stderr


def test_templates_and_parameters_may_come_from_standard_input(call: Call) -> None:
    assert call("templates", "save", "-", given=json.dumps(ANSWER)).exit_code == 0
    result = call("run", "answer", "--params", "-", "--json", given='{"word": "piped"}')
    assert json.loads(result.stdout)["output_data"] == {"word": "piped"}


def test_followed_changes_are_lines_of_json(call: Call, tmp_path: Path) -> None:
    execution = json.loads(call("run", file_of(tmp_path, ANSWER), "--json").stdout)
    result = call("show", execution["id"], "--follow", "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert {event["event"] for event in events} == {"step", "log", "execution"}
    assert events[-1]["status"] == "completed"


BAD_INPUT = [
    (["run", "unheard_of"], "template_not_found"),
    (["run", "no/such/file.json"], "file_unreadable"),
    (["run", "answer", "-p", "wrod=x"], "invalid_parameters"),
    (["run", "answer", "-p", "word"], "invalid_request"),
    (["run", "answer", "--version", "9.9.9"], "version_not_found"),
    (["show", "nonsense"], "invalid_execution_id"),
    (["show", ANYTHING], "execution_not_found"),
    (["control", ANYTHING, "pause"], "execution_not_found"),
    (["templates", "show", "unheard_of"], "template_not_found"),
    (["templates", "delete", "unheard_of"], "template_not_found"),
]


@pytest.mark.parametrize(
    ("arguments", "code"), [pytest.param(*case, id=" ".join(case[0])) for case in BAD_INPUT]
)
def test_bad_input_is_a_letter_and_ends_with_2(
    call: Call, tmp_path: Path, arguments: list[str], code: str
) -> None:
    call("templates", "save", file_of(tmp_path, ANSWER))
    result = call(*arguments, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["code"] == code
    assert result.stderr.startswith(f"error {code}: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "a", "--nonsense"], ["control", ANYTHING, "explode"], ["nonsense"]]
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    assert invoke(*arguments).exit_code == 2


def test_a_template_that_is_not_valid_is_refused_with_every_finding(call: Call, tmp_path: Path) -> None:
    step = {"name": "a", "type": "action", "tool_nam": "x", "on_success": "nowhere"}
    file = file_of(tmp_path, {"name": "broken", "steps": [step]})
    validated = call("validate", file, "--json")
    assert validated.exit_code == 2
    findings = json.loads(validated.stdout)["findings"]
    assert {"/steps/0/tool_nam", "/steps/0/on_success"} <= {one["path"] for one in findings}
    refused = call("run", file)
    assert refused.exit_code == 2
    assert "Did you mean 'tool_name'?" in refused.stderr
    assert json.loads(call("templates", "--json").stdout)["total"] == 0


def test_a_valid_template_is_called_valid(call: Call, tmp_path: Path) -> None:
    result = call("validate", file_of(tmp_path, ANSWER))
    assert (result.exit_code, result.stdout) == (0, "valid\n")


def test_a_template_with_executions_is_archived_instead_of_deleted(call: Call, tmp_path: Path) -> None:
    call("run", file_of(tmp_path, ANSWER))
    deleted = call("templates", "delete", "answer")
    assert deleted.exit_code == 2
    assert "template_in_use" in deleted.stderr
    assert call("templates", "archive", "answer").exit_code == 0
    assert call("run", "answer").exit_code == 2


def test_a_database_that_is_away_is_trouble(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHON_WORKFLOWS_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    result = call("executions")
    assert result.exit_code == 3
    assert result.stderr.startswith("error database_unavailable: ")


def test_a_setting_that_cannot_be_is_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHON_WORKFLOWS_LEASE_SECONDS", "soon")
    result = call("executions")
    assert result.exit_code == 2
    assert "lease_seconds" in result.stderr


@pytest.mark.parametrize(
    "arguments", [["executions"], ["templates"], ["tools"], ["migrate"], ["migrate", "--print"], ["doctor"]]
)
def test_every_command_writes_json_and_nothing_else_when_asked(call: Call, arguments: list[str]) -> None:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)


def test_what_steers_a_terminal_never_reaches_it(call: Call, tmp_path: Path) -> None:
    document = copy.deepcopy(ANSWER)
    document["steps"][0]["title"] = "\u001b]0;owned\u0007\nforged"
    call("templates", "save", file_of(tmp_path, document))
    for arguments in (["templates", "show", "answer", "--json"], ["templates", "show", "answer"]):
        shown = call(*arguments).stdout
        assert "owned" in shown
        assert "\x1b" not in shown
        assert "\x07" not in shown
        assert "\nforged" not in shown


def test_migrating_makes_an_empty_database_usable(
    call: Call, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHON_WORKFLOWS_DATABASE_URL", empty_database_url)
    before = call("executions")
    assert (before.exit_code, "archon-workflows migrate" in before.stderr) == (3, True)
    assert json.loads(call("migrate", "--json").stdout) == {"before": "missing", "after": "current"}
    assert call("executions").exit_code == 0
    assert call("migrate").exit_code == 0


def test_the_doctor_says_what_to_do_about_what_is_wrong(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    healthy = call("doctor")
    assert healthy.exit_code == 0
    assert "ok    schema" in healthy.stdout
    monkeypatch.setenv("ARCHON_WORKFLOWS_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("ARCHON_WORKFLOWS_TOOLS", "/no/such/tools.json")
    ill = call("doctor", "--json")
    assert ill.exit_code == 3
    states = {one["check"]: one["state"] for one in json.loads(ill.stdout)["checks"]}
    assert (states["database"], states["tools"], states["python"]) == ("fail", "fail", "ok")


def test_a_version_line_that_nobody_keeps_up_to_date_does_no_harm(call: Call, tmp_path: Path) -> None:
    tags: list[str] = []
    for changes in ({}, {"category": "a"}, {"category": "a"}, {"category": "b"}, {"version": "2.0.0"}):
        file = file_of(tmp_path, {"version": "1.0.0", **ANSWER}, **changes)
        tags.append(json.loads(call("templates", "save", file, "--json").stdout)["template"]["version"])
    assert tags == ["1.0.0", "1.0.1", "1.0.1", "1.0.2", "2.0.0"]
