"""Supabase's roles: who may read, write and call what, on projects of either age."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from samples import Owner, document, step
from servers import GRANTS_BY_DEFAULT, SUPABASE_ROLES, running

from archon_workflows.model.records import WorkerReport
from archon_workflows.storage.direct import DirectRepository
from archon_workflows.storage.embedded.binaries import find_programs
from archon_workflows.storage.migrations import apply_migration, roll_back, validate
from archon_workflows.storage.sessions import Session, SessionLimits, open_session

TABLES = ["templates", "template_versions", "executions", "step_executions", "workers"]
READERS = ["anon", "authenticated"]

STATEMENTS = {
    "select": "select count(*) from public.archon_workflow_{table}",
    "insert": "insert into public.archon_workflow_{table} (id) select gen_random_uuid() where false",
    "update": "update public.archon_workflow_{table} set created_at = created_at where false",
    "delete": "delete from public.archon_workflow_{table} where false",
    "truncate": "truncate public.archon_workflow_{table} cascade",
}
ALLOWED = {
    "anon": {"select"},
    "authenticated": {"select"},
    "service_role": {"select", "insert", "update", "delete"},
}

FUNCTIONS = """
select array_agg(format('public.%s(%s)', proname, arguments) order by proname) from (
  select proname, (
    select string_agg('null::' || kind::regtype, ', ') from unnest(proargtypes) as kind
  ) as arguments
  from pg_proc where pronamespace = 'public'::regnamespace and prorettype <> 'trigger'::regtype
) as callable
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server of its own: roles belong to a server, not to a database."""
    home: Path = tmp_path_factory.mktemp("pg")
    with running(find_programs(), home) as url:
        yield url


@pytest.fixture(scope="module")
async def supabase(server: str) -> str:
    """URL of the server with Supabase's roles, as its administrator."""
    await _run(server, SUPABASE_ROLES)
    return server


@pytest.fixture(params=["grants by default", "no grants by default"])
async def project(supabase: str, request: pytest.FixtureRequest) -> str:
    """URL of a project without the migration, as the role of the SQL editor."""
    name = f"project_{uuid4().hex}"
    await _run(supabase, f"create database {name} owner editor")
    url = supabase.replace("/postgres?", f"/{name}?")
    await _run(url, "alter schema public owner to editor")
    if request.param == "grants by default":
        await _run(url, GRANTS_BY_DEFAULT)
    return url.replace("postgres@", "editor@")


@pytest.fixture
async def migrated(project: str) -> str:
    """The project with the migration, one execution and one worker in it."""
    await apply_migration(project)
    repository = await DirectRepository.connect(project)
    await (await Owner.of_new(repository)).write("running", steps=[step("a")])
    worker = WorkerReport(
        owner_id="me", kind="server", offered_tools=(), has_listed_all=True, max_executions=1
    )
    await repository.report_worker(worker, lifetime_seconds=60)
    await repository.aclose()
    return project


async def _run(url: str, script: str) -> None:
    session = await open_session(url, SessionLimits())
    try:
        await session.execute(script)
    finally:
        session.terminate()


async def _session(url: str, role: str) -> Session:
    session = await open_session(url, SessionLimits())
    await session.execute(f"set role {role}")
    return session


async def _refused(session: Session, statement: str) -> str | None:
    """Run a statement and take it back; return the SQLSTATE that it failed with."""
    await session.execute("begin")
    try:
        await session.fetchval(statement)
    except Exception as error:  # noqa: BLE001 - whatever the driver raises carries the state
        return getattr(error, "sqlstate", repr(error))
    finally:
        await session.execute("rollback")
    return None


async def test_validation_finds_everything_right(migrated: str) -> None:
    assert [line.check for line in await validate(migrated) if not line.ok] == []
    checks = {line.check for line in await validate(migrated)}
    assert "anon may select archon_workflow_templates" in checks
    assert "anon may not call archon_workflow_record(jsonb)" in checks
    assert "service_role may call archon_workflow_record(jsonb)" in checks


@pytest.mark.parametrize("role", ALLOWED)
async def test_each_role_does_to_each_table_what_it_may_and_nothing_else(migrated: str, role: str) -> None:
    session = await _session(migrated, role)
    got = {
        (table, verb): await _refused(session, statement.format(table=table))
        for table in TABLES
        for verb, statement in STATEMENTS.items()
    }
    session.terminate()
    assert got == {
        (table, verb): None if verb in ALLOWED[role] else "42501" for table in TABLES for verb in STATEMENTS
    }


@pytest.mark.parametrize("role", READERS)
async def test_readers_see_every_row(migrated: str, role: str) -> None:
    session = await _session(migrated, role)
    counts = [await session.fetchval(STATEMENTS["select"].format(table=table)) for table in TABLES]
    session.terminate()
    assert counts == [1, 1, 1, 1, 1]


@pytest.mark.parametrize("role", READERS)
async def test_readers_call_no_function(migrated: str, role: str) -> None:
    owner = await open_session(migrated, SessionLimits())
    calls = await owner.fetchval(FUNCTIONS)
    owner.terminate()
    session = await _session(migrated, role)
    refused = {call: await _refused(session, f"select {call}") for call in calls}
    session.terminate()
    assert len(calls) == 31
    assert set(refused.values()) == {"42501"}


@pytest.mark.parametrize("bypasses", ["bypassrls", "nobypassrls"])
async def test_the_service_role_does_the_whole_work_through_functions(
    migrated: str, supabase: str, bypasses: str
) -> None:
    await _run(supabase, f"alter role service_role {bypasses}")
    session = await _session(migrated, "service_role")

    async def call(function: str, *arguments: Any) -> Any:
        places = ", ".join(f"${number}" for number in range(1, len(arguments) + 1))
        return await session.fetchval(f"select public.archon_workflow_{function}({places})", *arguments)

    version, execution = uuid4(), uuid4()
    template = await call("save_template", version, None, document("served"), "1.0.0", "create")
    new = {
        "id": execution,
        "workflow_template_id": template["id"],
        "workflow_version_id": version,
        "total_steps": 1,
        "timeout_seconds": 60,
    }
    assert (await call("create_execution", new))["existed"] is False
    (claim,) = await call("claim", "me", 60.0, 1, execution)
    entry = {"execution_id": execution, "fencing_token": claim["fencing_token"], "sequence": 1}
    answers = await call("record", [{**entry, "status": "running"}])
    assert answers["answers"][0]["accepted"]
    held = [{"execution_id": execution, "fencing_token": claim["fencing_token"]}]
    assert (await call("renew", held, 60.0))["answers"][0]["accepted"]
    row = await call("request_control", execution, {"id": uuid4(), "action": "cancel"})
    assert row["control_requests"][0]["action"] == "cancel"
    await call("release", held)
    session.terminate()


async def test_roles_that_appear_later_are_served_by_running_it_again(project: str, supabase: str) -> None:
    for role in ALLOWED:
        await _run(supabase, f"alter role {role} rename to not_yet_{role}")
    try:
        await apply_migration(project)
        assert [line.check for line in await validate(project) if not line.ok] == []
    finally:
        for role in ALLOWED:
            await _run(supabase, f"alter role not_yet_{role} rename to {role}")
    wrong = {line.check for line in await validate(project) if not line.ok}
    assert "policy everyone_reads on archon_workflow_executions" in wrong
    await apply_migration(project)
    assert [line.check for line in await validate(project) if not line.ok] == []


async def test_the_editor_can_roll_it_back(migrated: str) -> None:
    await roll_back(migrated)
    assert "table archon_workflow_executions" in [
        line.check for line in await validate(migrated) if not line.ok
    ]


async def test_what_others_granted_by_hand_is_found(migrated: str) -> None:
    await _run(migrated, "grant truncate on public.archon_workflow_executions to anon")
    assert [line.check for line in await validate(migrated) if not line.ok] == [
        "anon may not truncate archon_workflow_executions"
    ]
