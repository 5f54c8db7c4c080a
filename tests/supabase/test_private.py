"""The second migration: it closes what the first opens, stays closed, and is taken back without a trace."""

from pathlib import Path
from typing import Any

import pytest
from supabase_projects import as_role

from archon_workflows.storage.migrations import migration_sql, roll_back, validate
from archon_workflows.storage.sessions import SessionLimits, open_session

MIGRATION = Path(__file__).parents[2] / "migration"
PRIVATE = (MIGRATION / "add_private_workflows.sql").read_text(encoding="utf-8")
PUBLIC_AGAIN = (MIGRATION / "rollback_private_workflows.sql").read_text(encoding="utf-8")

POLICIES = """
select jsonb_agg(
  array[tablename, policyname, array_to_string(roles, ','), cmd, qual, with_check]
  order by tablename, policyname
)
from pg_policies where schemaname = 'public'
"""


class Editor:
    """The SQL editor of a project."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def paste(self, script: str) -> None:
        session = await open_session(self.url, SessionLimits())
        try:
            await session.execute(script)
        finally:
            session.terminate()

    async def policies(self) -> list[Any]:
        session = await open_session(self.url, SessionLimits())
        try:
            return await session.fetchval(POLICIES) or []
        finally:
            session.terminate()

    async def wrong(self) -> list[str]:
        return [line.check for line in await validate(self.url) if not line.ok]


@pytest.fixture
def editor(project_url: str) -> Editor:
    return Editor(as_role(project_url, "editor"))


async def test_it_may_be_pasted_twice_and_taken_back_twice(editor: Editor) -> None:
    before = await editor.policies()
    await editor.paste(PRIVATE)
    closed = await editor.policies()
    assert "everyone_reads" not in {policy[1] for policy in closed}
    await editor.paste(PRIVATE)
    assert await editor.policies() == closed
    for _ in range(2):
        await editor.paste(PUBLIC_AGAIN)
        assert await editor.policies() == before
        assert await editor.wrong() == []


async def test_running_the_first_migration_again_does_not_open_it(editor: Editor) -> None:
    await editor.paste(PRIVATE)
    closed = await editor.policies()
    await editor.paste(migration_sql())
    assert await editor.policies() == closed
    assert await editor.wrong() == []


DAMAGE = [
    (
        "create policy everyone_reads on archon_workflow_executions for select to anon using (true)",
        "policy everyone_reads on archon_workflow_executions",
    ),
    (
        "drop policy users_read_their_executions on archon_workflow_executions",
        "policy users_read_their_executions on archon_workflow_executions",
    ),
    (
        "alter policy anon_reads_public_templates on archon_workflow_templates using (true)",
        "policy anon_reads_public_templates on archon_workflow_templates",
    ),
    (
        "alter policy anon_reads_public_templates on archon_workflow_templates to public",
        "policy anon_reads_public_templates on archon_workflow_templates",
    ),
]


@pytest.mark.parametrize(("damage", "found"), DAMAGE)
async def test_damage_is_found_and_repaired_by_pasting_both_again(
    editor: Editor, damage: str, found: str
) -> None:
    await editor.paste(PRIVATE)
    await editor.paste(f"set search_path = public; {damage}")
    assert await editor.wrong() == [found]
    await editor.paste(migration_sql())
    await editor.paste(PRIVATE)
    assert await editor.wrong() == []


async def test_half_of_it_never_counts_as_public(editor: Editor) -> None:
    await editor.paste(PRIVATE)
    await editor.paste("drop policy anon_reads_public_templates on public.archon_workflow_templates")
    await editor.paste(migration_sql())
    assert "everyone_reads" not in {policy[1] for policy in await editor.policies()}


async def test_before_the_first_migration_it_is_refused(empty_project_url: str) -> None:
    editor = Editor(as_role(empty_project_url, "editor"))
    with pytest.raises(Exception, match="workflow tables are missing"):
        await editor.paste(PRIVATE)
    assert await editor.policies() == []
    await editor.paste(PUBLIC_AGAIN)
    assert await editor.policies() == []


async def test_without_supabases_users_it_is_refused_and_nothing_changes(database_url: str) -> None:
    editor = Editor(database_url)
    before = await editor.policies()
    with pytest.raises(Exception, match=r"auth\.uid"):
        await editor.paste(PRIVATE)
    assert await editor.policies() == before


async def test_the_rollback_of_everything_takes_it_along(editor: Editor) -> None:
    await editor.paste(PRIVATE)
    await roll_back(editor.url)
    assert await editor.policies() == []
    await editor.paste(PUBLIC_AGAIN)
    await editor.paste(migration_sql())
    assert {policy[1] for policy in await editor.policies()} == {
        "everyone_reads",
        "service_role_does_everything",
    }
