"""Leases: who may advance an execution, and when another may; as every tenant keeps them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from samples import EXPIRED, LEASE, Owner, claimed, created, new, request, saved

from archon_workflows.model.records import Claim, Taker
from archon_workflows.storage.repository import Repository


async def free(repository: Repository, execution_id: UUID) -> bool:
    return bool(await repository.claim("asker", lease_seconds=EXPIRED, execution_id=execution_id))


async def test_a_pending_execution_is_claimed_once(repository: Repository) -> None:
    execution_id = await created(repository, input_parameters={"a": 1})
    claim = await claimed(repository, execution_id, owner="one")
    assert (claim.fencing_token, claim.taken_over) == (1, False)
    row = claim.execution
    assert (row.status, row.owner_id, row.workflow_name) == ("pending", "one", "deploy")
    assert row.input_parameters == {"a": 1}
    assert row.lease_expires_at is not None
    assert row.lease_expires_at - claim.now == timedelta(seconds=LEASE)
    assert await repository.claim("two", lease_seconds=LEASE) == ()


async def test_an_expired_lease_is_taken_over_with_a_higher_token(repository: Repository) -> None:
    owner = await Owner.of_new(repository, lease=EXPIRED)
    await owner.write("running")
    (claim,) = await repository.claim("two", lease_seconds=LEASE)
    assert (claim.fencing_token, claim.taken_over) == (2, True)
    assert claim.execution.journal_sequence == 1


async def test_the_oldest_are_claimed_first_up_to_the_limit(repository: Repository) -> None:
    template = await saved(repository)
    ids = [(await repository.create_execution(new(template))).id for _ in range(4)]
    claims = await repository.claim("one", lease_seconds=LEASE, limit=3)
    assert [claim.execution.id for claim in claims] == ids[:3]
    claims = await repository.claim("one", lease_seconds=LEASE, limit=3)
    assert [claim.execution.id for claim in claims] == ids[3:]


async def test_owners_that_claim_at_once_never_get_the_same(repository: Repository) -> None:
    template = await saved(repository)
    for _ in range(40):
        await repository.create_execution(new(template))
    claims: list[Claim] = []

    async def take(owner: str) -> None:
        while taken := await repository.claim(owner, lease_seconds=LEASE, limit=3):
            claims.extend(taken)

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(take, f"owner {number}")
    while taken := await repository.claim("last", lease_seconds=LEASE, limit=40):
        claims.extend(taken)
    assert len(claims) == len({claim.execution.id for claim in claims}) == 40


async def test_a_lease_is_renewed_by_its_holder_only(repository: Repository) -> None:
    stale = await Owner.of_new(repository, lease=EXPIRED)
    holder = Owner(repository, await claimed(repository, stale.execution_id, owner="other", lease=EXPIRED))
    answers = await repository.renew([stale.held, holder.held], lease_seconds=LEASE)
    assert [answer.accepted for answer in answers] == [False, True]
    assert not await free(repository, stale.execution_id)


async def test_renewing_is_no_news_of_the_execution(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    before = await owner.row()
    await repository.renew([owner.held], lease_seconds=2 * LEASE)
    after = await owner.row()
    assert after.updated_at == before.updated_at
    assert after.lease_expires_at > before.lease_expires_at


async def test_a_released_execution_is_free_at_once(repository: Repository) -> None:
    owner, other = await Owner.of_new(repository), await Owner.of_new(repository)
    await owner.write("running")
    await repository.release([owner.held, (other.execution_id, 99)])
    assert not await free(repository, other.execution_id)
    claim = await claimed(repository, owner.execution_id, owner="next")
    assert claim.taken_over
    assert not (await owner.write()).accepted


async def test_the_last_entry_can_release(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    await owner.write("running", release=True)
    assert await free(repository, owner.execution_id)


WAITING: list[tuple[dict[str, Any], float | None, bool]] = [
    ({"status": "paused", "pause_reason": "approval"}, None, False),
    ({"status": "paused", "pause_reason": "approval"}, 3600, False),
    ({"status": "paused", "pause_reason": "approval"}, -1, True),
    ({"status": "running"}, None, True),
    ({"status": "running"}, 3600, False),
    ({"status": "running"}, -1, True),
]


@pytest.mark.parametrize(("change", "wakes_in", "is_free"), WAITING)
async def test_an_execution_that_was_let_go_is_free_when_it_has_something_to_do(
    repository: Repository, change: dict[str, Any], wakes_in: float | None, *, is_free: bool
) -> None:
    owner = await Owner.of_new(repository)
    answer = await owner.write("running")
    wake_at = None if wakes_in is None else answer.now + timedelta(seconds=wakes_in)
    await owner.write(**change, wake_at=wake_at, release=True)
    assert await free(repository, owner.execution_id) is is_free
    assert bool(await repository.claim("any", lease_seconds=LEASE)) is is_free


async def test_a_control_request_wakes_a_paused_execution(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    await owner.write("paused", pause_reason="requested", release=True)
    assert not await free(repository, owner.execution_id)
    await repository.request_control(owner.execution_id, request("resume"))
    (claim,) = await repository.claim("two", lease_seconds=LEASE)
    assert [one.action for one in claim.execution.control_requests] == ["resume"]
    assert not claim.taken_over


async def test_a_request_that_comes_while_the_owner_lets_go_is_not_forgotten(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    await owner.write("running")
    seen, unseen = request("pause"), request("cancel")
    await repository.request_control(owner.execution_id, seen)
    await repository.request_control(owner.execution_id, unseen)
    await owner.write("paused", pause_reason="requested", acknowledged=[seen.id], release=True)
    (claim,) = await repository.claim("two", lease_seconds=LEASE)
    assert [one.id for one in claim.execution.control_requests] == [unseen.id]


async def test_acknowledging_everything_lets_a_paused_execution_rest(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    await owner.write("running")
    pause = request("pause")
    await repository.request_control(owner.execution_id, pause)
    await owner.write("paused", pause_reason="requested", acknowledged=[pause.id], release=True)
    assert not await free(repository, owner.execution_id)


TAKER = Taker(owner_id="maker", lease_seconds=LEASE)


async def test_who_makes_an_execution_can_take_it_in_the_same_breath(repository: Repository) -> None:
    made = await repository.create_execution(new(await saved(repository)), taker=TAKER)
    assert made.claim is not None
    assert (made.claim.execution.id, made.claim.fencing_token, made.claim.taken_over) == (made.id, 1, False)
    assert made.claim.execution == await repository.read_execution(made.id)
    assert await repository.claim("another", lease_seconds=LEASE) == ()


@pytest.mark.parametrize(
    ("fields", "taker"),
    [
        ({"required_tools": ("ping",)}, replace(TAKER, offered_tools=("pong",))),
        ({}, replace(TAKER, offered_tools=())),
    ],
    ids=["it needs another tool", "its template is full"],
)
async def test_what_its_maker_cannot_take_is_left_to_others(
    repository: Repository, fields: dict[str, Any], taker: Taker
) -> None:
    limits: dict[str, Any] = {} if fields else {"max_concurrent_executions": 1}
    template = await saved(repository, **limits)
    if limits:
        await repository.create_execution(new(template), taker=TAKER)
    made = await repository.create_execution(new(template, **fields), taker=taker)
    assert made.claim is None
    assert (await repository.read_execution(made.id)).owner_id is None


async def test_a_maker_whose_answer_was_lost_gets_it_anew_and_nobody_else_does(
    repository: Repository,
) -> None:
    one = new(await saved(repository), idempotency_key="k")
    await repository.create_execution(one, taker=TAKER)
    stranger = await repository.create_execution(one, taker=replace(TAKER, owner_id="stranger"))
    assert (stranger.existed, stranger.claim) == (True, None)
    again = await repository.create_execution(one, taker=TAKER)
    assert again.claim is not None
    assert again.claim.fencing_token == 2
    other = await repository.create_execution(replace(one, id=uuid4()), taker=TAKER)
    assert (other.id, other.existed, other.claim) == (one.id, True, None)
