"""What ``doctor`` sees of a project: all well, or the one thing that is wrong and its cure."""

from pathlib import Path

import anyio
import pytest
from gateway import Mood
from starlette.responses import HTMLResponse
from supabase_projects import ANON_KEY, KEYS, PUBLISHABLE_KEY, SECRET_KEY, SERVICE_KEY, Project

from archon_workflows.storage.supabase_checks import ProjectCheck, check_project

PRIVATE = (Path(__file__).parents[2] / "migration" / "add_private_workflows.sql").read_text(encoding="utf-8")
ALL = [
    "project",
    "migration",
    "connection",
    "clock",
    "database",
    "role",
    "functions",
    "row level security",
    "readers",
]


async def checks(project: Project, key: str = SECRET_KEY) -> dict[str, ProjectCheck]:
    return {check.check: check async for check in check_project(project.url, key)}


async def paste(project: Project, script: str) -> None:
    await anyio.to_thread.run_sync(project.paste, f"set search_path = public; {script}")


@pytest.mark.parametrize("key", [SERVICE_KEY, SECRET_KEY])
async def test_a_project_that_is_right_passes_every_check_and_stays_as_it_is(
    project: Project, key: str
) -> None:
    found = await checks(project, key)
    assert [(check.check, check.state) for check in found.values()] == [(name, "ok") for name in ALL]
    assert found["readers"].found.startswith("public")
    assert "ms" in found["connection"].found
    for table in ("templates", "executions", "workers"):
        assert (
            await anyio.to_thread.run_sync(
                project.ask,
                f"select count(*) from public.archon_workflow_{table}",  # noqa: S608 - our own tables
            )
            == 0
        )


async def test_every_function_is_really_called(project: Project) -> None:
    await checks(project)
    called = {
        path.rpartition("/rpc/archon_workflow_")[2] for path in project.gateway.calls if "/rpc/" in path
    }
    there = await anyio.to_thread.run_sync(
        project.ask,
        "select array_agg(substr(proname, length('archon_workflow_') + 1)) from pg_proc "
        "where pronamespace = 'public'::regnamespace and prorettype <> 'trigger'::regtype "
        "and not exists (select from pg_depend where refobjid = oid and classid = 'pg_constraint'::regclass)",
    )
    assert called == set(there)


async def test_it_tells_whether_workflows_are_public_or_private(project: Project) -> None:
    await paste(project, PRIVATE)
    readers = (await checks(project))["readers"]
    assert (readers.state, readers.found.split(":")[0]) == ("ok", "private")


DAMAGE = {
    "alter table archon_workflow_executions disable row level security": (
        "row level security",
        "fail",
        "off",
    ),
    "grant execute on function archon_workflow_record(jsonb) to anon": ("functions", "fail", "everyone"),
    "revoke execute on function archon_workflow_renew from service_role": ("functions", "fail", "renew"),
    "drop function archon_workflow_release": ("functions", "fail", "release"),
    "drop policy everyone_reads on archon_workflow_templates;"
    "drop policy everyone_reads on archon_workflow_template_versions;"
    "drop policy everyone_reads on archon_workflow_step_executions;"
    "drop policy everyone_reads on archon_workflow_workers;"
    "drop policy everyone_reads on archon_workflow_schedules;"
    "drop policy everyone_reads on archon_workflow_executions": ("readers", "warn", "nobody"),
    "create or replace function archon_workflow_schema_version() returns integer language sql immutable "
    "set search_path = '' as 'select 99'": ("migration", "fail", "version 99"),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_damage_is_shown_where_it_is(project: Project, damage: str) -> None:
    await paste(project, damage)
    found = await checks(project)
    assert list(found) == ALL
    name, state, word = DAMAGE[damage]
    assert [check.check for check in found.values() if check.state != "ok"] == [name]
    assert found[name].state == state
    assert word in found[name].found
    assert found[name].advice


async def test_before_the_migration_it_says_what_to_paste(empty_project: Project) -> None:
    found = await checks(empty_project)
    assert (found["migration"].state, list(found)) == ("fail", ["project", "migration"])
    assert "add_workflow_system.sql" in (found["migration"].advice or "")


async def test_what_rules_the_rest_out_is_the_last_check(project: Project) -> None:
    project.gateway.keys = {**KEYS, "sb_secret_that_is_none": ANON_KEY}
    project.gateway.mood = None
    for key, check, word in (
        (PUBLISHABLE_KEY, "project", "publishable"),
        ("sb_secret_of_somebody_else", "connection", "Invalid API key"),
        ("sb_secret_that_is_none", "connection", "permission denied"),
    ):
        found = await checks(project, key)
        assert list(found)[-1] == check
        assert (found[check].state, word in found[check].found) == ("fail", True)
        assert found[check].advice


async def test_a_paused_project_is_said_to_be_paused(project: Project) -> None:
    mood: Mood = lambda _: HTMLResponse("<html></html>", 540)  # noqa: E731 - it is one
    project.gateway.mood = mood
    assert "paused" in (await checks(project))["connection"].found


async def test_a_key_that_travels_in_clear_is_warned_of() -> None:
    found = [check async for check in check_project("http://no-such-project.invalid", SECRET_KEY)]
    assert [(check.check, check.state) for check in found] == [("project", "warn"), ("connection", "fail")]
