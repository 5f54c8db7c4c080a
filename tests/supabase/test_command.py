"""The command on a project that is named by its two variables alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from supabase_projects import SECRET_KEY, Project
from typer.testing import CliRunner, Result

from archon_workflows.cli import app

ANSWER: dict[str, Any] = {
    "name": "answer",
    "outputs": {"word": {"type": "string", "value": "42"}},
    "steps": [{"name": "decide", "type": "condition", "condition": "true"}],
}


@pytest.fixture(autouse=True)
def variables(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHON_WORKFLOWS_HOME", str(tmp_path / "home"))
    for name in ("ARCHON_WORKFLOWS_DATABASE_URL", "ARCHON_WORKFLOWS_TOOLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SUPABASE_URL", project.url)
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", SECRET_KEY)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_a_file_is_stored_and_run(tmp_path: Path) -> None:
    file = tmp_path / "answer.json"
    file.write_text(json.dumps(ANSWER))
    result = call("run", str(file))
    assert result.exit_code == 0, result.output
    assert '{"word": "42"}' in result.stdout
    assert "answer" in call("executions").stdout
    assert not (tmp_path / "home" / "postgres").exists()


def test_the_doctor_looks_at_the_project_and_says_who_reads_what(tmp_path: Path) -> None:
    result = call("doctor", "--json")
    checks = {check["check"]: check for check in json.loads(result.stdout)["checks"]}
    assert result.exit_code == 0, result.output
    assert checks["supabase: readers"]["found"].startswith("public")
    assert {check["state"] for name, check in checks.items() if name.startswith("supabase")} == {"ok"}
    assert SECRET_KEY not in result.output
    assert not (tmp_path / "home" / "postgres").exists()


def test_the_doctor_says_that_half_of_the_settings_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPABASE_SERVICE_KEY")
    result = call("doctor")
    assert result.exit_code == 3
    assert "SUPABASE_SERVICE_KEY is missing" in result.output


def test_a_migration_through_the_api_is_refused_with_the_way_to_do_it() -> None:
    result = call("migrate")
    assert result.exit_code == 3
    assert "SQL editor" in result.output
