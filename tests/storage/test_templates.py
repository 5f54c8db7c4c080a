"""Templates and versions, as every tenant of the repository keeps them."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import anyio
import pytest
from samples import Sql, created, document, save, saved

from archon_workflows.errors import Conflict, NotFound
from archon_workflows.model.records import TemplateFilter
from archon_workflows.storage.repository import Repository


async def test_a_saved_template_is_read_back_by_name_and_by_id(repository: Repository) -> None:
    whole = document(
        description="Deploys.",
        category="infrastructure",
        tags=["vm", "night"],
        parameters={"vm_name": {"type": "string", "required": True}},
        outputs={"vm": {"value": "{{ steps.only.output }}"}},
        created_by="ann",
    )
    template = await repository.save_template(save(document=whole, version_tag="2.1.0"))
    assert template.document == whole
    assert (template.version, template.version_number, template.status) == ("2.1.0", 1, "active")
    assert (template.category, template.tags, template.created_by) == (
        "infrastructure",
        ("vm", "night"),
        "ann",
    )
    assert await repository.read_template(name="deploy") == template
    assert await repository.read_template(template_id=template.id) == template


async def test_the_document_fills_the_columns(repository: Repository, sql: Sql) -> None:
    await saved(repository, timeout_minutes=1.5, max_retries=7, is_public=False, outputs={"a": {}})
    row = await sql.value("select to_jsonb(t) from public.archon_workflow_templates as t")
    assert (row["timeout_minutes"], row["max_retries"], row["is_public"]) == (1.5, 7, False)
    assert (row["outputs"], row["steps"], row["title"]) == ({"a": {}}, document()["steps"], "Deploy")


async def test_every_save_is_a_new_version(repository: Repository) -> None:
    first = await saved(repository)
    second = await repository.save_template(
        save(first.id, version_tag="1.1.0", change_type="minor", change_summary="more", breaking_changes=True)
    )
    assert (second.id, second.version_number, second.version) == (first.id, 2, "1.1.0")
    versions = await repository.list_versions(first.id, offset=0, limit=10)
    assert versions.total == 2
    assert [one.version_number for one in versions.records] == [2, 1]
    newest = versions.records[0]
    assert (newest.change_type, newest.change_summary, newest.breaking_changes) == ("minor", "more", True)
    assert newest.template_snapshot == document()


async def test_saving_the_same_version_twice_saves_it_once(repository: Repository) -> None:
    one = save()
    first = await repository.save_template(one)
    assert await repository.save_template(one) == first
    update = save(first.id, expected_version_number=1)
    second = await repository.save_template(update)
    assert await repository.save_template(update) == second
    assert second.version_number == 2


async def test_the_same_save_sent_many_times_at_once_is_one_version(repository: Repository) -> None:
    one = save()
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(repository.save_template, one)
    assert (await repository.read_template(name="deploy")).version_number == 1


@pytest.mark.parametrize("renamed", [False, True], ids=["create", "rename"])
async def test_a_name_is_taken_once(repository: Repository, *, renamed: bool) -> None:
    await saved(repository, "taken")
    other = await saved(repository, "other") if renamed else None
    with pytest.raises(Conflict, match="taken") as refused:
        await repository.save_template(save(other.id if other else None, name="taken"))
    assert refused.value.code == "name_taken"
    assert refused.value.suggestion


async def test_a_stale_expected_version_is_refused_and_nothing_is_stored(repository: Repository) -> None:
    template = await saved(repository)
    await repository.save_template(save(template.id, expected_version_number=1))
    with pytest.raises(Conflict, match="is 2") as refused:
        await repository.save_template(save(template.id, expected_version_number=1))
    assert refused.value.code == "stale_version"
    assert (await repository.read_template(name="deploy")).version_number == 2


async def test_saving_a_template_that_is_not_there_says_so(repository: Repository) -> None:
    with pytest.raises(NotFound) as missing:
        await repository.save_template(save(uuid4()))
    assert missing.value.code == "template_not_found"


async def test_an_unknown_name_gets_the_nearest_one(repository: Repository) -> None:
    await saved(repository, "vm_deployment")
    with pytest.raises(NotFound) as missing:
        await repository.read_template(name="vm_deploymnt")
    assert missing.value.code == "template_not_found"
    assert "vm_deployment" in (missing.value.suggestion or "")


async def test_a_version_is_found_by_id_number_and_tag(repository: Repository) -> None:
    template = await saved(repository)
    again = await repository.save_template(save(template.id))
    by_number = await repository.read_version(template_id=template.id, version_number=1)
    assert by_number.id == template.version_id
    assert await repository.read_version(version_id=template.version_id) == by_number
    newest_of_tag = await repository.read_version(template_id=template.id, version_tag="1.0.0")
    assert newest_of_tag.id == again.version_id


async def test_an_unknown_version_gets_the_known_ones(repository: Repository) -> None:
    template = await saved(repository)
    with pytest.raises(NotFound) as missing:
        await repository.read_version(template_id=template.id, version_tag="9.9.9")
    assert missing.value.code == "version_not_found"
    assert "1 (1.0.0)" in (missing.value.suggestion or "")


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["backup_db", "deploy_app", "deploy_vm", "old_one"]),
    ({"text": "deploy"}, ["deploy_app", "deploy_vm"]),
    ({"text": "DEPLOY virtual"}, ["deploy_vm"]),
    ({"text": "nightly"}, ["backup_db"]),
    ({"text": "100%_"}, []),
    ({"statuses": ["archived", "draft"]}, ["old_one"]),
    ({"category": "infrastructure"}, ["deploy_app", "deploy_vm"]),
    ({"tags": ["vm"]}, ["deploy_vm"]),
    ({"tags": ["vm", "nightly"]}, []),
    ({"visible_to": "ann"}, ["backup_db", "deploy_app", "deploy_vm", "old_one"]),
    ({"visible_to": "ben"}, ["deploy_app", "deploy_vm"]),
    ({"visible_to": "ben", "text": "nightly"}, []),
]


@pytest.mark.parametrize(("which", "names"), FILTERS)
async def test_templates_are_listed_by_name_as_filtered(
    repository: Repository, which: dict[str, Any], names: list[str]
) -> None:
    await saved(
        repository, "deploy_vm", category="infrastructure", tags=["vm"], description="A virtual machine"
    )
    await saved(repository, "deploy_app", category="infrastructure")
    await saved(repository, "backup_db", tags=["nightly"], is_public=False, created_by="ann")
    await saved(repository, "old_one", status="archived", is_public=False, created_by="ann")
    page = await repository.list_templates(TemplateFilter(**which), offset=0, limit=10)
    assert [template.name for template in page.records] == names
    assert page.total == len(names)


@pytest.mark.parametrize(("offset", "names"), [(0, ["w_0", "w_1"]), (2, ["w_2"]), (9, [])])
async def test_a_page_knows_how_many_there_are_in_all(
    repository: Repository, offset: int, names: list[str]
) -> None:
    for number in range(3):
        await saved(repository, f"w_{number}")
    page = await repository.list_templates(TemplateFilter(), offset=offset, limit=2)
    assert [template.name for template in page.records] == names
    assert page.total == 3


async def test_a_template_without_executions_is_deleted_with_its_versions(
    repository: Repository, sql: Sql
) -> None:
    template = await saved(repository)
    await repository.delete_template(template.id)
    assert await sql.value("select count(*) from public.archon_workflow_template_versions") == 0
    with pytest.raises(NotFound):
        await repository.delete_template(template.id)


async def test_a_template_with_executions_stays(repository: Repository) -> None:
    await created(repository)
    template = await repository.read_template(name="deploy")
    with pytest.raises(Conflict) as refused:
        await repository.delete_template(template.id)
    assert refused.value.code == "template_in_use"
    assert "Archive" in (refused.value.suggestion or "")
    assert await repository.read_template(name="deploy") == template


async def test_a_version_never_changes(repository: Repository, sql: Sql) -> None:
    template = await saved(repository)
    with pytest.raises(Exception, match="never changes"):
        await sql.run("update public.archon_workflow_template_versions set version_tag = '6.6.6'")
    version = await repository.read_version(version_id=template.version_id)
    assert version == replace(version, version_tag="1.0.0")
