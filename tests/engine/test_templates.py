"""The verbs of templates on a real database, with a real tool server to review calls against."""

from typing import Any
from uuid import uuid4

import anyio
import pytest
from applications import action, run

from archon_workflows.bootstrap import Application
from archon_workflows.engine.templates import TemplateLibrary
from archon_workflows.errors import Conflict, InvalidRequest, InvalidTemplate, NotFound
from archon_workflows.gateway.configuration import StdioServer
from archon_workflows.gateway.tool_servers import ToolServers
from archon_workflows.model.findings import Finding
from archon_workflows.model.records import TemplateFilter

SAY: dict[str, Any] = action("greet", "ledger/say", text="hello")


def document(name: str = "hello_world", **fields: Any) -> dict[str, Any]:
    return {"name": name, "steps": [SAY], **fields}


def linking(name: str, to: str, **link: Any) -> dict[str, Any]:
    return {"name": name, "steps": [{"name": "go", "type": "workflow_link", "workflow_name": to, **link}]}


def rules(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(finding.path, finding.rule) for finding in findings]


def refused_rules(refused: pytest.ExceptionInfo[InvalidTemplate]) -> list[tuple[str, str]]:
    return [(finding["path"], finding["rule"]) for finding in refused.value.details["findings"]]


async def test_a_created_template_is_version_one_with_a_title(application: Application) -> None:
    saved = await application.templates.create(document(), created_by="anna", change_summary="begun")
    template = saved.template
    assert (template.version, template.version_number, template.title) == ("1.0.0", 1, "Hello world")
    assert template.created_by == "anna"
    assert template.document == {**document(), "title": "Hello world", "version": "1.0.0"}
    [version] = (await application.templates.list_versions(name="hello_world", offset=0, limit=10)).records
    assert (version.change_type, version.change_summary, version.created_by) == ("create", "begun", "anna")


async def test_an_explicit_version_is_the_first_tag(application: Application) -> None:
    saved = await application.templates.create(document(version="3.1.4"))
    assert saved.template.version == "3.1.4"


async def test_a_refused_document_stores_nothing_and_says_everything(application: Application) -> None:
    bad = document(
        steps=[
            action("a", "ledger/sya", text="x"),
            action("b", "ledger/say", txt="x"),
            action("c", "ledger/say", text="{{ steps.d.output }}"),
            {"name": "l", "type": "workflow_link", "workflow_name": "missing"},
        ]
    )
    with pytest.raises(
        InvalidTemplate, match=r"4 errors; the first one, at /steps/2/parameters/text"
    ) as refused:
        await application.templates.create(bad)
    assert sorted(refused_rules(refused)) == [
        ("/steps/0/tool_name", "unknown_tool"),
        ("/steps/1/parameters/txt", "unknown_argument"),
        ("/steps/2/parameters/text", "unknown_step"),
        ("/steps/3/workflow_name", "unknown_workflow"),
    ]
    assert (await application.templates.list(TemplateFilter(), offset=0, limit=10)).total == 0


@pytest.mark.parametrize("broken", [None, 5, "text", [], {"name": "x"}, {"name": "\0", "steps": [SAY]}])
async def test_what_is_no_template_is_refused(application: Application, broken: Any) -> None:
    with pytest.raises(InvalidTemplate):
        await application.templates.create(broken)
    findings = await application.templates.validate(broken)
    assert any(finding.severity == "error" for finding in findings)


async def test_warnings_do_not_prevent_a_save(application: Application) -> None:
    await application.templates.create(document("old", status="deprecated"))
    saved = await application.templates.create(linking("new", "old"))
    assert rules(saved.findings) == [("/steps/0/workflow_name", "deprecated_workflow")]


async def test_without_tool_servers_tools_are_not_reviewed(application: Application) -> None:
    async with ToolServers({}) as gateway:
        library = TemplateLibrary(application.repository, gateway)
        assert await library.validate(document(steps=[action("a", "anything", b=1)])) == ()


async def test_tools_of_a_server_that_is_away_are_warned_of(application: Application) -> None:
    nothing = StdioServer(command="/does/not/exist")
    async with ToolServers({"away": nothing}) as gateway:
        saved = await TemplateLibrary(application.repository, gateway).create(document())
    assert rules(saved.findings) == [("/steps/0/tool_name", "tool_unavailable")]


async def test_a_name_is_taken_once(application: Application) -> None:
    await application.templates.create(document())
    with pytest.raises(Conflict) as refused:
        await application.templates.create(document())
    assert refused.value.code == "name_taken"


# -- links -------------------------------------------------------------------------------------------


async def test_links_are_reviewed_against_what_is_stored(application: Application) -> None:
    await application.templates.create(
        document("child", parameters={"who": {"type": "string", "required": True}})
    )
    findings = await application.templates.validate(linking("parent", "child", version="9.9.9"))
    assert ("/steps/0/version", "unknown_version") in rules(findings)
    findings = await application.templates.validate(linking("parent", "child", parameters={"hwo": "x"}))
    assert ("/steps/0/parameters/hwo", "unknown_argument") in rules(findings)
    [finding] = await application.templates.validate(linking("parent", "chidl"))
    assert (finding.rule, finding.nearest) == ("unknown_workflow", "child")


async def test_old_versions_can_be_linked_to(application: Application) -> None:
    await application.templates.create(document("child"))
    await application.templates.update({"description": "later"}, name="child")
    saved = await application.templates.create(linking("parent", "child", version="1.0.0"))
    assert saved.findings == ()


async def test_a_cycle_over_three_templates_is_refused(application: Application) -> None:
    await application.templates.create(document("a"))
    await application.templates.create(linking("b", "a"))
    await application.templates.create(linking("c", "b"))
    with pytest.raises(InvalidTemplate, match="a -> c -> b -> a") as refused:
        await application.templates.update(linking("a", "c"))
    assert refused_rules(refused) == [("/steps/0/workflow_name", "link_cycle")]
    with pytest.raises(InvalidTemplate, match="d -> d"):
        await application.templates.create(linking("d", "d"))


# -- updates -----------------------------------------------------------------------------------------


async def test_an_update_changes_what_it_names_and_keeps_the_rest(application: Application) -> None:
    created = await application.templates.create(document(category="old", tags=["one"], description="long"))
    saved = await application.templates.update(
        {"category": "new", "description": None}, name="hello_world", created_by="bert"
    )
    template = saved.template
    assert (template.category, template.tags, template.description) == ("new", ("one",), None)
    assert (template.id, template.version, template.version_number) == (created.template.id, "1.0.1", 2)
    assert template.document["steps"] == [SAY]
    assert "description" not in template.document


@pytest.mark.parametrize(
    ("change_type", "tag"),
    [("update", "1.2.4"), ("patch", "1.2.4"), ("minor", "1.3.0"), ("major", "2.0.0")],
)
async def test_the_tag_is_bumped_by_the_change_type(
    application: Application, change_type: Any, tag: str
) -> None:
    await application.templates.create(document(version="1.2.3"))
    saved = await application.templates.update(document(), change_type=change_type)
    assert saved.template.version == saved.template.document["version"] == tag


async def test_every_save_is_a_version_also_when_nothing_differs(application: Application) -> None:
    await application.templates.create(document())
    await application.templates.update(document())
    assert (await application.templates.update(document())).template.version_number == 3


async def test_an_explicit_version_wins_and_none_is_given_twice(application: Application) -> None:
    await application.templates.create(document(version="1.0.1"))
    assert (await application.templates.update(document(version="1.0.0"))).template.version == "1.0.0"
    with pytest.raises(Conflict, match=r"'1\.0\.1'") as refused:
        await application.templates.update(document(version="1.0.1"))
    assert refused.value.code == "version_taken"
    assert refused.value.suggestion is not None
    assert "'1.0.2'" in refused.value.suggestion
    assert (await application.templates.update(document(version=None))).template.version == "1.0.2"


@pytest.mark.parametrize("version", ["1.0.0-01", "1.0.0-a..b", "1.0", "v1.0.0", "01.0.0"])
async def test_a_version_that_is_not_semantic_is_refused(application: Application, version: str) -> None:
    with pytest.raises(InvalidTemplate) as refused:
        await application.templates.create(document(version=version))
    assert refused.value.path == "/version"


async def test_breaking_changes_are_told_and_stored(application: Application) -> None:
    await application.templates.create(document(parameters={"who": {"type": "string"}}))
    saved = await application.templates.update({"parameters": {"n": {"type": "integer"}}}, name="hello_world")
    assert saved.breaking_changes == ("The parameter 'who' was removed.",)
    versions = await application.templates.list_versions(name="hello_world", offset=0, limit=10)
    assert [version.breaking_changes for version in versions.records] == [True, False]


async def test_a_stale_update_is_refused(application: Application) -> None:
    await application.templates.create(document())
    await application.templates.update({"title": "Two"}, name="hello_world", expected_version_number=1)
    with pytest.raises(Conflict, match="Version 1 was expected") as refused:
        await application.templates.update({"title": "Three"}, name="hello_world", expected_version_number=1)
    assert refused.value.code == "stale_version"


async def test_updates_at_the_same_time_all_take_place(application: Application) -> None:
    await application.templates.create(document())
    fields = ["category", "description", "title", "created_by"]
    async with anyio.create_task_group() as tasks:
        for field in fields:
            tasks.start_soon(
                lambda field=field: application.templates.update({field: "x"}, name="hello_world")
            )
    template = await application.templates.get(name="hello_world")
    assert [template.document[field] for field in fields] == ["x"] * 4
    versions = await application.templates.list_versions(name="hello_world", offset=0, limit=10)
    assert [one.version_tag for one in versions.records] == ["1.0.4", "1.0.3", "1.0.2", "1.0.1", "1.0.0"]


async def test_an_invalid_update_leaves_the_template_as_it_was(application: Application) -> None:
    before = (await application.templates.create(document())).template
    with pytest.raises(InvalidTemplate):
        await application.templates.update({"steps": []}, name="hello_world")
    assert await application.templates.get(name="hello_world") == before


async def test_an_update_needs_a_template_and_a_change_type(application: Application) -> None:
    with pytest.raises(InvalidRequest) as unnamed:
        await application.templates.update({"title": "x"})
    assert unnamed.value.code == "template_not_named"
    change: Any = "minro"
    with pytest.raises(InvalidRequest, match="'minro'") as unknown:
        await application.templates.update(document(), change_type=change)
    assert unknown.value.suggestion == "Did you mean 'minor'?"
    with pytest.raises(NotFound):
        await application.templates.update(document())


async def test_a_template_can_get_another_name_until_others_link_to_it(application: Application) -> None:
    created = await application.templates.create(document("child"))
    renamed = await application.templates.update({"name": "kid"}, name="child")
    assert (renamed.template.id, renamed.template.name) == (created.template.id, "kid")
    await application.templates.create(linking("parent", "kid"))
    with pytest.raises(
        Conflict, match="cannot be renamed to 'child' while others link to it: 'parent'"
    ) as refused:
        await application.templates.update({"name": "child"}, name="kid")
    assert refused.value.code == "template_linked"


async def test_a_renamed_template_cannot_link_to_its_former_name(application: Application) -> None:
    await application.templates.create(document("was"))
    with pytest.raises(InvalidTemplate) as refused:
        await application.templates.update(linking("now", "was"), name="was")
    assert refused_rules(refused) == [("/steps/0/workflow_name", "unknown_workflow")]


# -- versions ----------------------------------------------------------------------------------------


async def test_versions_are_found_by_number_and_tag_and_compared(application: Application) -> None:
    await application.templates.create(document(parameters={"who": {"type": "string"}}))
    await application.templates.update({"title": "Other", "parameters": {}}, name="hello_world")
    by_number = await application.templates.get_version(name="hello_world", version=1)
    assert await application.templates.get_version(name="hello_world", version="1.0.0") == by_number
    difference = await application.templates.diff_versions(name="hello_world", old=1, new="1.0.1")
    assert {(change["op"], change["path"]) for change in difference.changes} == {
        ("remove", "/parameters/who"),
        ("replace", "/title"),
        ("replace", "/version"),
    }
    assert difference.breaking_changes == ("The parameter 'who' was removed.",)
    with pytest.raises(NotFound) as missing:
        await application.templates.get_version(name="hello_world", version=9)
    assert missing.value.code == "version_not_found"


async def test_restoring_an_old_version_is_a_new_version(application: Application) -> None:
    await application.templates.create(document(description="first"))
    await application.templates.update({"description": "second", "name": "renamed"}, name="hello_world")
    restored = await application.templates.restore_version(name="renamed", version=1)
    template = restored.template
    assert (template.name, template.description) == ("renamed", "first")
    assert (template.version, template.version_number) == ("1.0.2", 3)
    newest = await application.templates.get_version(name="renamed", version=3)
    assert newest.change_summary == "Restored version 1 (1.0.0)"


async def test_a_version_that_fits_no_more_is_not_restored(application: Application) -> None:
    await application.templates.create(document("child"))
    await application.templates.create(linking("parent", "child"))
    await application.templates.update(document("parent"))
    await application.templates.delete(name="child")
    with pytest.raises(InvalidTemplate) as refused:
        await application.templates.restore_version(name="parent", version=1)
    assert refused_rules(refused) == [("/steps/0/workflow_name", "unknown_workflow")]


# -- the end of a template ---------------------------------------------------------------------------


async def test_a_template_that_never_ran_is_deleted_with_its_versions(application: Application) -> None:
    created = (await application.templates.create(document())).template
    assert await application.templates.delete(template_id=created.id) == created
    with pytest.raises(NotFound):
        await application.templates.get(name="hello_world")


async def test_a_template_with_executions_is_archived_not_deleted(application: Application) -> None:
    await application.templates.create(document())
    await run(application, "hello_world")
    with pytest.raises(Conflict, match="'hello_world' has executions") as refused:
        await application.templates.delete(name="hello_world")
    assert refused.value.code == "template_in_use"
    archived = await application.templates.archive(name="hello_world", created_by="anna")
    assert (archived.template.status, archived.template.version_number) == ("archived", 2)
    again = await application.templates.archive(name="hello_world")
    assert again.template == archived.template


async def test_a_template_whose_tools_are_gone_can_be_archived(application: Application) -> None:
    async with ToolServers({}) as gateway:
        library = TemplateLibrary(application.repository, gateway)
        await library.create(document(steps=[action("a", "gone")]))
    assert (await application.templates.archive(name="hello_world")).template.status == "archived"


async def test_a_template_that_others_link_to_is_not_deleted(application: Application) -> None:
    await application.templates.create(document("child"))
    await application.templates.create(linking("parent", "child"))
    with pytest.raises(Conflict, match="'parent'") as refused:
        await application.templates.delete(name="child")
    assert (refused.value.code, refused.value.details) == ("template_linked", {"linked_by": ["parent"]})
    await application.templates.archive(name="parent")
    await application.templates.delete(name="child")


# -- further verbs -----------------------------------------------------------------------------------


async def test_a_clone_is_a_template_of_its_own(application: Application) -> None:
    await application.templates.create(document(version="4.0.0", status="archived", category="ops"))
    cloned = (
        await application.templates.clone(name="hello_world", new_name="good_bye", created_by="bert")
    ).template
    assert (cloned.name, cloned.title, cloned.version) == ("good_bye", "Good bye", "1.0.0")
    assert (cloned.status, cloned.category, cloned.created_by) == ("draft", "ops", "bert")
    with pytest.raises(InvalidTemplate):
        await application.templates.clone(name="hello_world", new_name="Not A Name")


async def test_a_template_is_asked_for_by_name_or_id(application: Application) -> None:
    created = (await application.templates.create(document())).template
    assert await application.templates.get(template_id=created.id) == created
    with pytest.raises(NotFound) as missing:
        await application.templates.get(name="hello_wolrd")
    assert missing.value.suggestion == "Did you mean 'hello_world'?"
    with pytest.raises(NotFound):
        await application.templates.get(template_id=uuid4())
    with pytest.raises(InvalidRequest):
        await application.templates.get()


async def test_active_templates_are_suggested_for_a_task(application: Application) -> None:
    await application.templates.create(document("backup_database", description="Back up a database."))
    await application.templates.create(document("deploy_vm", description="Deploy a virtual machine."))
    await application.templates.create(document("old_backup_database", status="deprecated"))
    suggested = await application.templates.suggest("please back up our production database")
    assert [one.name for one in suggested] == ["backup_database"]
    assert "'database'" in suggested[0].why
    assert await application.templates.suggest("sing a song") == ()
