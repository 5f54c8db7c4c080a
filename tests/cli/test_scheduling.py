"""``archon-workflows schedule``: what it prints where, and how it ends."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from archon_workflows.cli import app

Call = Callable[..., Result]

TEMPLATE = {
    "name": "tidy",
    "parameters": {"days": {"type": "string", "default": "7"}},
    "steps": [{"name": "a", "type": "condition", "condition": True}],
}


@pytest.fixture
def call(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run the command in this process, on a database of the test's own that knows a template."""
    monkeypatch.setenv("ARCHON_WORKFLOWS_DATABASE_URL", database_url)
    monkeypatch.setenv("ARCHON_WORKFLOWS_HOME", str(tmp_path / "home"))
    file = tmp_path / "tidy.json"
    file.write_text(json.dumps(TEMPLATE))

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments)

    assert invoke("templates", "save", str(file)).exit_code == 0
    return invoke


def test_a_template_is_scheduled_and_its_coming_times_are_shown(call: Call) -> None:
    added = call(
        "schedule", "add", "tidy", "30 9 * * mon-fri", "--time-zone", "Europe/Berlin", "-p", "days=3"
    )
    assert added.exit_code == 0, added.stderr
    assert "scheduled tidy: tidy, At 09:30 on Monday through Friday (Europe/Berlin)" in added.stdout
    assert added.stdout.count("due 20") == 3
    [listed] = json.loads(call("schedule", "list", "--json").stdout)["schedules"]
    assert listed["parameters"] == {"days": "3"}
    assert "At 09:30 on Monday" in call("schedule", "list", "tidy").stdout


def test_a_schedule_is_paused_resumed_and_removed(call: Call) -> None:
    made = json.loads(call("schedule", "add", "tidy", "0 3 * * *", "--name", "nightly", "--json").stdout)
    paused = json.loads(call("schedule", "pause", "nightly", "--json").stdout)
    assert (paused["id"], paused["is_paused"], paused["coming"]) == (made["id"], True, [])
    assert "paused" in call("schedule", "list").stdout
    resumed = json.loads(call("schedule", "resume", made["id"], "--json").stdout)
    assert resumed["next_due_at"] == made["next_due_at"]
    assert call("schedule", "remove", "nightly").exit_code == 0
    assert "There are no schedules." in call("schedule", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "tidi", "0 3 * * *"), "Did you mean 'tidy'?"),
        (("add", "tidy", "nightly"), "Write minute, hour"),
        (("add", "tidy", "0 3 * * *", "--time-zone", "Berlin"), "Berlin"),
        (("add", "tidy", "0 3 * * *", "-p", "day=3"), "days"),
        (("add", "tidy", "0 3 * * *", "--name", "Night!"), "lower case"),
        (("pause", "nightli"), "schedule_not_found"),
    ],
)
def test_a_mistake_ends_with_2_and_says_what_to_change(
    call: Call, arguments: tuple[str, ...], said: str
) -> None:
    result = call("schedule", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
