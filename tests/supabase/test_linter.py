"""What Supabase's database linter asks of tables, functions, policies and indexes, in our own words.

Each query lists what is wrong. Of the linter's rules that can apply, three have no query: a new project has
used no index yet (``unused_index``), and where the extension ``pg_graphql`` is installed it shows the names
of what ``anon`` and ``authenticated`` may read (``pg_graphql_anon_table_exposed`` and its twin), rightly.
"""

from pathlib import Path

import pytest
from supabase_projects import as_role

from archon_workflows.storage.sessions import SessionLimits, open_session

PRIVATE = (Path(__file__).parents[2] / "migration" / "add_private_workflows.sql").read_text(encoding="utf-8")

WRONG = {
    "foreign keys without an index that begins with their columns": """
        select conname from pg_constraint as k
        where contype = 'f' and connamespace = 'public'::regnamespace and not exists (
          select from pg_index as i
          where i.indrelid = k.conrelid and i.indisvalid
            and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] = k.conkey
        )
    """,
    "functions of auth that are called again for each row": """
        select policyname from pg_policies, unnest(array[qual, with_check]) as condition
        where schemaname = 'public' and regexp_replace(
          condition, 'SELECT (auth\\.(uid|jwt|role|email)|current_setting)\\(', '', 'gi'
        ) ~ '(auth\\.(uid|jwt|role|email)|current_setting)\\('
    """,
    "tables without a primary key": """
        select relname from pg_class as c
        where relkind = 'r' and relnamespace = 'public'::regnamespace and not exists (
          select from pg_index where indrelid = c.oid and indisprimary
        )
    """,
    "several permissive policies for one role and action": """
        select distinct concat_ws(' ', tablename, role, action)
        from pg_policies
        cross join unnest(roles) as role
        cross join unnest(
          case cmd when 'ALL' then array['SELECT', 'INSERT', 'UPDATE', 'DELETE'] else array[cmd] end
        ) as action
        where schemaname = 'public' and permissive = 'PERMISSIVE'
        group by tablename, role, action having count(*) > 1
    """,
    "policies by which somebody else than the service role writes": """
        select policyname from pg_policies
        where schemaname = 'public' and cmd <> 'SELECT' and roles <> '{service_role}'
    """,
    "policies that name no role": """
        select policyname from pg_policies where schemaname = 'public' and roles = '{public}'
    """,
    "policies that read metadata which users can write": """
        select policyname from pg_policies
        where schemaname = 'public' and concat(qual, with_check) like '%user_metadata%'
    """,
    "tables with policies but without row level security, or the reverse": """
        select relname from pg_class as c
        where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace
          and not (relrowsecurity and exists (select from pg_policy where polrelid = c.oid))
    """,
    "two indexes of one table that are the same": """
        select min(indexrelid::regclass::text) from pg_index
        join pg_class on pg_class.oid = indrelid and relnamespace = 'public'::regnamespace
        group by indrelid, indkey::text, indclass::text, indpred::text, indexprs::text, indoption::text
        having count(*) > 1
    """,
    "functions whose search path is the caller's, or that run as their owner": """
        select proname from pg_proc
        where pronamespace = 'public'::regnamespace
          and (prosecdef or not coalesce(proconfig, '{}') @> array['search_path=""'])
    """,
    "views, materialized views and foreign tables in an exposed schema": """
        select relname from pg_class
        where relnamespace = 'public'::regnamespace and relkind in ('v', 'm', 'f')
    """,
    "columns of types that keep Postgres from being upgraded": """
        select attname from pg_attribute
        join pg_class on pg_class.oid = attrelid and relnamespace = 'public'::regnamespace
        where relkind = 'r' and atttypid in (
          'regcollation'::regtype, 'regconfig'::regtype, 'regdictionary'::regtype, 'regnamespace'::regtype,
          'regoper'::regtype, 'regoperator'::regtype, 'regproc'::regtype, 'regprocedure'::regtype
        )
    """,
    "columns whose names promise secrets": """
        select attname from pg_attribute
        join pg_class on pg_class.oid = attrelid and relnamespace = 'public'::regnamespace
        where relkind = 'r' and attname ~ '(password|secret|credit_card|ssn|api_key)'
    """,
}

DAMAGE = """
alter table archon_workflow_executions alter triggered_by type regproc using null;
alter table archon_workflow_templates add column api_key text;
alter table archon_workflow_template_versions drop constraint archon_workflow_template_versions_pkey cascade;
alter table archon_workflow_step_executions disable row level security;
alter function archon_workflow_touch() reset search_path;
drop index archon_workflow_executions_by_version;
create index archon_workflow_templates_again on archon_workflow_templates (status);
create view archon_workflow_names as select name from archon_workflow_templates;
create policy slow on archon_workflow_templates for select to anon using (
  auth.uid() is null or (select auth.jwt()) -> 'user_metadata' is null
);
create policy vague on archon_workflow_templates for select using (false);
create policy open on archon_workflow_templates for update to anon using (true);
"""


async def found(url: str, query: str) -> list[str]:
    session = await open_session(url, SessionLimits())
    try:
        return [str(row[0]) for row in await session.fetch(query)]  # pyright: ignore[reportArgumentType] - a row
    finally:
        session.terminate()


async def paste(url: str, script: str) -> None:
    session = await open_session(url, SessionLimits())
    try:
        await session.execute(script)
    finally:
        session.terminate()


@pytest.mark.parametrize("mode", ["public", "private"])
async def test_the_linter_would_find_nothing(project_url: str, mode: str) -> None:
    if mode == "private":
        await paste(as_role(project_url, "editor"), PRIVATE)
    wrong = {rule: await found(project_url, query) for rule, query in WRONG.items()}
    assert {rule: names for rule, names in wrong.items() if names} == {}


async def test_each_rule_finds_what_it_is_for(project_url: str) -> None:
    await paste(project_url, f"set search_path = public; {DAMAGE}")
    blind = [rule for rule, query in WRONG.items() if not await found(project_url, query)]
    assert blind == []
