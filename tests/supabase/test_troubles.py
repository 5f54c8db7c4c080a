"""What the tenant makes of a project that is wrong, closed, overloaded or away: a letter, or another try."""

from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from uuid import UUID, uuid4

import anyio
import pytest
from gateway import Cut, Lost, Mood
from samples import LEASE, Owner, claimed, created, document, new, request, save, saved, step
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from supabase_projects import ANON_KEY, KEYS, SECRET_KEY, Project, token

from archon_workflows.errors import NotFound, StorageError
from archon_workflows.model.records import JournalEntry
from archon_workflows.storage.migrations import migration_sql
from archon_workflows.storage.postgrest_api import RequestLimits
from archon_workflows.storage.supabase import SupabaseRepository

HTML = "<html><h1>Something else</h1></html>"


def postgrest(code: str, status: int, message: str = "it went wrong") -> JSONResponse:
    return JSONResponse({"code": code, "message": message, "details": None, "hint": None}, status)


LETTERS: dict[str, tuple[Response, str, str]] = {
    "a key that was revoked": (
        JSONResponse({"message": "Invalid API key"}, 401),
        "login_refused",
        "API Keys",
    ),
    "a JWT of another secret": (postgrest("PGRST301", 401), "login_refused", "API Keys"),
    "a role that may not": (postgrest("42501", 403), "permission_denied", "service_role"),
    "a paused project": (HTMLResponse(HTML, 540), "project_paused", "Restore"),
    "a schema that is not exposed": (postgrest("PGRST106", 406), "schema_not_exposed", "exposed schemas"),
    "an old PostgREST": (postgrest("PGRST100", 400), "postgrest_too_old", "Upgrade"),
    "a function that is missing": (postgrest("PGRST202", 404), "migration_missing", "reload schema"),
    "a table that is missing": (postgrest("PGRST205", 404), "migration_missing", "reload schema"),
    "a column that is missing": (postgrest("42703", 400), "migration_missing", "SQL editor"),
    "a database behind it that is away": (postgrest("PGRST000", 503), "database_unavailable", "again"),
    "a pool without connections": (postgrest("PGRST003", 504), "database_unavailable", "again"),
    "a statement that took too long": (postgrest("57014", 500), "database_unavailable", ""),
    "a starting gateway": (HTMLResponse(HTML, 503), "database_unavailable", "starting"),
    "a broken gateway": (HTMLResponse(HTML, 522), "database_unavailable", "overloaded"),
    "too many requests": (HTMLResponse(HTML, 429), "database_unavailable", "Too many"),
    "a request that is too large": (HTMLResponse(HTML, 413), "value_refused", "DATABASE_URL"),
    "a page of somebody else": (HTMLResponse(HTML), "supabase_url_invalid", "SUPABASE_URL"),
    "a page that is not found": (HTMLResponse(HTML, 404), "supabase_url_invalid", "SUPABASE_URL"),
    "a way to somewhere else": (RedirectResponse("https://x"), "supabase_url_invalid", "SUPABASE_URL"),
    "a value that is refused": (postgrest("23514", 400), "value_refused", ""),
    "a bug": (postgrest("XX000", 500), "storage_error", ""),
    "something new": (postgrest("PGRST999", 500), "storage_error", ""),
}


class Moods:
    """One mood after the other, then none; remembers when which path was asked for."""

    def __init__(self, *moods: Response | Cut | Lost | None) -> None:
        self.moods = list(moods)
        self.asked: list[tuple[str, float]] = []

    def __call__(self, request: Request) -> Response | Cut | Lost | None:
        self.asked.append((request.url.path.rsplit("/", 1)[1], monotonic()))
        return self.moods.pop(0) if self.moods else None


@pytest.fixture
async def repository(project: Project) -> AsyncIterator[SupabaseRepository]:
    tenant = await SupabaseRepository.connect(project.url, SECRET_KEY)
    yield tenant
    await tenant.aclose()


def always(answer: Response | Cut) -> Mood:
    return lambda _: answer


async def refusal_of(call: Callable[[], Awaitable[object]]) -> StorageError:
    with pytest.raises(StorageError) as refused:
        await call()
    return refused.value


async def soon(holds: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again: what is waited for happens in another process."""
    with anyio.fail_after(10):
        while not await holds():  # noqa: ASYNC110 - no event reaches this process
            await anyio.sleep(0.01)


async def is_current(repository: SupabaseRepository) -> bool:
    return await repository.schema_state() == "current"


async def is_written(repository: SupabaseRepository, entry: JournalEntry) -> bool:
    try:
        return (await repository.record([entry]))[0].accepted
    except StorageError:
        return False


async def test_each_refusal_has_its_letter_with_a_cure(
    repository: SupabaseRepository, project: Project
) -> None:
    for case, (answer, code, cure) in LETTERS.items():
        project.gateway.mood = always(answer)
        letter = await refusal_of(lambda: repository.delete_template(uuid4()))
        assert letter.code == code, case
        assert cure in (letter.suggestion or ""), case
        assert SECRET_KEY not in str(letter.as_json())


async def test_a_wrong_key_is_said_to_be_wrong(project: Project) -> None:
    for key in ("sb_secret_of_somebody_else", token("service_role", other="claim")[:-4] + "AAAA"):
        repository = await SupabaseRepository.connect(project.url, key)
        letter = await refusal_of(repository.schema_state)
        assert letter.code == "login_refused"
        assert "API Keys" in (letter.suggestion or "")
        assert key not in str(letter.as_json())
        await repository.aclose()


async def test_a_jwt_of_another_secret_is_refused_by_postgrest_itself(project: Project) -> None:
    forged = token("service_role")[:-6] + "forged"
    project.gateway.known |= {forged}
    repository = await SupabaseRepository.connect(project.url, forged)
    assert (await refusal_of(repository.schema_state)).code == "login_refused"
    await repository.aclose()


async def test_an_opaque_key_that_only_reads_is_found_out_by_the_database(project: Project) -> None:
    project.gateway.keys = {**KEYS, "sb_secret_that_is_none": ANON_KEY}
    repository = await SupabaseRepository.connect(project.url, "sb_secret_that_is_none")
    letter = await refusal_of(repository.schema_state)
    assert letter.code == "permission_denied"
    assert "Only service_role may" in (letter.suggestion or "")
    await repository.aclose()


async def test_a_host_that_is_not_there_is_unavailable() -> None:
    for url in ("http://127.0.0.1:9", "http://no-such-project.invalid"):
        repository = await SupabaseRepository.connect(url, SECRET_KEY)
        letter = await refusal_of(lambda: repository.delete_template(uuid4()))  # noqa: B023 - called at once
        assert letter.code == "database_unavailable"
        assert "SUPABASE_URL" in (letter.suggestion or "")
        await repository.aclose()


async def test_before_the_migration_reads_and_writes_say_what_to_paste(empty_project: Project) -> None:
    repository = await SupabaseRepository.connect(empty_project.url, SECRET_KEY)
    assert await repository.schema_state() == "missing"
    for call in (
        lambda: repository.read_template(name="x"),
        lambda: repository.claim("me", lease_seconds=LEASE),
    ):
        letter = await refusal_of(call)
        assert letter.code == "migration_missing"
        assert "add_workflow_system.sql" in (letter.suggestion or "")
    await repository.aclose()


async def test_an_api_that_has_not_noticed_the_migration_is_told_to(empty_project: Project) -> None:
    repository = await SupabaseRepository.connect(empty_project.url, SECRET_KEY)
    await anyio.to_thread.run_sync(
        lambda: empty_project.paste_as_superuser(
            "drop event trigger pgrst_ddl_watch; drop event trigger pgrst_drop_watch;"
        )
    )
    silent = migration_sql().replace("notify pgrst, 'reload schema';", "")
    await anyio.to_thread.run_sync(lambda: empty_project.paste(silent))
    letter = await refusal_of(lambda: repository.claim("me", lease_seconds=LEASE))
    assert "notify pgrst, 'reload schema';" in (letter.suggestion or "")
    await anyio.to_thread.run_sync(lambda: empty_project.paste("notify pgrst, 'reload schema'"))
    await soon(lambda: is_current(repository))
    await repository.aclose()


async def test_half_of_the_migration_is_not_taken_for_all_of_it(
    repository: SupabaseRepository, project: Project
) -> None:
    owner = await Owner.of_new(repository)
    entry = owner.entry("running")
    await anyio.to_thread.run_sync(
        lambda: project.paste("drop function public.archon_workflow_record(jsonb)")
    )
    letter = await refusal_of(lambda: repository.record([entry]))
    assert letter.code == "migration_missing"
    assert "SQL editor" in (letter.suggestion or "")
    await anyio.to_thread.run_sync(lambda: project.paste(migration_sql()))
    await soon(lambda: is_written(repository, entry))
    assert (await owner.row()).journal_sequence == 1


CUTS = [Cut(), Cut(is_framed=True), Cut(share=0), Cut(share=0, is_framed=True), Lost(HTMLResponse(HTML, 502))]


@pytest.mark.parametrize("cut", CUTS)
async def test_a_write_whose_answer_was_lost_is_sent_again_and_written_once(
    repository: SupabaseRepository, project: Project, sql_count: Callable[[str], int], cut: Cut | Lost
) -> None:
    template = await saved(repository)
    one, update = new(template), save(template.id)
    moods = project.gateway.mood = Moods(cut)
    assert (await repository.create_execution(one)).id == one.id
    moods.moods.append(cut)
    assert (await repository.save_template(update)).version_number == 2
    owner = Owner(repository, await claimed(repository, one.id))
    moods.moods.append(cut)
    assert (await owner.write("running", steps=[step("a")])).accepted
    moods.moods.append(cut)
    row = await repository.request_control(one.id, request("pause"))
    assert len(row.control_requests) == 1
    moods.moods.append(cut)
    assert (await repository.read_execution(one.id)).journal_sequence == 1
    assert sql_count("archon_workflow_executions") == 1
    assert sql_count("archon_workflow_step_executions") == 1
    assert sql_count("archon_workflow_template_versions") == 2
    assert len(moods.asked) == 11


@pytest.fixture
def sql_count(project: Project) -> Callable[[str], int]:
    """Counts the rows of a table."""

    def count(table: str) -> int:
        return project.ask(f"select count(*) from public.{table}")  # noqa: S608 - our own tables

    return count


async def test_a_deletion_is_sent_once(repository: SupabaseRepository, project: Project) -> None:
    template = await saved(repository)
    moods = project.gateway.mood = Moods(Lost(HTMLResponse(HTML, 502)))
    letter = await refusal_of(lambda: repository.delete_template(template.id))
    assert letter.code == "database_unavailable"
    assert len(moods.asked) == 1
    with pytest.raises(NotFound):
        await repository.read_template(name="deploy")


async def test_what_would_not_help_is_not_tried_again(
    repository: SupabaseRepository, project: Project
) -> None:
    moods = project.gateway.mood = Moods(postgrest("PGRST202", 404), postgrest("PGRST202", 404))
    await refusal_of(lambda: repository.claim("me", lease_seconds=LEASE))
    assert len(moods.asked) == 1


async def test_a_gateway_that_asks_for_a_pause_gets_it(
    repository: SupabaseRepository, project: Project
) -> None:
    busy = HTMLResponse(HTML, 429, {"retry-after": "1"})
    moods = project.gateway.mood = Moods(busy)
    assert await repository.claim("me", lease_seconds=LEASE) == ()
    (_, first), (_, second) = moods.asked
    assert second - first >= 1


async def test_while_a_long_pause_lasts_nobody_asks(repository: SupabaseRepository, project: Project) -> None:
    moods = project.gateway.mood = Moods(HTMLResponse(HTML, 429, {"retry-after": "60"}))
    for _ in range(3):
        letter = await refusal_of(lambda: repository.claim("me", lease_seconds=LEASE))
        assert letter.code == "database_unavailable"
        assert letter.details["retry_after_seconds"] > 50
    assert len(moods.asked) == 1


async def test_an_answer_that_never_comes_is_waited_for_no_longer_than_allowed(project: Project) -> None:
    limits = RequestLimits(answer=0.2)
    repository = await SupabaseRepository.connect(project.url, SECRET_KEY, limits=limits)
    template = await saved(repository)
    with project.lock_held("archon_workflow_templates"):
        letter = await refusal_of(lambda: repository.delete_template(template.id))
    assert letter.code == "database_unavailable"
    await repository.aclose()


UNSTORABLE = [{"nul": "\x00"}, {"lone": "\ud800"}, {"number": float("nan")}]


@pytest.mark.parametrize("value", UNSTORABLE, ids=["NUL", "lone surrogate", "no number"])
async def test_a_value_that_jsonb_cannot_hold_is_refused_not_retried(
    repository: SupabaseRepository, project: Project, value: dict[str, str | float]
) -> None:
    moods = project.gateway.mood = Moods()
    letter = await refusal_of(lambda: repository.save_template(save(document=document(parameters=value))))
    assert letter.code == "value_refused"
    assert len(moods.asked) <= 1


async def test_a_closed_repository_is_unavailable(project: Project) -> None:
    repository = await SupabaseRepository.connect(project.url, SECRET_KEY)
    await repository.aclose()
    assert (await refusal_of(lambda: repository.delete_template(uuid4()))).code == "database_unavailable"


async def test_nothing_is_sent_before_it_is_asked_for(project: Project) -> None:
    moods = project.gateway.mood = Moods()
    repository = await SupabaseRepository.connect(project.url, SECRET_KEY)
    assert moods.asked == []
    await repository.aclose()


async def test_many_calls_at_once_share_a_bounded_number_of_connections(project: Project) -> None:
    repository = await SupabaseRepository.connect(
        project.url, SECRET_KEY, limits=RequestLimits(connections=3)
    )
    ids: list[UUID] = [await created(repository, f"w_{number}") for number in range(2)]
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(repository.read_steps, ids[number % 2])
    assert 1 < len(project.gateway.clients) <= 3
    await repository.aclose()
