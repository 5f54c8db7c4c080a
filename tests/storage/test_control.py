"""Control requests and what watchers hear, as every tenant of the repository keeps and tells them."""

from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from samples import EXPIRED, Owner, claimed, created, line, messages, new, request, saved, step

from archon_workflows.errors import Conflict, NotFound
from archon_workflows.model.records import EXECUTION_STATUSES, Announcement
from archon_workflows.storage.repository import Repository

ALLOWED = {
    "pause": {"pending", "running"},
    "resume": {"paused"},
    "cancel": {"pending", "running", "paused"},
    "retry": {"failed", "cancelled"},
    "approve": {"pending", "running", "paused"},
    "reject": {"pending", "running", "paused"},
    "resolve": {"pending", "running", "paused"},
}


async def in_status(repository: Repository, status: Any) -> Owner:
    owner = await Owner.of_new(repository)
    if status != "pending":
        await owner.write("running")
    reason = {"paused": {"pause_reason": "requested"}, "failed": {"error_message": "broke"}}
    if status not in ("pending", "running"):
        await owner.write(status, release=True, **reason.get(status, {}))
    return owner


@pytest.mark.parametrize("status", EXECUTION_STATUSES)
@pytest.mark.parametrize("action", ALLOWED)
async def test_an_action_needs_a_status_that_allows_it(
    repository: Repository, action: Any, status: str
) -> None:
    owner = await in_status(repository, status)
    if status in ALLOWED[action]:
        row = await repository.request_control(owner.execution_id, request(action))
        assert [one.action for one in row.control_requests] == [action]
    else:
        with pytest.raises(Conflict, match=status) as refused:
            await repository.request_control(owner.execution_id, request(action))
        assert refused.value.code == "wrong_status"
        assert refused.value.suggestion


async def test_a_request_that_is_sent_twice_is_one(repository: Repository) -> None:
    owner = await in_status(repository, "running")
    pause = request("pause")
    for _ in range(2):
        row = await repository.request_control(owner.execution_id, pause)
        assert len(row.control_requests) == 1
    await owner.write("paused", pause_reason="requested", acknowledged=[pause.id], release=True)
    row = await repository.request_control(owner.execution_id, pause)
    assert (row.status, row.control_requests) == ("paused", ())


async def test_a_request_keeps_all_that_was_said(repository: Repository) -> None:
    owner = await in_status(repository, "running")
    said = request("resolve", step_path="a.b", resolution="succeeded", output={"n": [1]}, reason="saw it")
    row = await repository.request_control(owner.execution_id, said)
    (kept,) = row.control_requests
    assert (kept.id, kept.action, kept.step_path, kept.resolution) == (said.id, "resolve", "a.b", "succeeded")
    assert (kept.output, kept.reason, kept.requested_by) == ({"n": [1]}, "saw it", "tester")


async def test_an_unknown_execution_is_not_found(repository: Repository) -> None:
    with pytest.raises(NotFound) as missing:
        await repository.request_control(uuid4(), request("cancel"))
    assert missing.value.code == "execution_not_found"


async def family(repository: Repository) -> tuple[UUID, UUID, UUID]:
    root = await created(repository, "root")
    child = await created(repository, "child", parent_execution_id=root, parent_step_path="link")
    grandchild = await created(repository, "grandchild", parent_execution_id=child, parent_step_path="link")
    return root, child, grandchild


async def requested(repository: Repository, execution_id: UUID) -> list[str]:
    return [one.action for one in (await repository.read_execution(execution_id)).control_requests]


@pytest.mark.parametrize(("action", "reaches"), [("pause", True), ("cancel", True), ("approve", False)])
async def test_pause_and_cancel_reach_the_descendants(
    repository: Repository, action: Any, *, reaches: bool
) -> None:
    root, child, grandchild = await family(repository)
    await repository.request_control(root, request(action))
    for descendant in (child, grandchild):
        assert await requested(repository, descendant) == ([action] if reaches else [])


async def test_a_request_to_a_child_leaves_its_parent_alone(repository: Repository) -> None:
    root, child, grandchild = await family(repository)
    await repository.request_control(child, request("cancel"))
    assert await requested(repository, root) == []
    assert await requested(repository, grandchild) == ["cancel"]


async def test_descendants_that_have_ended_are_left_alone(repository: Repository) -> None:
    root, child, grandchild = await family(repository)
    await Owner(repository, await claimed(repository, child)).write("cancelled", release=True)
    await repository.request_control(root, request("cancel"))
    assert await requested(repository, child) == []
    assert await requested(repository, grandchild) == ["cancel"]


async def test_an_entry_cancels_the_children_that_it_names_and_all_below_them(repository: Repository) -> None:
    root, child, grandchild = await family(repository)
    other = await created(repository, "other", parent_execution_id=root, parent_step_path="other")
    ended = await created(repository, "ended", parent_execution_id=root, parent_step_path="ended")
    await Owner(repository, await claimed(repository, ended)).write("cancelled", release=True)
    owner = Owner(repository, await claimed(repository, root))
    entry = owner.entry("running", cancelled_children=[child, ended, uuid4()])
    beside = await Owner.of_new(repository)
    for entries in ([entry], [beside.entry("running"), entry]):
        answers = await repository.record(entries)
        assert all(answer.accepted for answer in answers)
    assert [await requested(repository, one) for one in (root, child, grandchild, other, ended)] == [
        [],
        ["cancel"],
        ["cancel"],
        [],
        [],
    ]


async def test_a_stale_owner_cancels_no_children(repository: Repository) -> None:
    root, child, _ = await family(repository)
    stale = Owner(repository, await claimed(repository, root, lease=EXPIRED))
    await claimed(repository, root, owner="other")
    assert not (await stale.write("cancelled", cancelled_children=[child], release=True)).accepted
    assert await requested(repository, child) == []


async def test_a_child_that_starts_while_its_parent_is_cancelled_hears_of_it(repository: Repository) -> None:
    root = await created(repository, "root")
    await repository.request_control(root, request("cancel"))
    await repository.request_control(root, request("approve"))
    child = await created(repository, "child", parent_execution_id=root, parent_step_path="link")
    assert await requested(repository, child) == ["cancel"]


async def test_cancels_and_journals_of_a_family_do_not_block_each_other_for_good(
    repository: Repository,
) -> None:
    family_ids = await family(repository)
    owners = [Owner(repository, await claimed(repository, one)) for one in family_ids]

    async def ask() -> None:
        for _ in range(10):
            await repository.request_control(family_ids[0], request("cancel"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        for _ in range(10):
            await repository.record([owner.entry(log=[line("x")]) for owner in reversed(owners)])
    assert len(await requested(repository, family_ids[2])) == 10


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_a_retry_reopens_the_execution_and_keeps_its_error_in_the_log(
    repository: Repository, status: Any
) -> None:
    owner = await Owner.of_new(repository)
    await owner.write("running", steps=[step("a")], progress_percentage=30.0, log=[line("begun")])
    await owner.write(status, error_message="it broke", error_details={"code": "tool_error"})
    row = await repository.request_control(owner.execution_id, request("retry", from_step="a"))
    assert (row.status, row.completed_at, row.error_message, row.error_details) == (
        "pending",
        None,
        None,
        None,
    )
    assert (row.deadline_at, row.progress_percentage) == (None, 30.0)
    assert messages(row.execution_log) == ["begun", f"Reopened by a retry; it was {status}"]
    assert row.execution_log[-1]["details"] == {
        "error_message": "it broke",
        "error_details": {"code": "tool_error"},
    }
    (claim,) = await repository.claim("two", lease_seconds=60)
    assert claim.execution.control_requests[0].from_step == "a"
    again = Owner(repository, claim)
    await again.write("running")
    assert (await again.row()).deadline_at is not None


async def test_a_retry_does_not_touch_an_ended_parent(repository: Repository) -> None:
    root = Owner(repository, await claimed(repository, await created(repository, "root")))
    child_id = await created(
        repository, "child", parent_execution_id=root.execution_id, parent_step_path="link"
    )
    child = Owner(repository, await claimed(repository, child_id))
    await child.write("cancelled")
    await root.write("cancelled")
    await repository.request_control(child_id, request("retry"))
    assert (await child.row()).status == "pending"
    assert (await root.row()).status == "cancelled"


@pytest.mark.parametrize("tenant", ["direct"], indirect=True)
async def test_watchers_hear_of_a_status_a_request_and_an_ended_child(repository: Repository) -> None:
    root = Owner(repository, await claimed(repository, await created(repository, "root")))
    template = await saved(repository, "child")
    heard: list[UUID] = []
    async with repository.watch() as ids:

        async def hear(*expected: UUID) -> None:
            with anyio.fail_after(5):
                heard.clear()
                async for announcement in ids:
                    heard.append(announcement.execution_id)
                    if set(expected) <= set(heard):
                        return

        await root.write("running")
        await hear(root.execution_id)
        one = new(template, parent_execution_id=root.execution_id, parent_step_path="link")
        await repository.create_execution(one)
        await hear(one.id)
        child = Owner(repository, await claimed(repository, one.id))
        await child.write("cancelled")
        await hear(one.id, root.execution_id)
        await repository.request_control(root.execution_id, request("pause"))
        await hear(root.execution_id)
        await repository.release([root.held])
        await hear(root.execution_id)


@pytest.mark.parametrize("tenant", ["direct"], indirect=True)
async def test_watchers_hear_nothing_of_a_write_that_changes_no_status(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    marker = await Owner.of_new(repository)
    await owner.write("running")
    async with repository.watch() as ids:
        await owner.write("running", log=[line("x")], progress_percentage=10.0)
        await repository.renew([owner.held], lease_seconds=60)
        await marker.write("running")
        with anyio.fail_after(5):
            assert await anext(ids) == Announcement(marker.execution_id, "changed")


@pytest.mark.parametrize("tenant", ["supabase"], indirect=True)
async def test_a_tenant_that_cannot_listen_stays_silent(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    async with repository.watch() as ids:
        await owner.write("running")
        with anyio.move_on_after(0.05) as waiting:
            await anext(ids)
    assert waiting.cancelled_caught
