"""``manage_workflow_template``: every action done, and every mistake answered."""

import json
from typing import Any
from uuid import uuid4

import pytest
from serving import SETUP_VM_BACKUP, VM_DEPLOYMENT, Agent, action, content_of, text_of

TOOL = "manage_workflow_template"
GREETS = {"name": "greets", "steps": [action("greet", "say", text="hello")]}
WRONG = {"name": "wrong", "steps": [{"name": "a", "type": "action", "tool_nam": "say"}], "step": 1}


async def test_a_template_is_created_changed_compared_and_restored(agent: Agent) -> None:
    created = await agent.do(TOOL, action="create", template=GREETS, created_by="anna")
    assert (created["name"], created["version"], created["version_number"]) == ("greets", "1.0.0", 1)
    assert created["next"][0]["arguments"] == {"workflow": "greets", "mode": "dry_run"}

    changed = await agent.do(
        TOOL,
        action="update",
        name="greets",
        template={"description": "Says hello."},
        change_type="minor",
        change_summary="described",
        expected_version_number=1,
    )
    assert (changed["version"], changed["version_number"]) == ("1.1.0", 2)

    read = await agent.do(TOOL, action="get", template_id=created["template_id"])
    assert read["template"]["description"] == "Says hello."
    assert read["template"]["steps"] == GREETS["steps"]

    versions = await agent.do(TOOL, action="list_versions", name="greets")
    assert [one["version_number"] for one in versions["versions"]] == [2, 1]
    assert versions["versions"][0]["change_summary"] == "described"

    old = await agent.do(TOOL, action="get_version", name="greets", version="1")
    assert "description" not in old["template"]
    assert (await agent.do(TOOL, action="get_version", name="greets", version="1.1.0"))["version_number"] == 2

    difference = await agent.do(
        TOOL, action="diff_versions", name="greets", from_version=1, to_version="1.1.0"
    )
    assert {"op": "add", "path": "/description", "new": "Says hello."} in difference["changes"]

    restored = await agent.do(TOOL, action="restore_version", name="greets", version=1)
    assert restored["version_number"] == 3


async def test_a_change_that_breaks_callers_is_told(agent: Agent) -> None:
    parameters = {"who": {"type": "string", "default": "you"}}
    await agent.do(TOOL, action="create", template={**GREETS, "parameters": parameters})
    changed = await agent.do(TOOL, action="update", name="greets", template={"parameters": {}})
    assert changed["breaking_changes"] == ["The parameter 'who' was removed."]


async def test_templates_are_listed_found_cloned_archived_and_deleted(agent: Agent) -> None:
    await agent.do(TOOL, action="create", template=SETUP_VM_BACKUP)
    await agent.do(TOOL, action="create", template=VM_DEPLOYMENT)
    await agent.do(TOOL, action="create", template={**GREETS, "tags": ["polite"], "status": "draft"})

    async def listed(**filters: Any) -> list[str]:
        page = await agent.do(TOOL, action="list", **filters)
        return [one["name"] for one in page["templates"]]

    assert await listed() == ["greets", "setup_vm_backup", "vm_deployment"]
    assert await listed(search="Virtual") == ["vm_deployment"]
    assert await listed(category="infrastructure") == ["vm_deployment"]
    assert await listed(tags="polite") == ["greets"]
    assert await listed(status=["draft"]) == ["greets"]
    assert await listed(page=2, page_size=2) == ["vm_deployment"]

    suggested = await agent.do(TOOL, action="suggest", task="deploy a virtual machine")
    assert suggested["suggestions"][0]["name"] == "vm_deployment"

    clone = await agent.do(TOOL, action="clone", name="greets", new_name="greets_too")
    assert clone["name"] == "greets_too"
    archived = await agent.do(TOOL, action="archive", name="greets")
    assert archived["status"] == "archived"
    assert "next" not in archived
    deleted = await agent.do(TOOL, action="delete", name="greets_too")
    assert deleted["deleted"] is True
    assert await listed(status="archived") == ["greets"]


async def test_a_template_may_be_sent_as_text(agent: Agent) -> None:
    created = await agent.do(TOOL, action="create", template=json.dumps(GREETS))
    assert created["name"] == "greets"


async def test_null_means_not_given(agent: Agent) -> None:
    await agent.do(TOOL, action="create", template=GREETS, name=None, page=1, tags=None)


async def test_validation_says_everything_and_stores_nothing(agent: Agent) -> None:
    found = await agent.do(TOOL, action="validate", template=WRONG)
    assert found["valid"] is False
    assert {one["path"] for one in found["findings"]} >= {"/steps/0/tool_nam", "/step"}
    first_page = await agent.do(TOOL, action="validate", template=WRONG, page_size=1)
    assert len(first_page["findings"]) == 1
    assert first_page["page"]["total"] == found["page"]["total"]
    assert (await agent.do(TOOL, action="list"))["templates"] == []


async def test_a_saved_template_is_validated_by_its_name(agent: Agent) -> None:
    await agent.do(TOOL, action="create", template=GREETS)
    assert await agent.do(TOOL, action="validate", name="greets") == {
        "valid": True,
        "findings": [],
        "page": {"page": 1, "page_size": 20, "total": 0},
    }


async def test_a_document_that_is_wrong_is_refused_with_every_finding(agent: Agent) -> None:
    result = await agent.call(TOOL, action="create", template=WRONG)
    assert content_of(result)["code"] == "invalid_template"
    assert content_of(result)["details"]["findings_total"] >= 2
    assert "/steps/0/tool_nam" in text_of(result)
    assert "Did you mean 'tool_name'?" in text_of(result)


async def test_a_thousand_findings_are_counted_and_the_first_shown(agent: Agent) -> None:
    steps = [{"name": f"s{number}", "type": "action", "tool": "say"} for number in range(500)]
    letter = await agent.refused(TOOL, action="create", template={"name": "long", "steps": steps})
    assert len(letter["details"]["findings"]) == 20
    assert letter["details"]["findings_total"] >= 500


REFUSED: list[tuple[str, dict[str, Any], str, str | None, str]] = [
    ("an unknown action", {"action": "creat"}, "unknown_action", "/action", "'create'"),
    ("an unknown argument", {"action": "get", "nam": "x"}, "unknown_argument", "/nam", "'name'"),
    ("no action", {}, "missing_argument", "/action", "What to do"),
    (
        "an argument of another action",
        {"action": "get", "name": "greets", "task": "x"},
        "unused_argument",
        "/task",
        "name",
    ),
    ("no document", {"action": "create"}, "missing_argument", "/template", "document"),
    ("no name", {"action": "get"}, "missing_argument", "/name", "list"),
    (
        "name and id",
        {"action": "get", "name": "greets", "template_id": str(uuid4())},
        "invalid_argument",
        "/name",
        "one of them",
    ),
    ("no id", {"action": "get", "template_id": "7"}, "invalid_argument", "/template_id", "earlier answer"),
    ("an unknown name", {"action": "get", "name": "greet"}, "template_not_found", None, "'greets'"),
    (
        "broken text",
        {"action": "create", "template": '{"name": "a",}'},
        "invalid_json",
        "/template",
        "commas",
    ),
    (
        "a key twice",
        {"action": "create", "template": '{"name": "a", "name": "b"}'},
        "invalid_json",
        "/template",
        "",
    ),
    ("text", {"action": "create", "template": '"name"'}, "invalid_template", "", ""),
    ("a name taken", {"action": "create", "template": GREETS}, "name_taken", None, ""),
    (
        "a stale version",
        {"action": "update", "name": "greets", "template": {"title": "x"}, "expected_version_number": 7},
        "stale_version",
        "/expected_version_number",
        "",
    ),
    ("an unknown status", {"action": "list", "status": "activ"}, "invalid_argument", "/status/0", "'active'"),
    ("page nought", {"action": "list", "page": 0}, "invalid_argument", "/page", "page"),
    (
        "too large a page",
        {"action": "list", "page_size": 10_000},
        "invalid_argument",
        "/page_size",
        "how many",
    ),
    (
        "an unknown version",
        {"action": "get_version", "name": "greets", "version": 9},
        "version_not_found",
        None,
        "",
    ),
    (
        "an unknown change",
        {"action": "update", "name": "greets", "template": {}, "change_type": "huge"},
        "invalid_argument",
        "/change_type",
        "'update'",
    ),
    ("no new name", {"action": "clone", "name": "greets"}, "missing_argument", "/new_name", "copy"),
    ("no task", {"action": "suggest"}, "missing_argument", "/task", "words"),
    (
        "a number too large",
        {"action": "create", "template": '{"name": "a", "steps": 1e999}'},
        "invalid_json",
        "/template/steps",
        "",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "code", "path", "suggestion"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED]
)
async def test_a_mistake_is_answered_with_what_to_change(
    agent: Agent, arguments: dict[str, Any], code: str, path: str | None, suggestion: str
) -> None:
    await agent.do(TOOL, action="create", template=GREETS)
    letter = await agent.refused(TOOL, **arguments)
    assert (letter["code"], letter.get("path")) == (code, path)
    assert suggestion in letter.get("suggestion", "")
    assert (await agent.do(TOOL, action="list"))["page"]["total"] == 1


async def test_a_template_with_executions_is_not_deleted(agent: Agent) -> None:
    await agent.do(TOOL, action="create", template=GREETS)
    await agent.run("greets")
    letter = await agent.refused(TOOL, action="delete", name="greets")
    assert letter["code"] == "template_in_use"
    assert "archive" in letter["suggestion"].lower()


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(10**30, id="huge integer"),
        pytest.param("a\0b", id="NUL"),
        pytest.param("\ud800", id="lone surrogate"),
        pytest.param("x" * 20_000_000, id="20 MB of text"),
    ],
)
async def test_values_that_cannot_be_stored_are_findings(agent: Agent, hostile: Any) -> None:
    document = {**GREETS, "description": hostile}
    found = await agent.do(TOOL, action="validate", template=document)
    assert found["valid"] is False
    assert found["findings"][0]["path"] == "/description"
    assert (await agent.refused(TOOL, action="create", template=document))["code"] == "invalid_template"


async def test_text_nested_a_thousand_deep_is_refused(agent: Agent) -> None:
    deep = "[" * 1_000 + "]" * 1_000
    letter = await agent.refused(TOOL, action="validate", template=f'{{"name": "deep", "steps": {deep}}}')
    assert letter["code"] == "invalid_json"
    assert "nested deeper" in letter["message"]
