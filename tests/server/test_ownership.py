"""Two callers at one server: what is whose, and that nobody learns of what belongs to somebody else."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args
from uuid import UUID, uuid4

import anyio
import pytest
from ledger import build
from listening import PAIRS, TOKENS, connected, listening
from mcp import Client, MCPError
from mcp_types import TextResourceContents
from pydantic import SecretStr
from serving import Agent, action, asking

from archon_workflows.bootstrap import Application, open_application
from archon_workflows.model.records import ControlAction
from archon_workflows.server.app import build_server
from archon_workflows.server.authentication import authentication_of
from archon_workflows.server.http import HttpTransport
from archon_workflows.server.template_arguments import TemplateAction
from archon_workflows.settings import Settings

TEMPLATES = "manage_workflow_template"
PUBLIC = {"name": "for_all", "steps": [action("greet", "say", text="hello")]}
PRIVATE = {
    "name": "for_alice",
    "is_public": False,
    "description": "gardening",
    "steps": [action("greet", "say", text="psst")],
}
NIGHTLY = {"cron": "0 3 * * *"}


@pytest.fixture
async def application(database_url: str, tmp_path: Path) -> AsyncGenerator[Application]:
    settings = Settings(
        home=tmp_path,
        database_url=SecretStr(database_url),
        http_tokens=SecretStr(PAIRS),
        shutdown_grace_seconds=1,
    )
    async with open_application(settings, servers={"ledger": build(tmp_path / "ledger")}) as opened:
        yield opened


@pytest.fixture
async def port(application: Application) -> AsyncGenerator[int]:
    server = build_server(application, authentication_of(application.settings))
    async with listening(server) as number:
        yield number


@asynccontextmanager
async def agent_of(port: int, name: str, **how: Any) -> AsyncGenerator[Agent]:
    async with connected(port, TOKENS[name], **how) as client:
        yield Agent(client)


@pytest.fixture
async def alice(port: int) -> AsyncGenerator[Agent]:
    async with agent_of(port, "alice") as agent:
        for template in (PUBLIC, PRIVATE):
            await agent.do(TEMPLATES, action="create", template=template)
        yield agent


@pytest.fixture
async def bob(port: int, alice: Agent) -> AsyncGenerator[Agent]:
    del alice
    async with agent_of(port, "bob") as agent:
        yield agent


@pytest.fixture
async def operator(application: Application, alice: Agent) -> AsyncGenerator[Agent]:
    """Whoever reaches the server without authentication, as over stdio."""
    del alice
    async with Client(build_server(application)) as client:
        yield Agent(client)


async def test_the_caller_is_who_triggers_saves_and_asks(alice: Agent, application: Application) -> None:
    await alice.save("asks", asking("first"))
    execution = await alice.run("asks", wait_seconds=5)
    assert execution["triggered_by"] == "alice"
    await alice.do("control_execution", execution_id=execution["execution_id"], action="cancel")
    record = await application.repository.read_execution(UUID(execution["execution_id"]))
    assert (record.caller, record.triggered_by) == ("alice", "alice")
    assert "alice" in str([entry for entry in record.execution_log if "cancel" in str(entry).lower()])
    template = await application.repository.read_template(name="asks")
    versions = await application.repository.list_versions(template.id, offset=0, limit=1)
    assert (template.created_by, versions.records[0].created_by) == ("alice", "alice")


FORGERIES: list[tuple[str, dict[str, Any], str]] = [
    ("run_workflow", {"workflow": "for_all", "triggered_by": "alice"}, "/triggered_by"),
    ("run_workflow", {"workflow": "for_all", "triggered_by": "alice", "mode": "dry_run"}, "/triggered_by"),
    (
        TEMPLATES,
        {"action": "create", "template": {**PUBLIC, "name": "x"}, "created_by": "alice"},
        "/created_by",
    ),
    (
        TEMPLATES,
        {"action": "create", "template": {**PUBLIC, "name": "x", "created_by": "alice"}},
        "/template/created_by",
    ),
    (
        TEMPLATES,
        {"action": "clone", "name": "for_all", "new_name": "x", "created_by": "alice"},
        "/created_by",
    ),
    (
        "control_execution",
        {"execution_id": str(uuid4()), "action": "cancel", "requested_by": "alice"},
        "/requested_by",
    ),
]


@pytest.mark.parametrize(("tool", "arguments", "path"), FORGERIES)
async def test_an_argument_that_names_somebody_else_is_refused(
    bob: Agent, tool: str, arguments: dict[str, Any], path: str
) -> None:
    letter = await bob.refused(tool, **arguments)
    assert (letter["code"], letter["path"]) == ("identity_contradicted", path)


async def test_an_argument_that_names_the_caller_is_taken(bob: Agent) -> None:
    started = await bob.run("for_all", triggered_by="bob")
    assert started["triggered_by"] == "bob"
    document = {**PUBLIC, "name": "mine", "created_by": "bob"}
    await bob.do(TEMPLATES, action="create", template=document, created_by="bob")


async def letter_of(agent: Agent, tool: str, arguments: dict[str, Any], *, about: str) -> str:
    """Return the whole refusal, with what it is about taken out."""
    letter = await agent.refused(tool, **arguments)
    return json.dumps(letter).replace(about, "IT")


Ask = Callable[[str], dict[str, Any]]

ABOUT_TEMPLATES: list[tuple[str, Ask]] = [
    (TEMPLATES, lambda name: {"action": "get", "name": name}),
    (TEMPLATES, lambda name: {"action": "update", "name": name, "template": {"description": "mine"}}),
    (TEMPLATES, lambda name: {"action": "delete", "name": name}),
    (TEMPLATES, lambda name: {"action": "archive", "name": name}),
    (TEMPLATES, lambda name: {"action": "clone", "name": name, "new_name": "copy"}),
    (TEMPLATES, lambda name: {"action": "validate", "name": name}),
    (TEMPLATES, lambda name: {"action": "list_versions", "name": name}),
    (TEMPLATES, lambda name: {"action": "get_version", "name": name, "version": 1}),
    (TEMPLATES, lambda name: {"action": "diff_versions", "name": name, "from_version": 1, "to_version": 1}),
    (TEMPLATES, lambda name: {"action": "restore_version", "name": name, "version": 1}),
    (TEMPLATES, lambda name: {"action": "schedule", "name": name, "schedule": NIGHTLY}),
    ("run_workflow", lambda name: {"workflow": name}),
    ("run_workflow", lambda name: {"workflow": name, "mode": "dry_run"}),
    ("run_workflow", lambda name: {"workflow": name, "mode": "preview"}),
    (TEMPLATES, lambda name: {"action": "create", "template": {"name": "links", "steps": [link_to(name)]}}),
]


def link_to(name: str) -> dict[str, Any]:
    return {"name": "there", "type": "workflow_link", "workflow_name": name}


@pytest.mark.parametrize(("tool", "ask"), ABOUT_TEMPLATES)
async def test_anothers_private_template_is_unknown_by_name(bob: Agent, tool: str, ask: Ask) -> None:
    hidden = await letter_of(bob, tool, ask("for_alice"), about="for_alice")
    assert hidden == await letter_of(bob, tool, ask("for_alicx"), about="for_alicx")


@pytest.mark.parametrize("action_name", ["get", "delete", "archive", "list_versions"])
async def test_anothers_private_template_is_unknown_by_id(
    bob: Agent, application: Application, action_name: str
) -> None:
    template = await application.repository.read_template(name="for_alice")
    letters = [
        await letter_of(bob, TEMPLATES, {"action": action_name, "template_id": one}, about=one)
        for one in (str(template.id), str(uuid4()))
    ]
    assert letters[0] == letters[1]


SCHEDULE_ACTIONS = ("pause_schedule", "resume_schedule", "unschedule")


@pytest.mark.parametrize("action_name", SCHEDULE_ACTIONS)
async def test_anothers_schedule_is_unknown(alice: Agent, bob: Agent, action_name: str) -> None:
    made = await alice.do(
        TEMPLATES, action="schedule", name="for_all", schedule={**NIGHTLY, "name": "of_alice"}
    )
    for theirs, nobodys in (("of_alice", "of_alicx"), (made["schedule_id"], str(uuid4()))):
        letters = [
            await letter_of(bob, TEMPLATES, {"action": action_name, "schedule_name": one}, about=one)
            for one in (theirs, nobodys)
        ]
        assert letters[0] == letters[1]
    assert (await bob.do(TEMPLATES, action="list_schedules"))["page"]["total"] == 0
    assert (await alice.do(TEMPLATES, action="list_schedules"))["page"]["total"] == 1
    own = await bob.do(TEMPLATES, action="schedule", name="for_all", schedule={**NIGHTLY, "name": "of_alice"})
    assert own["schedule_id"] != made["schedule_id"]


def test_no_action_is_left_out() -> None:
    asked = {ask("x")["action"] for tool, ask in ABOUT_TEMPLATES if tool == TEMPLATES}
    name_nothing_of_others = {"list", "suggest", "list_schedules"}
    assert asked | set(SCHEDULE_ACTIONS) | name_nothing_of_others == set(get_args(TemplateAction))
    controlled = {ask("x").get("action") for tool, ask in ABOUT_EXECUTIONS if tool == "control_execution"}
    assert controlled == set(get_args(ControlAction))


ABOUT_EXECUTIONS: list[tuple[str, Ask]] = [
    ("get_execution", lambda one: {"execution_id": one}),
    ("get_execution", lambda one: {"execution_id": one, "include": ["steps", "log", "input", "output"]}),
    ("get_execution", lambda one: {"execution_id": one, "wait_seconds": 0.2}),
    *(
        ("control_execution", lambda one, action=action: {"execution_id": one, "action": action})
        for action in ("pause", "resume", "cancel", "retry", "approve", "reject")
    ),
    (
        "control_execution",
        lambda one: {"execution_id": one, "action": "resolve", "resolution": "failed"},
    ),
    ("control_execution", lambda one: {"execution_id": one, "action": "retry", "version": "1.0.0"}),
]


@pytest.mark.parametrize(("tool", "ask"), ABOUT_EXECUTIONS)
async def test_anothers_execution_is_unknown(alice: Agent, bob: Agent, tool: str, ask: Ask) -> None:
    theirs, nobodys = (await alice.run("for_all"))["execution_id"], str(uuid4())
    hidden = await letter_of(bob, tool, ask(theirs), about=theirs)
    assert hidden == await letter_of(bob, tool, ask(nobodys), about=nobodys)
    assert (await alice.do("get_execution", execution_id=theirs))["status"] == "completed"


async def test_resources_know_as_little_as_tools(alice: Agent, bob: Agent) -> None:
    execution_id, nobodys = (await alice.run("for_all"))["execution_id"], str(uuid4())
    for theirs, unknown in (
        (f"workflow://executions/{execution_id}", f"workflow://executions/{nobodys}"),
        ("workflow://templates/for_alice", "workflow://templates/for_alicx"),
    ):
        (contents,) = (await alice.client.read_resource(theirs)).contents
        assert isinstance(contents, TextResourceContents)
        refusals: list[str] = []
        for uri in (theirs, unknown):
            with pytest.raises(MCPError) as refused:
                await bob.client.read_resource(uri)
            refusals.append(str(refused.value.error).replace(uri.rpartition("/")[2], "IT"))
        assert refusals[0] == refusals[1]


async def test_lists_and_their_totals_leave_out_what_is_not_the_callers(alice: Agent, bob: Agent) -> None:
    await alice.run("for_all")
    await alice.run("for_alice")
    await bob.run("for_all")
    for agent, names, runs in ((alice, ["for_alice", "for_all"], 2), (bob, ["for_all"], 1)):
        listed = await agent.do(TEMPLATES, action="list")
        assert ([one["name"] for one in listed["templates"]], listed["page"]["total"]) == (names, len(names))
        executions = await agent.do("get_execution", page_size=1)
        assert executions["page"]["total"] == runs
    assert (await bob.do("get_execution", triggered_by="alice"))["page"]["total"] == 0
    assert (await bob.do("get_execution", workflow="for_alice"))["page"]["total"] == 0
    assert (await bob.do(TEMPLATES, action="list", search="gardening"))["page"]["total"] == 0


async def test_a_private_template_is_suggested_to_its_creator_alone(alice: Agent, bob: Agent) -> None:
    for agent, expected in ((alice, ["for_alice"]), (bob, [])):
        found = await agent.do(TEMPLATES, action="suggest", task="gardening")
        assert [one["name"] for one in found["suggestions"]] == expected
        prompt = await agent.client.get_prompt("author_workflow", {"task": "gardening"})
        assert ("for_alice" in prompt.model_dump_json()) == bool(expected)


async def test_a_suggested_name_is_never_a_hidden_one(bob: Agent) -> None:
    letter = await bob.refused(TEMPLATES, action="get", name="for_alicee")
    assert "for_alice" not in letter["suggestion"]


async def test_the_children_of_an_execution_are_its_callers(alice: Agent, bob: Agent) -> None:
    await alice.save("parent", link_to("for_alice"))
    ran = await alice.run("parent")
    assert ran["status"] == "completed"
    listed = await alice.do("get_execution", parent_execution_id=ran["execution_id"])
    (child,) = listed["executions"]
    assert (await alice.do("get_execution", execution_id=child["execution_id"]))["status"] == "completed"
    letter = await bob.refused("get_execution", execution_id=child["execution_id"])
    assert letter["code"] == "execution_not_found"


async def test_a_link_to_a_private_template_leads_nowhere_for_others(alice: Agent, bob: Agent) -> None:
    await alice.save("parent", link_to("for_alice"))
    failed = await bob.run("parent")
    assert (failed["status"], failed["error"]["code"]) == ("failed", "workflow_not_found")
    assert (await alice.do("get_execution", workflow="for_alice"))["page"]["total"] == 0
    preview = await bob.run("parent", mode="preview")
    assert preview["calls"] == []


async def test_a_public_template_is_read_run_and_cloned_by_everyone(bob: Agent) -> None:
    await bob.do(TEMPLATES, action="get", name="for_all")
    assert (await bob.run("for_all"))["status"] == "completed"
    await bob.do(TEMPLATES, action="clone", name="for_all", new_name="for_bob")
    await bob.do(TEMPLATES, action="update", name="for_bob", template={"is_public": False})


CHANGES: list[dict[str, Any]] = [
    {"action": "update", "template": {"description": "better"}},
    {"action": "update", "template": {"is_public": False}},
    {"action": "archive"},
    {"action": "delete"},
    {"action": "restore_version", "version": 1},
]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_public_template_is_changed_by_its_creator_alone(bob: Agent, change: dict[str, Any]) -> None:
    letter = await bob.refused(TEMPLATES, name="for_all", **change)
    assert letter["code"] == "not_the_creator"
    assert "Clone" in letter["suggestion"]
    versions = await bob.do(TEMPLATES, action="list_versions", name="for_all")
    assert versions["page"]["total"] == 1


async def test_a_taken_name_is_taken_for_everyone(bob: Agent) -> None:
    letter = await bob.refused(TEMPLATES, action="create", template={**PUBLIC, "name": "for_alice"})
    assert letter["code"] == "name_taken"
    assert "alice'" not in json.dumps(letter).replace("for_alice", "")


async def test_an_idempotency_key_is_its_callers_own(alice: Agent, bob: Agent) -> None:
    first = await alice.run("for_all", idempotency_key="nightly")
    other = await bob.run("for_all", idempotency_key="nightly")
    again = await alice.run("for_all", idempotency_key="nightly")
    assert first["execution_id"] == again["execution_id"] != other["execution_id"]
    await bob.do(TEMPLATES, action="clone", name="for_all", new_name="for_bob")
    letter = await bob.refused("run_workflow", workflow="for_bob", idempotency_key="nightly")
    assert first["execution_id"] not in json.dumps(letter)


@pytest.mark.parametrize("on_limit", ["reject", "queue"])
async def test_who_has_the_places_of_a_limited_template_stays_unsaid(
    alice: Agent, bob: Agent, on_limit: str
) -> None:
    step = action("greet", "say", text="hello") | {"approval": True}
    limits = {"max_concurrent_executions": 1, "on_limit": on_limit}
    await alice.do(TEMPLATES, action="create", template={"name": "narrow", "steps": [step], **limits})
    has_the_place = await alice.run("narrow")
    ask = bob.refused if on_limit == "reject" else bob.do
    answer = await ask("run_workflow", workflow="narrow", wait_seconds=0)
    if on_limit == "queue":
        assert answer["queue"] == {"ahead": 0, "max_concurrent_executions": 1}
    else:
        assert answer["code"] == "too_many_executions"
    assert has_the_place["execution_id"] not in json.dumps(answer)


async def test_what_was_started_without_authentication_is_nobodys(operator: Agent, bob: Agent) -> None:
    ran = await operator.run("for_all", triggered_by="bob")
    assert ran["triggered_by"] == "bob"
    letter = await bob.refused("get_execution", execution_id=ran["execution_id"])
    assert letter["code"] == "execution_not_found"


async def test_without_authentication_everything_is_seen(operator: Agent, alice: Agent) -> None:
    theirs = (await alice.run("for_alice"))["execution_id"]
    assert (await operator.do("get_execution", execution_id=theirs))["status"] == "completed"
    assert (await operator.run("for_alice"))["status"] == "completed"


@pytest.mark.parametrize(
    ("transport", "options", "mode"),
    [
        ("sse", {}, "auto"),
        ("http", {}, "auto"),
        ("http", {}, "legacy"),
        ("http", {"stateless": True}, "legacy"),
        ("http", {"stateless": True}, "auto"),
    ],
)
async def test_callers_who_ask_at_once_stay_apart_over_every_transport(
    application: Application, transport: HttpTransport, options: dict[str, Any], mode: str
) -> None:
    server = build_server(application, authentication_of(application.settings))
    said: list[tuple[str, str]] = []

    async def ask_often(port: int, name: str) -> None:
        async with agent_of(port, name, transport=transport, mode=mode) as agent:
            await agent.do(TEMPLATES, action="create", template={**PUBLIC, "name": f"of_{name}"})
            said.extend([(name, (await agent.run(f"of_{name}"))["triggered_by"]) for _ in range(5)])
            assert (await agent.do("get_execution"))["page"]["total"] == 5

    async with listening(server, transport, **options) as port, anyio.create_task_group() as tasks:
        for name in TOKENS:
            tasks.start_soon(ask_often, port, name)
    assert sorted(said) == [(name, name) for name in sorted(TOKENS) for _ in range(5)]
