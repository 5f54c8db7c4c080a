"""Creating, finding and listing executions, as every tenant of the repository does it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from samples import LEASE, NOON, Owner, claimed, created, document, new, save, saved, step

from archon_workflows.errors import Conflict, NotFound
from archon_workflows.model.records import CreatedExecution, ExecutionFilter, StepFilter, Taker
from archon_workflows.storage.repository import Repository


async def test_a_new_execution_is_pending_and_pinned(repository: Repository) -> None:
    template = await saved(repository)
    await repository.save_template(save(template.id))
    one = new(template, triggered_by="ann", trigger_context={"task": 7}, input_parameters={"vm": "a"})
    assert await repository.create_execution(one) == CreatedExecution(id=one.id, existed=False)
    row = await repository.read_execution(one.id)
    assert (row.status, row.workflow_name, row.version_number) == ("pending", "deploy", 1)
    assert (row.triggered_by, row.input_parameters) == ("ann", {"vm": "a"})
    assert row.trigger_context == row.execution_context == {"task": 7}
    assert (row.root_execution_id, row.link_depth, row.progress_percentage) == (one.id, 0, 0)
    assert (row.started_at, row.deadline_at, row.execution_log) == (None, None, ())


async def test_creating_it_twice_is_creating_it_once(repository: Repository) -> None:
    one = new(await saved(repository))
    await repository.create_execution(one)
    assert await repository.create_execution(one) == CreatedExecution(id=one.id, existed=True)


async def test_the_same_idempotency_key_finds_the_first_execution(repository: Repository) -> None:
    template = await saved(repository)
    first = await repository.create_execution(new(template, idempotency_key="k"))
    second = await repository.create_execution(new(template, idempotency_key="k"))
    assert second == CreatedExecution(id=first.id, existed=True)


async def test_one_key_sent_many_times_at_once_makes_one_execution(repository: Repository) -> None:
    template = await saved(repository)
    answers: list[CreatedExecution] = []

    async def create() -> None:
        answers.append(await repository.create_execution(new(template, idempotency_key="k")))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(create)
    assert len({answer.id for answer in answers}) == 1
    assert sum(not answer.existed for answer in answers) == 1


async def test_a_key_of_another_template_is_refused(repository: Repository) -> None:
    await repository.create_execution(new(await saved(repository, "one"), idempotency_key="k"))
    with pytest.raises(Conflict) as refused:
        await repository.create_execution(new(await saved(repository, "two"), idempotency_key="k"))
    assert refused.value.code == "idempotency_key_reused"


async def test_a_key_is_its_callers_own(repository: Repository) -> None:
    template = await saved(repository)
    callers = (None, "ann", "ben", None, "ann", "ben")
    made = [
        await repository.create_execution(new(template, idempotency_key="k", caller=one)) for one in callers
    ]
    assert [one.existed for one in made] == [False, False, False, True, True, True]
    assert [one.id for one in made[:3]] == [one.id for one in made[3:]]


async def test_a_child_is_its_parents_callers_whatever_is_said(repository: Repository) -> None:
    root = await created(repository, "root", caller="ann")
    for said in (None, "ann", "ben"):
        child = await created(
            repository, f"child_{said}".lower(), parent_execution_id=root, parent_step_path="a", caller=said
        )
        assert (await repository.read_execution(child)).caller == "ann"


async def test_a_version_must_exist_and_be_of_the_template(repository: Repository) -> None:
    one, two = await saved(repository, "one"), await saved(repository, "two")
    for version_id in (uuid4(), two.version_id):
        with pytest.raises(NotFound) as missing:
            await repository.create_execution(new(one, workflow_version_id=version_id))
        assert missing.value.code == "version_not_found"


async def test_a_template_that_has_changed_since_it_was_read_is_not_run(repository: Repository) -> None:
    read = await saved(repository)
    changed = await repository.save_template(save(read.id, document=document(title="Newer")))
    for taker in (None, Taker(owner_id="me", lease_seconds=LEASE)):
        with pytest.raises(Conflict) as refused:
            await repository.create_execution(new(read, template_updated_at=read.updated_at), taker=taker)
        assert refused.value.code == "template_changed"
    assert (await repository.list_executions(ExecutionFilter(), offset=0, limit=1)).total == 0
    made = await repository.create_execution(new(changed, template_updated_at=changed.updated_at))
    assert not made.existed


async def test_what_is_created_for_its_taker_is_as_what_is_claimed_afterwards(repository: Repository) -> None:
    template = await saved(repository)
    taker = Taker(owner_id="me", lease_seconds=LEASE, offered_tools=("server/tool", "other"))
    made = await repository.create_execution(new(template, required_tools=("server/tool",)), taker=taker)
    assert made.claim is not None
    assert made.claim.execution == await repository.read_execution(made.id)
    assert (made.claim.fencing_token, made.claim.taken_over) == (1, False)
    assert made.claim.execution.owner_id == "me"
    later = (await repository.create_execution(new(template))).id
    claim = await claimed(repository, later)
    assert (claim.fencing_token, claim.taken_over) == (1, False)


async def test_an_execution_is_not_created_for_a_taker_without_its_tools(repository: Repository) -> None:
    template = await saved(repository)
    taker = Taker(owner_id="me", lease_seconds=LEASE, offered_tools=("other",))
    made = await repository.create_execution(new(template, required_tools=("server/tool",)), taker=taker)
    assert made.claim is None
    assert (await repository.read_execution(made.id)).owner_id is None


async def test_a_child_knows_its_root_and_depth(repository: Repository) -> None:
    root = await created(repository, "root")
    child = await created(repository, "child", parent_execution_id=root, parent_step_path="link")
    grandchild = await created(repository, "grandchild", parent_execution_id=child, parent_step_path="a.b")
    row = await repository.read_execution(grandchild)
    assert (row.root_execution_id, row.link_depth, row.parent_step_path) == (root, 2, "a.b")


async def test_an_ended_parent_starts_no_children_but_its_old_ones_are_found(repository: Repository) -> None:
    parent = await Owner.of_new(repository)
    template = await saved(repository, "child")
    child = new(template, parent_execution_id=parent.execution_id, parent_step_path="link")
    await repository.create_execution(child)
    await parent.write("cancelled", release=True)
    assert (await repository.create_execution(child)).existed
    with pytest.raises(Conflict) as refused:
        await repository.create_execution(
            new(template, parent_execution_id=parent.execution_id, parent_step_path="link~2")
        )
    assert refused.value.code == "parent_ended"


@pytest.mark.parametrize(
    "now", [{"status": "failed", "error_message": "cancelled"}, {"status": "running", "is_another": True}]
)
async def test_a_step_that_does_not_wait_for_a_child_any_more_starts_none(
    repository: Repository, now: dict[str, Any]
) -> None:
    parent = await Owner.of_new(repository)
    child = new(
        await saved(repository, "child"), parent_execution_id=parent.execution_id, parent_step_path="link"
    )
    changes = dict(now)
    awaited = uuid4() if changes.pop("is_another", False) else child.id
    link = step("link", step_type="workflow_link", sub_workflow_execution_id=awaited)
    await parent.write("running", steps=[replace(link, **changes)])
    with pytest.raises(Conflict, match="does not wait") as refused:
        await repository.create_execution(child)
    assert refused.value.code == "parent_ended"


async def test_what_is_not_there_is_not_found(repository: Repository) -> None:
    with pytest.raises(NotFound) as missing:
        await repository.read_execution(uuid4())
    assert missing.value.code == "execution_not_found"
    with pytest.raises(NotFound):
        await created(repository, parent_execution_id=uuid4(), parent_step_path="link")


async def test_several_executions_are_read_at_once(repository: Repository) -> None:
    one, two = await created(repository, "one"), await created(repository, "two")
    found = await repository.read_executions([two, uuid4(), one])
    assert {row.id for row in found} == {one, two}


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["third", "second", "first"]),
    ({"workflow_name": "one"}, ["third", "first"]),
    ({"workflow_name": "nothing"}, []),
    ({"statuses": ["running", "failed"]}, ["third"]),
    ({"triggered_by": "ann"}, ["second"]),
    ({"caller": "ben"}, ["third"]),
    ({"caller": "ann"}, []),
]


@pytest.mark.parametrize(("which", "names"), FILTERS)
async def test_executions_are_listed_newest_first_as_filtered(
    repository: Repository, which: dict[str, Any], names: list[str]
) -> None:
    one, two = await saved(repository, "one"), await saved(repository, "two")
    ids: dict[UUID, str] = {}
    for name, template, by in (("first", one, None), ("second", two, "ann"), ("third", one, "ben")):
        caller = "ben" if name == "third" else None
        ids[(await repository.create_execution(new(template, triggered_by=by, caller=caller))).id] = name
    third = next(key for key, name in ids.items() if name == "third")
    claim = (await repository.claim("me", lease_seconds=60, execution_id=third))[0]
    await Owner(repository, claim).write("running")
    page = await repository.list_executions(ExecutionFilter(**which), offset=0, limit=10)
    assert [ids[row.id] for row in page.records] == names
    assert page.total == len(names)


async def test_executions_are_listed_by_parent_and_time(repository: Repository) -> None:
    root = await created(repository, "root")
    child = await created(repository, "child", parent_execution_id=root, parent_step_path="link")
    at = (await repository.read_execution(child)).created_at

    async def listed(**which: Any) -> list[UUID]:
        page = await repository.list_executions(ExecutionFilter(**which), offset=0, limit=10)
        return [row.id for row in page.records]

    assert await listed(parent_execution_id=root) == [child]
    assert await listed(created_before=at) == [root]
    assert await listed(created_after=at - timedelta(microseconds=1)) == [child]


async def test_a_page_past_the_end_still_knows_the_total(repository: Repository) -> None:
    await created(repository)
    page = await repository.list_executions(ExecutionFilter(), offset=5, limit=5)
    assert (page.records, page.total) == ((), 1)


async def test_steps_are_read_in_the_order_in_which_they_were_first_written(repository: Repository) -> None:
    owner = await Owner.of_new(repository)
    await owner.write("running", steps=[step("b"), step("a")])
    await owner.write(steps=[step("c"), step("b", status="completed", completed_at=NOON)])
    page = await repository.read_steps(owner.execution_id)
    assert [record.step_path for record in page.records] == ["b", "a", "c"]
    second = await repository.read_steps(owner.execution_id, offset=1, limit=1)
    assert ([record.step_path for record in second.records], second.total) == (["a"], 3)


STEP_FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"path_prefix": "checks"}, ["checks", "checks.lint", "checks~2.lint"]),
    ({"path_prefix": "deploy"}, ["deploy", "deploy[2].it"]),
    ({"path_prefix": "poll"}, ["poll", "poll#2"]),
    ({"path_prefix": "check"}, []),
    ({"statuses": ["pending"]}, ["deploy_all"]),
]


@pytest.mark.parametrize(("which", "paths"), STEP_FILTERS)
async def test_steps_are_filtered_by_status_and_by_what_is_inside(
    repository: Repository, which: dict[str, Any], paths: list[str]
) -> None:
    owner = await Owner.of_new(repository)
    inside = ["checks", "checks.lint", "checks~2.lint", "deploy", "deploy[2].it", "poll", "poll#2"]
    steps = [*(step(path) for path in inside), step("deploy_all", status="pending", started_at=None)]
    await owner.write("running", steps=steps)
    page = await repository.read_steps(owner.execution_id, StepFilter(**which))
    assert [record.step_path for record in page.records] == paths
    assert page.total == len(paths)
