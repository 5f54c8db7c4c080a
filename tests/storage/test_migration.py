"""The migration: all of it or nothing, as often as one likes, and gone without a trace."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from samples import LEASE, Owner, Sql, document, save, saved, step
from servers import other_majors, running

from archon_workflows.errors import NotFound, StorageError
from archon_workflows.storage.direct import DirectRepository
from archon_workflows.storage.migrations import (
    SCHEMA_VERSION,
    apply_migration,
    migration_sql,
    roll_back,
    rollback_sql,
    schema_state,
    validate,
)
from archon_workflows.storage.sessions import SessionLimits, open_session

OBJECTS = """
select coalesce(jsonb_agg(name order by name), '[]') from (
  select 'relation ' || relname as name from pg_class where relnamespace = 'public'::regnamespace
  union all
  select 'function ' || oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace
  union all
  select 'type ' || typname from pg_type where typnamespace = 'public'::regnamespace
) as found
"""


async def ask(url: str, query: str) -> Any:
    session = await open_session(url, SessionLimits())
    try:
        await session.execute("set search_path = public")
        return await session.fetchval(query)
    finally:
        session.terminate()


async def run(url: str, script: str) -> None:
    session = await open_session(url, SessionLimits())
    try:
        await session.execute("set search_path = public")
        await session.execute(script)
    finally:
        session.terminate()


async def wrong(url: str) -> list[str]:
    return [line.check for line in await validate(url) if not line.ok]


async def test_an_empty_database_is_missing_everything(empty_database_url: str) -> None:
    assert await schema_state(empty_database_url) == "missing"
    assert "table archon_workflow_executions" in await wrong(empty_database_url)


async def test_the_migration_makes_a_database_right(empty_database_url: str) -> None:
    await apply_migration(empty_database_url)
    assert await schema_state(empty_database_url) == "current"
    assert await wrong(empty_database_url) == []


async def test_running_it_again_keeps_the_data(database_url: str) -> None:
    repository = await DirectRepository.connect(database_url)
    owner = await Owner.of_new(repository)
    await owner.write("running", steps=[step("a")])
    before = await owner.row()
    await apply_migration(database_url)
    assert await owner.row() == before
    assert (await owner.write("running", steps=[step("b")])).accepted
    assert await wrong(database_url) == []
    await repository.aclose()


async def test_twenty_migrations_at_once_are_one(empty_database_url: str) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(apply_migration, empty_database_url)
    assert await wrong(empty_database_url) == []


async def test_the_rollback_leaves_nothing(empty_database_url: str) -> None:
    before = await ask(empty_database_url, OBJECTS)
    await apply_migration(empty_database_url)
    assert len(await ask(empty_database_url, OBJECTS)) > len(before)
    for _ in range(2):
        await roll_back(empty_database_url)
        assert await ask(empty_database_url, OBJECTS) == before
    assert await schema_state(empty_database_url) == "missing"


async def test_the_rollback_takes_only_what_is_its_own(database_url: str) -> None:
    await run(database_url, "create table archon_workflow_notes (id integer)")
    await roll_back(database_url)
    assert await ask(database_url, OBJECTS) == [
        "relation archon_workflow_notes",
        "type _archon_workflow_notes",
        "type archon_workflow_notes",
    ]


def test_the_program_and_its_files_agree_on_the_version() -> None:
    assert f"as $$ select {SCHEMA_VERSION} $$" in migration_sql()
    for text in (migration_sql(), rollback_sql()):
        assert re.findall(r"found_version > (\d+)", text) == [str(SCHEMA_VERSION)]


NEWER = """
create or replace function public.archon_workflow_schema_version() returns integer
language sql immutable set search_path = '' as 'select {version}'
"""


async def test_a_newer_database_is_refused_and_left_as_it_is(database_url: str) -> None:
    await run(database_url, NEWER.format(version=SCHEMA_VERSION + 1))
    before = await ask(database_url, OBJECTS)
    assert await schema_state(database_url) == "newer"
    for change in (apply_migration, roll_back):
        with pytest.raises(StorageError, match=f"version {SCHEMA_VERSION + 1}") as refused:
            await change(database_url)
        assert refused.value.code == "schema_newer"
    assert await ask(database_url, OBJECTS) == before


async def test_an_older_database_is_brought_up(database_url: str) -> None:
    await run(database_url, NEWER.format(version=SCHEMA_VERSION - 1))
    assert await schema_state(database_url) == "older"
    await apply_migration(database_url)
    assert await schema_state(database_url) == "current"


WITHOUT_LIMITS = """
alter table archon_workflow_templates
  drop column max_concurrent_executions cascade, drop column on_limit cascade, drop column priority cascade;
alter table archon_workflow_executions drop column priority cascade, drop column place cascade;
create index archon_workflow_executions_to_advance on archon_workflow_executions (created_at)
  where status in ('pending', 'running') and wake_at is null;
drop function archon_workflow_lock_template(uuid), archon_workflow_make_room(uuid, boolean),
  archon_workflow_admit(uuid), archon_workflow_queue(uuid), archon_workflow_apply_limit() cascade;
"""
"""What makes the tables those of version 1."""

WITHOUT_SCHEDULES = """
drop function public.archon_workflow_fire_schedule(jsonb), public.archon_workflow_due_schedules(integer),
  public.archon_workflow_delete_schedule(uuid), public.archon_workflow_save_schedule(jsonb),
  public.archon_workflow_schedule_record(uuid);
drop table public.archon_workflow_schedules;
"""
"""What makes the database one of version 3."""


async def test_a_database_of_version_1_gets_limits_and_keeps_its_executions(database_url: str) -> None:
    repository = await DirectRepository.connect(database_url)
    owner = await Owner.of_new(repository)
    before = await owner.row()
    await repository.aclose()
    await run(database_url, WITHOUT_LIMITS + NEWER.format(version=1))
    await apply_migration(database_url)
    assert await wrong(database_url) == []
    repository = await DirectRepository.connect(database_url)
    assert await repository.read_execution(owner.execution_id) == before
    assert "archon_workflow_executions_to_advance" not in str(await ask(database_url, OBJECTS))
    await repository.aclose()


async def test_a_database_of_version_3_gets_schedules(database_url: str) -> None:
    await run(database_url, WITHOUT_SCHEDULES + NEWER.format(version=3))
    assert await schema_state(database_url) == "older"
    await apply_migration(database_url)
    assert await wrong(database_url) == []


async def test_tables_from_elsewhere_are_left_alone(empty_database_url: str) -> None:
    await run(empty_database_url, "create table public.archon_workflow_executions (id uuid primary key)")
    before = await ask(empty_database_url, OBJECTS)
    with pytest.raises(StorageError) as refused:
        await apply_migration(empty_database_url)
    assert refused.value.code == "foreign_tables"
    assert await ask(empty_database_url, OBJECTS) == before


DAMAGE = [
    (
        "alter table archon_workflow_executions drop constraint row_is_sound",
        ["constraint row_is_sound on archon_workflow_executions"],
    ),
    (
        "drop index archon_workflow_templates_by_tag",
        ["index archon_workflow_templates_by_tag"],
    ),
    (
        "drop function archon_workflow_claim(text, double precision, integer, uuid, text[])",
        ["function archon_workflow_claim(text, double precision, integer, uuid, text[])"],
    ),
    (
        "alter function archon_workflow_record(jsonb) security definer",
        ["function archon_workflow_record(jsonb)"],
    ),
    (
        "alter function archon_workflow_record(jsonb) reset search_path",
        ["function archon_workflow_record(jsonb)"],
    ),
    (
        "grant execute on function archon_workflow_record(jsonb) to public",
        ["public may not call archon_workflow_record(jsonb)"],
    ),
    (
        "alter table archon_workflow_templates disable row level security",
        ["row level security on archon_workflow_templates"],
    ),
    (
        "alter table archon_workflow_executions disable trigger archon_workflow_executions_announce",
        ["trigger archon_workflow_executions_announce"],
    ),
    (
        "drop trigger archon_workflow_template_versions_never_change on archon_workflow_template_versions",
        ["trigger archon_workflow_template_versions_never_change"],
    ),
]


@pytest.mark.parametrize(("damage", "found"), DAMAGE)
async def test_damage_is_found_and_repaired_by_running_the_migration_again(
    database_url: str, damage: str, found: list[str]
) -> None:
    await run(database_url, damage)
    assert await wrong(database_url) == found
    await apply_migration(database_url)
    assert await wrong(database_url) == []


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (
            "alter table archon_workflow_step_executions drop column poll_number cascade",
            "column archon_workflow_step_executions.poll_number",
        ),
        (
            "alter table archon_workflow_executions alter column triggered_by type varchar(10)",
            "column archon_workflow_executions.triggered_by",
        ),
        (
            "create policy opened on archon_workflow_executions for update using (true)",
            "policy opened on archon_workflow_executions",
        ),
    ],
)
async def test_damage_that_needs_a_hand_is_found(database_url: str, damage: str, found: str) -> None:
    await run(database_url, damage)
    assert found in await wrong(database_url)


COVERED = {
    "column": """
        select array_agg(format('column %s.%s', relname, attname)) from pg_attribute
        join pg_class on pg_class.oid = attrelid
        where relkind = 'r' and relnamespace = 'public'::regnamespace and attnum > 0
    """,
    "constraint": """
        select array_agg(format('constraint %s on %s', conname, relname)) from pg_constraint
        join pg_class on pg_class.oid = conrelid
        where relnamespace = 'public'::regnamespace and contype <> 'n'
    """,
    "index": """
        select array_agg('index ' || indexrelid::regclass) from pg_index
        join pg_class on pg_class.oid = indrelid
        where relnamespace = 'public'::regnamespace
          and not exists (select from pg_constraint where conindid = indexrelid and contype in ('p', 'u'))
    """,
    "trigger": """
        select array_agg('trigger ' || tgname) from pg_trigger
        join pg_class on pg_class.oid = tgrelid
        where relnamespace = 'public'::regnamespace and not tgisinternal
    """,
    "function": """
        select array_agg('function ' || replace(oid::regprocedure::text, ',', ', ')) from pg_proc
        where pronamespace = 'public'::regnamespace
    """,
}


@pytest.mark.parametrize("kind", COVERED)
async def test_validation_looks_at_everything_that_the_migration_makes(database_url: str, kind: str) -> None:
    made = await ask(database_url, COVERED[kind])
    looked_at = [line.check for line in await validate(database_url) if line.check.startswith(f"{kind} ")]
    assert sorted(looked_at) == sorted(made)


SENTENCES = [
    ("executions", "progress_percentage = 100", "progress_is_100_only_when_completed"),
    ("executions", "progress_percentage = -1", "progress_is_between_0_and_100"),
    ("executions", "completed_at = now()", "completed_at_only_when_finished"),
    ("executions", "paused_at = now()", "paused_at_only_while_paused"),
    ("executions", "pause_reason = 'approval'", "paused_has_a_reason"),
    ("executions", "status = 'failed'", "failed_says_why"),
    ("executions", "status = 'paused'", "paused_has_a_reason"),
    ("executions", "status = 'odd'", "status_is_known"),
    ("executions", "owner_id = null", "a_lease_has_an_owner"),
    ("executions", "current_step_index = 11", "current_step_within_total_steps"),
    ("executions", "link_depth = 1", "only_a_child_is_linked"),
    ("executions", "parent_step_path = 'a'", "child_names_the_step_of_its_parent"),
    ("executions", "root_execution_id = gen_random_uuid()", "without_parent_it_is_its_own_root"),
    ("executions", "workflow_version_id = gen_random_uuid()", "runs_a_version_of_its_template"),
    ("step_executions", "attempt_number = 2", "attempt_number_within_max_attempts"),
    ("step_executions", "completed_at = now()", "completed_at_only_when_finished"),
    ("step_executions", "status = 'completed'", "completed_at_only_when_finished"),
    ("step_executions", "started_at = null", "running_has_started"),
    ("step_executions", "failure_handled = true", "only_a_failure_is_handled"),
    ("step_executions", "step_type = 'odd'", "step_type_is_known"),
    ("step_executions", "awaiting = 'odd'", "awaiting_is_known"),
    ("step_executions", "generation = 0", "counts_start_at_1"),
    ("templates", "name = 'Not Snake'", "name_is_snake_case"),
    ("templates", "steps = '[]'", "steps_are_a_list_with_something_in_it"),
    ("templates", "tags = '{}'", "tags_are_a_list"),
    ("templates", "status = 'odd'", "status_is_known"),
    ("templates", "version = 'new'", "version_is_semantic"),
    ("templates", "timeout_minutes = 0", "timeout_is_positive"),
    ("templates", "max_concurrent_executions = 0", "limit_is_positive"),
    ("templates", "on_limit = 'odd'", "on_limit_is_known"),
    ("templates", "priority = 101", "priority_is_small"),
    ("executions", "priority = -101", "priority_is_small"),
    ("executions", "place = 'odd'", "place_is_known"),
    ("executions", "place = 'awaited'", "running_awaits_no_place"),
]


@pytest.mark.parametrize(("table", "change", "sentence"), SENTENCES)
async def test_a_row_that_makes_no_sense_is_refused_by_a_sentence(
    database_url: str, sql: Sql, table: str, change: str, sentence: str
) -> None:
    repository = await DirectRepository.connect(database_url)
    owner = await Owner.of_new(repository)
    await owner.write("running", steps=[step("a")])
    with pytest.raises(Exception, match=f'"{sentence}"'):
        await sql.run(f"update public.archon_workflow_{table} set {change}")  # noqa: S608 - our own cases
    await repository.aclose()


@pytest.mark.parametrize(("ended", "then"), [("completed", "pending"), ("failed", "running")])
async def test_an_end_is_final_even_for_a_hand(database_url: str, sql: Sql, ended: Any, then: str) -> None:
    repository = await DirectRepository.connect(database_url)
    owner = await Owner.of_new(repository)
    await owner.write("running")
    await owner.write(ended, error_message="broke")
    with pytest.raises(Exception, match=f"cannot become {then}"):
        await sql.run(f"update public.archon_workflow_executions set status = '{then}'")  # noqa: S608 - same
    await repository.aclose()


async def test_without_the_migration_the_repository_says_what_to_do(empty_database_url: str) -> None:
    repository = await DirectRepository.connect(empty_database_url)
    for call in (repository.read_template(name="x"), repository.claim("me", lease_seconds=LEASE)):
        with pytest.raises(StorageError) as missing:
            await call
        assert missing.value.code == "migration_missing"
        assert "archon-workflows migrate" in (missing.value.suggestion or "")
    await repository.aclose()


@pytest.fixture(params=sorted(other_majors()))
def other_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server of another major version."""
    home: Path = tmp_path_factory.mktemp("pg")
    with running(other_majors()[request.param], home) as url:
        yield url


async def test_it_runs_on_every_major_that_is_supported(other_server: str) -> None:
    before = await ask(other_server, OBJECTS)
    for _ in range(2):
        await apply_migration(other_server)
    assert await wrong(other_server) == []
    repository = await DirectRepository.connect(other_server)
    owner = await Owner.of_new(repository)
    assert (await owner.write("running", steps=[step("a")])).accepted
    assert (await owner.write("completed")).accepted
    used = await saved(repository, "unused")
    await repository.save_template(save(used.id, document=document("unused", status="archived")))
    await repository.delete_template(used.id)
    with pytest.raises(NotFound):
        await repository.read_template(name="unused")
    await repository.aclose()
    await roll_back(other_server)
    assert await ask(other_server, OBJECTS) == before
