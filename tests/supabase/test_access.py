"""Row level security as every role meets it through the API, on projects of either age, in either mode."""

import os
from pathlib import Path
from typing import Any, get_args

import pytest
from access import (
    CALLERS,
    FORBIDDEN,
    MODES,
    NEWER_CALLERS,
    OWN,
    PUBLIC_STARTED_BY_HER,
    ROWS,
    TABLES,
    Seeds,
    readable,
    reading_table,
    refusals,
    seed,
    writing_table,
)
from supabase_projects import Age, Project

from archon_workflows.storage.migrations import validate
from archon_workflows.storage.sessions import SessionLimits, open_session

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "supabase.md"
PRIVATE = (ROOT / "migration" / "add_private_workflows.sql").read_text(encoding="utf-8")
WRITES_THE_PAGE = "ARCHON_WORKFLOWS_TESTS_WRITE_DOCS"

FUNCTIONS = """
select jsonb_object_agg(proname, coalesce(to_jsonb(proargnames), '[]')) from pg_proc
where pronamespace = 'public'::regnamespace and prorettype <> 'trigger'::regtype
"""
TRIGGER_FUNCTIONS = """
select jsonb_agg(proname) from pg_proc
where pronamespace = 'public'::regnamespace and prorettype = 'trigger'::regtype
"""

EVERYTHING: dict[str, set[str]] = {table: set(rows) for table, rows in ROWS.items()}
NOTHING: dict[str, set[str]] = {table: set() for table in TABLES}
READS: dict[tuple[str, str], dict[str, set[str]]] = {
    ("public", "anon"): EVERYTHING,
    ("public", "authenticated"): EVERYTHING,
    ("public", "service_role"): EVERYTHING,
    ("private", "anon"): {**NOTHING, "templates": {"public"}, "template_versions": {"public"}},
    ("private", "authenticated"): {
        "templates": {"public", "her own"},
        "template_versions": {"public", "her own"},
        "executions": {PUBLIC_STARTED_BY_HER, OWN},
        "step_executions": {PUBLIC_STARTED_BY_HER, OWN},
        "workers": set(),
        "schedules": {"her own"},
    },
    ("private", "service_role"): EVERYTHING,
}


@pytest.fixture(params=get_args(Age))
def project_age(request: pytest.FixtureRequest) -> Age:
    return request.param


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest, project: Project) -> str:
    """Which of the two migrations is in force."""
    if request.param == "private":
        project.paste(PRIVATE)
    return request.param


@pytest.fixture
def seeds(project: Project) -> Seeds:
    return project.surroundings.portal.call(seed, project)


async def ask(project: Project, query: str) -> Any:
    session = await open_session(project.database_url, SessionLimits())
    try:
        return await session.fetchval(query)
    finally:
        session.terminate()


def test_each_role_reads_what_it_may_and_nothing_else(project: Project, seeds: Seeds, mode: str) -> None:
    for callers in (CALLERS, NEWER_CALLERS):
        for role, headers in callers.items():
            seen = {table: readable(project, seeds, table, headers) for table in TABLES}
            assert seen == READS[mode, role], role


async def test_only_the_service_role_writes_and_calls(project: Project, mode: str, project_age: Age) -> None:
    functions = await ask(project, FUNCTIONS)
    assert len(functions) == 31
    callers = CALLERS if project_age == "old" else NEWER_CALLERS
    assert set(refusals(project, functions, callers["anon"]).values()) == {FORBIDDEN}, mode
    assert set(refusals(project, functions, callers["authenticated"]).values()) == {FORBIDDEN}
    assert FORBIDDEN not in refusals(project, functions, callers["service_role"]).values()


async def test_nobody_calls_a_trigger_by_hand(project: Project) -> None:
    names = await ask(project, TRIGGER_FUNCTIONS)
    assert len(names) == 5
    for headers in CALLERS.values():
        answers = [project.http.post(project.rest(f"rpc/{name}"), json={}, headers=headers) for name in names]
        assert {answer.json()["code"] for answer in answers} == {"PGRST202"}


async def test_validation_finds_the_project_right_and_says_which_mode_is_in_force(
    project: Project, mode: str
) -> None:
    lines = await validate(project.editor_url)
    assert [(line.check, line.detail) for line in lines if not line.ok] == []
    (readers,) = [line.detail for line in lines if line.check == "readers"]
    assert readers.startswith("everyone" if mode == "public" else "creators")


@pytest.mark.parametrize("project_age", ["new"], indirect=True)
async def test_the_documentation_has_the_tables_that_are_observed_here(project: Project) -> None:
    seeds = await seed(project)
    functions = await ask(project, FUNCTIONS)
    writes = {role: refusals(project, functions, headers) for role, headers in CALLERS.items()}
    reads: dict[tuple[str, str, str], set[str]] = {}
    for mode in MODES:
        if mode == "private":
            project.paste(PRIVATE)
        for role, headers in CALLERS.items():
            for table in TABLES:
                reads[mode, role, table] = readable(project, seeds, table, headers)
    for name, table in {"reads": reading_table(reads), "writes": writing_table(writes)}.items():
        expected = (
            f"<!-- {name}: generated by tests/supabase/test_access.py -->\n\n" + "\n".join(table) + "\n"
        )
        page = PAGE.read_text(encoding="utf-8")
        if WRITES_THE_PAGE in os.environ:
            before, after = page.split(expected.split("\n", 1)[0], 1)
            PAGE.write_text(
                before + expected + "\n" + after.lstrip("\n").split("\n\n", 1)[1], encoding="utf-8"
            )
        else:
            assert expected in page, f"write the page with {WRITES_THE_PAGE}=1"
