"""Workers say what they offer, and an execution goes only to one that has all of its tools."""

from uuid import UUID, uuid4

import pytest
from samples import EXPIRED, LEASE, Sql, created, request

from archon_workflows.model.records import Prospect, WorkerReport
from archon_workflows.storage.repository import Repository

OFFER = ("ping", "lab/ping", "ping_lab")


def report(owner: str = "one", tools: tuple[str, ...] = OFFER, **fields: bool) -> WorkerReport:
    chosen = {"has_listed_all": True, **fields}
    return WorkerReport(owner_id=owner, kind="worker", offered_tools=tools, max_executions=7, **chosen)


async def claimed_ids(repository: Repository, *offered: str, execution_id: UUID | None = None) -> set[UUID]:
    claims = await repository.claim(
        "asker", lease_seconds=EXPIRED, limit=10, execution_id=execution_id, offered_tools=offered
    )
    return {claim.execution.id for claim in claims}


@pytest.mark.parametrize(
    ("required", "offered", "fits"),
    [
        ((), (), True),
        (("ping",), OFFER, True),
        (("lab/ping", "ping_lab"), OFFER, True),
        (("ping",), (), False),
        (("ping", "pong"), OFFER, False),
    ],
)
async def test_an_execution_goes_only_to_who_offers_all_its_tools(
    repository: Repository, required: tuple[str, ...], offered: tuple[str, ...], *, fits: bool
) -> None:
    execution_id = await created(repository, required_tools=required)
    assert (await repository.read_execution(execution_id)).required_tools == required
    assert await claimed_ids(repository, *offered) == ({execution_id} if fits else set())
    assert await claimed_ids(repository, *offered, execution_id=execution_id) == (
        {execution_id} if fits else set()
    )


async def test_without_an_offer_tools_do_not_matter(repository: Repository) -> None:
    execution_id = await created(repository, required_tools=("nobody_has_it",))
    (claim,) = await repository.claim("one", lease_seconds=LEASE)
    assert claim.execution.id == execution_id


async def test_ending_an_execution_needs_none_of_its_tools(repository: Repository) -> None:
    execution_id = await created(repository, required_tools=("nobody_has_it",))
    assert await claimed_ids(repository) == set()
    await repository.request_control(execution_id, request("cancel"))
    assert await claimed_ids(repository) == {execution_id}


async def test_a_retry_on_a_newer_version_needs_that_versions_tools(repository: Repository, sql: Sql) -> None:
    execution_id = await created(repository, required_tools=("old",))
    await sql.run("update public.archon_workflow_executions set status = 'failed', error_message = 'no'")
    await repository.request_control(
        execution_id, request("retry", version_number=1, required_tools=("new", "newer"))
    )
    assert (await repository.read_execution(execution_id)).required_tools == ("new", "newer")


async def test_a_worker_hears_what_free_executions_miss_in_it(repository: Repository) -> None:
    await created(repository, required_tools=("ping", "pong"))
    await created(repository, "second", required_tools=("ping",))
    await created(repository, "third")
    assert await repository.report_worker(report(), lifetime_seconds=60) == {"pong"}
    await repository.claim("one", lease_seconds=LEASE, limit=10)
    assert await repository.report_worker(report(), lifetime_seconds=60) == frozenset()


async def test_a_worker_is_known_while_it_lives(repository: Repository) -> None:
    await repository.report_worker(report("gone"), lifetime_seconds=EXPIRED)
    await repository.report_worker(report("one", tools=()), lifetime_seconds=60)
    await repository.report_worker(report("one"), lifetime_seconds=60)
    (worker,) = await repository.list_workers()
    assert (worker.owner_id, worker.kind, worker.max_executions) == ("one", "worker", 7)
    assert worker.offered_tools == OFFER
    assert worker.created_at < worker.seen_at
    await repository.remove_worker("one")
    assert await repository.list_workers() == ()


async def test_the_prospect_says_what_no_living_worker_offers(repository: Repository) -> None:
    execution_id = await created(repository, required_tools=("ping", "pong"))
    nobody = await repository.read_prospect(execution_id)
    assert (nobody.workers, nobody.missing_tools) == (0, ("ping", "pong"))
    assert "No process that advances executions is alive" in str(nobody.obstacle)
    await repository.report_worker(report(), lifetime_seconds=60)
    await repository.report_worker(report("new", tools=(), has_listed_all=False), lifetime_seconds=60)
    assert await repository.read_prospect(execution_id) == Prospect(
        is_free=True, workers=2, fitting=0, listing=1, missing_tools=("pong",)
    )
    await repository.report_worker(report("other", tools=("pong",)), lifetime_seconds=60)
    apart = await repository.read_prospect(execution_id)
    assert (apart.fitting, apart.missing_tools) == (0, ())
    assert "No single worker offers all" in str(apart.obstacle)
    await repository.report_worker(report("all", tools=("ping", "pong")), lifetime_seconds=60)
    assert (await repository.read_prospect(execution_id)).obstacle is None


async def test_an_owned_execution_has_no_obstacle(repository: Repository) -> None:
    execution_id = await created(repository, required_tools=("ping",))
    await repository.claim("one", lease_seconds=LEASE)
    prospect = await repository.read_prospect(execution_id)
    assert not prospect.is_free
    assert prospect.obstacle is None


async def test_nothing_is_known_of_what_does_not_exist(repository: Repository) -> None:
    assert not (await repository.read_prospect(uuid4())).is_free
