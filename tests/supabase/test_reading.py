"""Reads that are larger, odder or longer than one answer of PostgREST."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import anyio
import pytest
from samples import Owner, created, document, saved, step
from supabase_projects import SECRET_KEY, SERVICE_KEY, Project, Surroundings, served

from archon_workflows.errors import NotFound
from archon_workflows.model.records import StepFilter, TemplateFilter
from archon_workflows.storage.supabase import SupabaseRepository


@pytest.fixture
async def repository(project: Project) -> AsyncIterator[SupabaseRepository]:
    """The tenant by a new key; the contract's suite uses a legacy one."""
    tenant = await SupabaseRepository.connect(project.url, SECRET_KEY)
    yield tenant
    await tenant.aclose()


async def write_steps(repository: SupabaseRepository, count: int) -> UUID:
    owner = await Owner.of_new(repository)
    await owner.write("running", steps=[step(f"s{number}") for number in range(count)])
    return owner.execution_id


async def test_more_steps_than_one_answer_holds_are_all_read_in_order(
    repository: SupabaseRepository, project: Project
) -> None:
    execution_id = await write_steps(repository, 2300)
    project.gateway.calls.clear()
    page = await repository.read_steps(execution_id)
    assert [row.step_path for row in page.records] == [f"s{number}" for number in range(2300)]
    assert page.total == 2300
    assert project.gateway.calls.total() == 3
    some = await repository.read_steps(execution_id, offset=900, limit=1200)
    assert [some.records[0].step_path, some.records[-1].step_path] == ["s900", "s2099"]
    assert (len(some.records), some.total) == (1200, 2300)


async def test_a_row_limit_that_somebody_lowered_hides_nothing(
    project_url: str, surroundings: Surroundings
) -> None:
    with served(project_url, surroundings, max_rows=7) as project:
        repository = await SupabaseRepository.connect(project.url, SERVICE_KEY)
        execution_id = await write_steps(repository, 20)
        page = await repository.read_steps(execution_id)
        assert [row.step_path for row in page.records] == [f"s{number}" for number in range(20)]
        limited = await repository.read_steps(execution_id, offset=1, limit=10)
        assert [row.step_path for row in limited.records] == [f"s{number}" for number in range(1, 11)]
        await repository.aclose()


async def test_the_nearest_name_is_found_among_more_than_one_answer_holds(
    project_url: str, surroundings: Surroundings
) -> None:
    with served(project_url, surroundings, max_rows=3) as project:
        repository = await SupabaseRepository.connect(project.url, SERVICE_KEY)
        for number in range(8):
            await saved(repository, f"workflow_{number}")
        await saved(repository, "zebra")
        with pytest.raises(NotFound) as missing:
            await repository.read_template(name="zebr")
        assert "'zebra'" in (missing.value.suggestion or "")
        await repository.aclose()


async def test_more_ids_than_fit_into_a_url_are_read(repository: SupabaseRepository) -> None:
    known = await created(repository)
    found = await repository.read_executions([*(uuid4() for _ in range(450)), known])
    assert [execution.id for execution in found] == [known]


ODD = ["100%", "a_b", "*", "a*", "(", ")", ",", '"', "'", "\\", "[a-z]", "^", "$", "&x=1", "+", "é", "***="]


async def test_a_search_takes_every_character_literally(repository: SupabaseRepository) -> None:
    for number, word in enumerate(ODD):
        await saved(repository, f"w_{number}", description=f"before{word}after", category=word, tags=[word])
    await saved(repository, "without", description="beforeXafter abc")
    for number, word in enumerate(ODD):
        for which in (
            TemplateFilter(text=f"before{word}after"),
            TemplateFilter(category=word),
            TemplateFilter(tags=[word]),
        ):
            page = await repository.list_templates(which, offset=0, limit=10)
            assert [template.name for template in page.records] == [f"w_{number}"], word


async def test_a_path_prefix_is_taken_literally(repository: SupabaseRepository) -> None:
    owner = await Owner.of_new(repository)
    paths = ["a[1]", "a[1].b", "a[10].b", "a[1]~2.b", "a1", "ab"]
    await owner.write("running", steps=[step(path) for path in paths])
    page = await repository.read_steps(owner.execution_id, StepFilter(path_prefix="a[1]"))
    assert [row.step_path for row in page.records] == ["a[1]", "a[1].b", "a[1]~2.b"]


async def test_one_round_trip_writes_the_entries_of_many_executions(
    repository: SupabaseRepository, project: Project
) -> None:
    owners = [await Owner.of_new(repository) for _ in range(20)]
    project.gateway.calls.clear()
    answers = await repository.record([owner.entry("running", steps=[step("a")]) for owner in owners])
    assert all(answer.accepted for answer in answers)
    assert project.gateway.calls == {"/rest/v1/rpc/archon_workflow_record": 1}


async def test_reads_of_many_executions_at_once_share_round_trips(
    repository: SupabaseRepository, project: Project
) -> None:
    ids = [await created(repository, f"w_{number}") for number in range(5)]
    project.gateway.calls.clear()
    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(repository.read_execution, ids[number % 5])
    assert project.gateway.calls.total() <= 2


async def test_a_large_document_comes_back_whole(repository: SupabaseRepository) -> None:
    text = '\U0001f600 {{ x }} \\ " \u2028' * 50_000
    template = await saved(repository, description=text)
    assert (await repository.read_template(template_id=template.id)).document == document(description=text)
