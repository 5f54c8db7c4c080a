"""What the direct tenant makes of a database that is away, slow, wrong or hostile to its session."""

from collections.abc import AsyncIterator
from uuid import UUID

import anyio
import pytest
from samples import Owner, Sql, document, save, saved

from archon_workflows.errors import Conflict, NotFound, StorageError, WorkflowError
from archon_workflows.model.records import Announcement
from archon_workflows.storage.direct import DirectRepository
from archon_workflows.storage.refusals import refusal
from archon_workflows.storage.sessions import SessionLimits

REFUSALS: list[tuple[str | None, type[WorkflowError], str]] = [
    ("AW001", NotFound, "template_not_found"),
    ("AW002", NotFound, "version_not_found"),
    ("AW003", NotFound, "execution_not_found"),
    ("AW101", Conflict, "name_taken"),
    ("AW104", Conflict, "wrong_status"),
    ("AW201", StorageError, "schema_newer"),
    ("42883", StorageError, "migration_missing"),
    ("42P01", StorageError, "migration_missing"),
    ("42501", StorageError, "permission_denied"),
    ("28P01", StorageError, "login_refused"),
    ("3D000", StorageError, "login_refused"),
    ("23514", StorageError, "value_refused"),
    ("22P05", StorageError, "value_refused"),
    ("57P01", StorageError, "database_unavailable"),
    ("57014", StorageError, "database_unavailable"),
    ("53300", StorageError, "database_unavailable"),
    ("08006", StorageError, "database_unavailable"),
    ("40P01", StorageError, "database_unavailable"),
    ("55P03", StorageError, "database_unavailable"),
    ("25006", StorageError, "database_unavailable"),
    ("XX000", StorageError, "storage_error"),
    (None, StorageError, "storage_error"),
]


@pytest.mark.parametrize(("sqlstate", "kind", "code"), REFUSALS)
def test_each_sqlstate_has_its_letter(sqlstate: str | None, kind: type[WorkflowError], code: str) -> None:
    letter = refusal(sqlstate, "it went wrong")
    assert (type(letter), letter.code) == (kind, code)
    assert "t went wrong" in letter.message


KILL_OTHERS = """
select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid()
"""


@pytest.fixture
async def direct(database_url: str) -> AsyncIterator[DirectRepository]:
    tenant = await DirectRepository.connect(database_url, pool_size=2)
    yield tenant
    await tenant.aclose()


async def test_the_pool_survives_the_loss_of_all_its_sessions(direct: DirectRepository, sql: Sql) -> None:
    owner = await Owner.of_new(direct)
    assert await sql.value(KILL_OTHERS) >= 1
    entry, answers = owner.entry("running"), ()
    with anyio.fail_after(10):
        while not answers:
            try:
                answers = await direct.record([entry])
            except StorageError as error:
                if error.code != "database_unavailable":
                    raise
    assert answers[0].accepted


async def test_watching_goes_on_after_its_session_was_lost(direct: DirectRepository, sql: Sql) -> None:
    heard: set[UUID] = set()

    async def hear(announcements: AsyncIterator[Announcement]) -> None:
        async for announcement in announcements:
            heard.add(announcement.execution_id)

    async with direct.watch() as ids, anyio.create_task_group() as tasks:
        tasks.start_soon(hear, ids)
        await sql.value(KILL_OTHERS)
        with anyio.fail_after(15):
            while not heard:
                await sql.value("select pg_notify('archon_workflows', gen_random_uuid()::text)")
        tasks.cancel_scope.cancel()
    assert heard


async def test_a_server_that_is_not_there_is_unavailable(tmp_path_factory: pytest.TempPathFactory) -> None:
    nowhere = tmp_path_factory.mktemp("nowhere")
    with pytest.raises(StorageError) as refused:
        await DirectRepository.connect(f"postgresql://me@/db?host={nowhere}")
    assert refused.value.code == "database_unavailable"
    assert refused.value.suggestion


async def test_a_database_that_is_not_there_is_said_so(database_url: str) -> None:
    with pytest.raises(StorageError, match="no_such_database") as refused:
        await DirectRepository.connect(database_url.replace("/test_", "/no_such_database_"))
    assert refused.value.code == "login_refused"


async def test_the_transaction_pooler_is_refused_with_the_way_out() -> None:
    with pytest.raises(StorageError) as refused:
        await DirectRepository.connect("postgresql://me:secret@pooler.example:6543/postgres")
    assert refused.value.code == "transaction_pooler"
    assert "5432" in (refused.value.suggestion or "")
    assert "secret" not in str(refused.value.as_json())


@pytest.mark.parametrize("url", ["postgresql://me@host:not-a-port/db", "mysql://me@host/db", "what"])
async def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(StorageError) as refused:
        await DirectRepository.connect(url)
    assert refused.value.code == "database_url_invalid"


NAMES = """
select array_agg(application_name) from pg_stat_activity
where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
"""


async def test_a_session_keeps_its_name_when_it_is_used_again(database_url: str, sql: Sql) -> None:
    direct = await DirectRepository.connect(
        database_url, pool_size=1, limits=SessionLimits(application_name="me")
    )
    await saved(direct)
    assert await sql.value(NAMES) == ["me"]
    await direct.aclose()


async def test_a_lock_that_somebody_keeps_is_waited_for_no_longer_than_allowed(
    database_url: str, sql: Sql
) -> None:
    direct = await DirectRepository.connect(database_url, limits=SessionLimits(lock=0.05))
    template = await saved(direct)
    await sql.run("begin")
    await sql.run("lock table public.archon_workflow_templates")
    with pytest.raises(StorageError, match="lock") as refused:
        await direct.save_template(save(template.id))
    assert refused.value.code == "database_unavailable"
    await sql.run("rollback")
    assert (await direct.save_template(save(template.id))).version_number == 2
    await direct.aclose()


UNSTORABLE = [{"nul": "\x00"}, {"lone": "\ud800"}]


@pytest.mark.parametrize("value", UNSTORABLE, ids=["NUL", "lone surrogate"])
async def test_a_value_that_jsonb_cannot_hold_is_refused_not_retried(
    direct: DirectRepository, value: dict[str, str]
) -> None:
    with pytest.raises(StorageError) as refused:
        await direct.save_template(save(document=document(description="x", parameters=value)))
    assert refused.value.code == "value_refused"
    with pytest.raises(NotFound):
        await direct.read_template(name="deploy")


async def test_a_closed_repository_is_unavailable(database_url: str) -> None:
    direct = await DirectRepository.connect(database_url)
    await direct.aclose()
    with pytest.raises(StorageError) as refused:
        await direct.read_template(name="x")
    assert refused.value.code == "database_unavailable"
