"""Previews and dry runs against stored templates and a real tool server, which is never called."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest
from applications import action, calls_in, save, steps_of
from applications import run as really_run

from archon_workflows.bootstrap import Application
from archon_workflows.engine.rehearsal import Rehearsal
from archon_workflows.engine.rehearsal.stage import DryRunLimits
from archon_workflows.engine.templates import TemplateLibrary
from archon_workflows.engine.verbs import DryRun, Preview, RunRequest
from archon_workflows.errors import Conflict, InvalidParameters, InvalidRequest, NotFound
from archon_workflows.gateway.configuration import StdioServer
from archon_workflows.gateway.tool_servers import ToolServers
from archon_workflows.model.records import ExecutionFilter

TOKEN = "clear-as-daylight"  # noqa: S105 - what must never be seen


@pytest.fixture(autouse=True)
async def nothing_is_called_or_stored(application: Application, ledger_path: Path) -> AsyncGenerator[None]:
    yield
    started_by_rehearsal = ExecutionFilter(triggered_by="rehearsal")
    assert (await application.executions.list(started_by_rehearsal, offset=0, limit=1)).total == 0
    assert [call for call in calls_in(ledger_path) if "rehearsal" in str(call)] == []


async def preview(application: Application, workflow: str = "flow", **request: Any) -> Preview:
    return await application.rehearsal.preview(
        RunRequest(workflow=workflow, triggered_by="rehearsal", **request)
    )


async def dry_run(
    application: Application, stubs: Any = None, /, workflow: str = "flow", **request: Any
) -> DryRun:
    return await application.rehearsal.dry_run(
        RunRequest(workflow=workflow, triggered_by="rehearsal", **request), stubs or {}
    )


def loop(name: str, collection: Any, *steps: Any, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "loop", "collection": collection, "steps": list(steps), **fields}


def link(name: str, workflow: str, **parameters: Any) -> dict[str, Any]:
    return {"name": name, "type": "workflow_link", "workflow_name": workflow, "parameters": parameters}


def condition(name: str, source: str, **sides: Any) -> dict[str, Any]:
    return {"name": name, "type": "condition", "condition": source, **sides}


def rows(run: DryRun) -> dict[str, str]:
    return {step.step_path: step.status for step in run.steps}


def outputs(run: DryRun) -> dict[str, Any]:
    return {step.step_path: step.output_data for step in run.steps if step.step_type == "action"}


# -- previews ----------------------------------------------------------------------------------------


async def test_a_preview_lists_every_call_in_document_order(application: Application) -> None:
    await save(
        application,
        "child",
        action("inner", "say", text="{{ workflow.parameters.who }}"),
        parameters={"who": {"type": "string", "default": "you"}},
    )
    await save(
        application,
        "flow",
        condition(
            "choose",
            "{{ workflow.parameters.n }} > 1",
            on_true=action("yes", "say", text="yes"),
            on_false=[action("no", "say", text="no")],
        ),
        loop(
            "each",
            [1, 2],
            {
                "name": "both",
                "type": "parallel",
                "steps": [action("left", "echo", value="{{ item }}"), [action("right", "echo", value=1)]],
            },
        ),
        {**action("try", "fail"), "on_failure": action("mend", "destroy", target="x")},
        link("go", "child", who="me"),
        parameters={"n": {"type": "integer", "required": True}},
    )
    seen = await preview(application, parameters={"n": 0})
    assert [(call.step_path, call.address, call.destructive) for call in seen.calls] == [
        ("choose.yes", "ledger/say", False),
        ("choose.no", "ledger/say", False),
        ("each[*].both.left", "ledger/echo", False),
        ("each[*].both.right", "ledger/echo", False),
        ("try", "ledger/fail", None),
        ("try.mend", "ledger/destroy", True),
        ("go/inner", "ledger/say", False),
    ]
    assert seen.calls[-1].arguments == {"text": "me"}
    assert (seen.workflow, seen.version_tag, seen.warnings) == ("flow", "1.0.0", ())
    assert [call.problem for call in seen.calls] == [None] * 7


async def test_what_only_the_run_can_tell_stays_as_it_is_written(application: Application) -> None:
    await save(
        application,
        "flow",
        {**action("first", "echo", value=1), "set_context": {"later": "{{ output.value }}"}},
        action(
            "second",
            "echo",
            value={
                "bound": "{{ workflow.parameters.n + 1 }}",
                "default": "{{ workflow.parameters.word }}!",
                "given": "{{ context.given }}",
                "written": "{{ context.later }}",
                "a/b": ["{{ steps.first.output.value }}", "{{ previous_step.output | default('guess') }}"],
                "id": "{{ execution.id }}",
                "self": "{{ workflow.name }} {{ workflow.version }}",
            },
        ),
        parameters={"n": {"type": "integer"}, "word": {"type": "string", "default": "hey"}},
    )
    [_, second] = (await preview(application, parameters={"n": 1}, trigger_context={"given": [1]})).calls
    assert second.arguments["value"] == {
        "bound": 2,
        "default": "hey!",
        "given": [1],
        "written": "{{ context.later }}",
        "a/b": ["{{ steps.first.output.value }}", "{{ previous_step.output | default('guess') }}"],
        "id": "{{ execution.id }}",
        "self": "flow 1.0.0",
    }
    assert set(second.unresolved) == {"/value/written", "/value/a~1b/0", "/value/a~1b/1", "/value/id"}


async def test_a_preview_says_why_a_call_cannot_be_made(application: Application) -> None:
    async with ToolServers({}) as no_tools:
        await TemplateLibrary(application.repository, no_tools).create(
            {
                "name": "flow",
                "steps": [
                    action("lost", "sya", text="x"),
                    action("wrong", "add", a="{{ workflow.parameters.n }}", b="two"),
                    action("known_by_the_run", "add", a="{{ steps.wrong.output }}", b=2),
                    action("unset", "say", text="{{ workflow.parameters.n.x }}"),
                ],
                "parameters": {"n": {"type": "integer", "default": 1}},
            }
        )
    lost, wrong, later, unset = (await preview(application)).calls
    assert (lost.address, lost.destructive) == (None, None)
    assert lost.problem == "No tool server has a tool 'sya'. Did you mean 'say'?"
    assert wrong.problem is not None
    assert "/b" in wrong.problem
    assert later.problem is None
    assert unset.problem is not None
    assert "workflow.parameters.n.x" in unset.problem
    assert unset.unresolved == ("/text",)


async def test_secrets_are_never_seen_in_a_preview(application: Application) -> None:
    secret = {"type": "string", "secret": True, "required": True, "minLength": 8}
    await save(
        application,
        "child",
        action("inner", "say", text="{{ workflow.parameters.key }}"),
        parameters={"key": secret},
    )
    await save(
        application,
        "flow",
        action("login", "echo", value=["Bearer {{ workflow.parameters.token }}", "{{ secrets.API_KEY }}"]),
        link("go", "child", key="{{ workflow.parameters.token }}"),
        parameters={"token": secret},
    )
    seen = await preview(application, parameters={"token": TOKEN})
    assert [call.arguments for call in seen.calls] == [{"value": ["Bearer ***", "***"]}, {"text": "***"}]
    assert [call.unresolved for call in seen.calls] == [(), ()]
    assert TOKEN not in repr(seen)


async def test_what_a_link_passes_on_is_known_as_far_as_it_is_known_there(application: Application) -> None:
    await save(
        application,
        "child",
        action("inner", "echo", value=["{{ workflow.parameters.a }}", "{{ workflow.parameters.b }}"]),
        parameters={"a": {"type": "string"}, "b": {"type": "integer", "default": 7}, "c": {"type": "string"}},
    )
    await save(
        application,
        "flow",
        action("first", "echo", value=1),
        link("go", "child", a="{{ steps.first.output.value }}"),
    )
    [_, inner] = (await preview(application)).calls
    assert (inner.arguments["value"], inner.unresolved) == (["{{ workflow.parameters.a }}", 7], ("/value/0",))


async def test_a_preview_follows_the_pinned_version_and_tells_of_links_that_lead_nowhere(
    application: Application,
) -> None:
    await save(application, "child", action("old", "say", text="old"))
    await save(application, "gone", action("a", "say", text="x"))
    await save(application, "flow", {**link("go", "child"), "version": "1.0.0"}, link("lost", "gone"))
    await application.templates.update({"steps": [action("new", "say", text="new")]}, name="child")
    await application.templates.archive(name="gone")
    seen = await preview(application)
    assert [call.step_path for call in seen.calls] == ["go/old"]
    assert seen.warnings == ("lost: The template 'gone' is archived and does not run.",)


async def test_a_preview_checks_the_request_like_a_run(application: Application) -> None:
    await save(
        application,
        "flow",
        action("a", "say", text="x"),
        parameters={"n": {"type": "integer", "required": True}},
    )
    with pytest.raises(InvalidParameters):
        await preview(application)
    with pytest.raises(NotFound):
        await preview(application, "flwo")
    with pytest.raises(NotFound):
        await preview(application, version="7.0.0", parameters={"n": 1})
    await application.templates.archive(name="flow")
    with pytest.raises(Conflict):
        await preview(application, parameters={"n": 1})


# -- dry runs ----------------------------------------------------------------------------------------


async def test_a_dry_run_with_stubs_leaves_the_rows_of_the_run(application: Application) -> None:
    await save(
        application,
        "flow",
        action("sum", "add", a="{{ workflow.parameters.a }}", b=2),
        loop("each", "{{ workflow.parameters.names }}", action("tell", "say", text="{{ item }}")),
        condition(
            "big", "{{ steps.sum.output }} > 3", on_true=action("yes", "say", text="big"), on_false="end"
        ),
        parameters={"a": {"type": "integer"}, "names": {"type": "array", "default": ["x", "y"]}},
        outputs={"all": {"value": "{{ steps.each.output }}"}},
    )
    real = await really_run(application, "flow", parameters={"a": 5})
    stubs = {"sum": 7, "each[0].tell": "x", "each.tell": "y", "yes": "big"}
    dry = await dry_run(application, stubs, parameters={"a": 5})
    assert (dry.status, dry.output, dry.error) == ("completed", real.output_data, None)
    assert (dry.generated, dry.approvals, dry.warnings) == ((), (), ())
    real_rows = await steps_of(application, real)
    assert [(step.step_path, step.status, step.input_data, step.output_data) for step in dry.steps] == [
        (path, row.status, row.input_data, row.output_data) for path, row in real_rows.items()
    ]


async def test_made_up_outputs_have_whatever_the_template_reads(application: Application) -> None:
    await save(
        application,
        "flow",
        action("made", "echo", value=1),
        loop(
            "each",
            "{{ steps.made.output.disks }}",
            action("format", "echo", value=["{{ item.id }}", "{{ item.parts[1].size }}"]),
            action("mount", "echo", value="{{ previous_step.output.device }}"),
        ),
        condition(
            "ready",
            "{{ steps.made.output.ready }}",
            on_true=action("go", "echo", value="{{ steps.each.output[0].at }}"),
        ),
        {**action("note", "echo", value=0), "set_context": {"vm": "{{ output.vm }}"}},
        action("last", "echo", value=["{{ context.vm.id }}", "{{ steps.ready.output.output.done }}"]),
        outputs={"where": {"value": "{{ steps.last.output.a.b }}"}},
    )
    dry = await dry_run(application)
    assert (dry.status, dry.error) == ("completed", None)
    assert outputs(dry) == {
        "made": {
            "disks": [
                {
                    "id": "<made.output.disks[0].id>",
                    "parts": [
                        "<made.output.disks[0].parts[0]>",
                        {"size": "<made.output.disks[0].parts[1].size>"},
                    ],
                }
            ],
            "ready": True,
        },
        "each[0].format": {"device": "<format.output.device>"},
        "each[0].mount": {"at": "<mount.output.at>"},
        "ready.go": {"done": "<go.output.done>"},
        "note": {"vm": {"id": "<note.output.vm.id>"}},
        "last": {"a": {"b": "<last.output.a.b>"}},
    }
    assert dry.output == {"where": "<last.output.a.b>"}
    assert dry.generated == ("made", "format", "mount", "go", "note", "last")


async def test_values_that_go_in_circles_are_followed_for_a_while_only(application: Application) -> None:
    circling = [
        {**action(f"s{number}", "echo", value=1), "set_context": {"x": f"{{{{ context.x.a{number} }}}}"}}
        for number in range(100)
    ]
    await save(application, "flow", *circling, action("last", "echo", value="{{ context.x }}"))
    with anyio.fail_after(20):
        assert (await dry_run(application)).status == "failed"


async def test_made_up_outputs_keep_to_the_tools_output_schema(application: Application) -> None:
    await save(
        application,
        "flow",
        action("sky", "weather", city="Rome"),
        action("sum", "add", a=1, b=2),
        action("some", "numbers"),
        action("text", "say", text="{{ steps.some.output[1] }}{{ steps.sky.output.degrees }}"),
    )
    dry = await dry_run(application)
    assert dry.status == "completed"
    assert outputs(dry) == {
        "sky": {"city": "<sky.output.city>", "degrees": 1},
        "sum": 1,
        "some": [1, 1],
        "text": "<text.output>",
    }


async def test_made_up_values_fit_every_argument_but_known_ones_are_checked(application: Application) -> None:
    await save(
        application,
        "flow",
        action("made", "echo", value=1),
        action("sum", "add", a="{{ steps.made.output.count }}", b="{{ workflow.parameters.b }}"),
        parameters={"b": {}},
    )
    assert (await dry_run(application, parameters={"b": 2})).status == "completed"
    dry = await dry_run(application, parameters={"b": "two"})
    assert dry.error is not None
    assert (dry.error.code, dry.error.details["problems"][0]["path"]) == ("invalid_arguments", "/b")
    stubbed = await dry_run(application, {"made": {"count": "many"}}, parameters={"b": 2})
    assert stubbed.error is not None
    assert (stubbed.error.code, stubbed.error.details["path"]) == ("invalid_arguments", "/a")


async def test_what_is_made_up_is_neither_judged_nor_polled_for(application: Application) -> None:
    poll = {"condition": "{{ output.state }} == 'up'", "interval_seconds": 60, "max_attempts": 3}
    await save(
        application,
        "flow",
        {**action("poll", "echo", value=1), "repeat_until": poll, "fail_when": "{{ output.code }} != 0"},
        {**action("watch", "echo", value=1), "repeat_until": poll},
    )
    assert (await dry_run(application)).status == "completed"
    dry = await dry_run(application, {"poll": {"state": "up", "code": 0}, "watch": {"state": "down"}})
    assert dry.error is not None
    assert (dry.error.code, rows(dry)) == ("poll_exhausted", {"poll": "completed", "watch": "failed"})
    judged = await dry_run(application, {"poll": {"state": "up", "code": 1}})
    assert judged.error is not None
    assert judged.error.code == "fail_when"


async def test_a_stub_can_fail_its_step_which_is_retried_in_no_time(application: Application) -> None:
    failing = {"$error": {"code": "rate_limited", "message": "slow down"}}
    await save(
        application,
        "flow",
        {
            **action("first", "echo", value=1),
            "retry_count": 3,
            "retry_delay_seconds": 200,
            "on_failure": action("mend", "say", text="{{ error.code }}"),
        },
        {**action("second", "echo", value=2), "delay_seconds": 600},
    )
    dry = await dry_run(application, {"first": failing})
    first = dry.steps[0]
    assert (first.status, first.attempt_number, first.failure_handled) == ("failed", 4, True)
    assert first.error_message == "slow down"
    assert dry.steps[1].input_data == {"text": "rate_limited"}
    second = dry.steps[2]
    assert first.started_at is not None
    assert second.completed_at is not None
    assert 1400 <= (second.completed_at - first.started_at).total_seconds() <= 1700


async def test_a_dry_run_runs_out_of_the_same_time(application: Application) -> None:
    await save(
        application, "flow", {**action("first", "say", text="x"), "delay_seconds": 61}, timeout_minutes=1
    )
    dry = await dry_run(application)
    assert dry.error is not None
    assert (dry.status, dry.error.code) == ("failed", "execution_timeout")


async def test_approvals_are_given_and_listed(application: Application) -> None:
    await save(
        application,
        "flow",
        {**action("ask", "destroy", target="x"), "approval": {"message": "Sure?", "timeout_seconds": 60}},
        loop("each", [1, 2], {**action("again", "say", text="x"), "approval": True}),
    )
    dry = await dry_run(application)
    assert (dry.status, dry.approvals) == ("completed", ("ask", "each[0].again", "each[1].again"))


async def test_links_are_followed_and_their_rows_come_after_them(application: Application) -> None:
    await save(
        application,
        "grandchild",
        action("deep", "echo", value="{{ workflow.parameters.x }}"),
        parameters={"x": {"type": "string", "required": True}},
    )
    await save(
        application,
        "child",
        link("down", "grandchild", x="{{ workflow.parameters.x }}"),
        action("after", "echo", value=1),
        parameters={"x": {"type": "string", "required": True}},
        outputs={"deep": {"value": "{{ steps.down.output }}"}, "id": {}},
    )
    await save(
        application,
        "flow",
        link("go", "child", x="hello"),
        action("last", "echo", value="{{ steps.go.output.id }}"),
    )
    dry = await dry_run(application, {"go/down/deep": {"seen": True}})
    assert list(rows(dry)) == ["go", "go/down", "go/down/deep", "go/after", "last"]
    assert dry.steps[0].output_data == {"deep": {"seen": True}, "id": "<after.output.id>"}
    assert dry.steps[2].input_data == {"value": "hello"}
    assert dry.generated == ("after", "last")


async def test_a_stub_of_a_link_stands_for_the_child(application: Application) -> None:
    await save(application, "child", action("inner", "say", text="x"))
    await save(
        application, "flow", link("go", "child"), action("last", "say", text="{{ steps.go.output.word }}")
    )
    dry = await dry_run(application, {"go": {"word": "given"}, "last": "done"})
    assert (rows(dry), dry.output) == ({"go": "completed", "last": "completed"}, "done")
    failed = await dry_run(application, {"go": {"$error": {"code": "tool_error", "message": "no"}}})
    assert failed.error is not None
    assert failed.error.code == "child_failed"


async def test_links_fail_as_in_a_run(application: Application) -> None:
    await save(application, "draft", action("a", "say", text="x"))
    await save(application, "strict", action("a", "say", text="x"), parameters={"n": {"type": "integer"}})
    await save(
        application,
        "flow",
        {**link("one", "draft"), "on_failure": "continue"},
        {**link("two", "strict", n="{{ workflow.parameters.n }}"), "on_failure": "continue"},
        action("last", "say", text="x"),
        parameters={"n": {"default": "text"}},
    )
    await application.templates.update({"status": "draft"}, name="draft")
    dry = await dry_run(application)
    assert [(step.error_details or {}).get("code") for step in dry.steps] == [
        "workflow_not_runnable",
        "invalid_parameters",
        None,
    ]


async def test_links_deeper_than_the_limit_fail(application: Application) -> None:
    await save(application, "flow0", action("a", "say", text="x"))
    for depth in range(1, 4):
        await save(application, f"flow{depth}", link(f"go{depth}", f"flow{depth - 1}"))
    rehearsal = Rehearsal(application.repository, application.gateway, max_link_depth=2)
    dry = await rehearsal.dry_run(RunRequest(workflow="flow3"), {})
    assert dry.error is not None
    assert dry.error.code == "link_too_deep"
    seen = await rehearsal.preview(RunRequest(workflow="flow3"))
    assert seen.calls == ()
    assert seen.warnings == ("go3/go2/go1: 'flow0' would be linked 3 deep; the limit is 2.",)


async def test_the_first_of_parallel_branches_wins_by_virtual_time(application: Application) -> None:
    await save(application, "slow", {**action("late", "say", text="x"), "delay_seconds": 50})
    await save(
        application,
        "flow",
        {
            "name": "race",
            "type": "parallel",
            "wait_for": "any",
            "steps": [link("child", "slow"), {**action("quick", "say", text="x"), "delay_seconds": 10}],
        },
        {**link("hurried", "slow"), "timeout_seconds": 5, "on_failure": "continue"},
        action("last", "say", text="x"),
    )
    dry = await dry_run(application)
    codes = {step.step_path: (step.error_details or {}).get("code") for step in dry.steps}
    assert dry.status == "completed"
    assert (codes["race.child"], codes["race.quick"], codes["hurried"]) == ("cancelled", None, "timeout")


async def test_a_dry_run_shows_what_a_run_shows_of_secrets(application: Application) -> None:
    await save(
        application,
        "flow",
        action("login", "echo", value=["Bearer {{ workflow.parameters.token }}", "{{ secrets.API_KEY }}"]),
        parameters={"token": {"type": "string", "secret": True, "required": True}},
    )
    dry = await dry_run(application, {"login": {"echo": TOKEN}}, parameters={"token": TOKEN})
    assert dry.steps[0].input_data == {"value": ["Bearer ***", "***"]}
    assert dry.output == {"echo": "***"}
    assert TOKEN not in repr(dry)


@pytest.mark.parametrize(
    ("stubs", "code", "said"),
    [
        ({"frist": 1}, "unused_stub", "Did you mean 'first'?"),
        ({"each": []}, "unused_stub", "Known steps: 'first', 'inner'."),
        ({"first.inner": []}, "unused_stub", "Did you mean 'inner'?"),
        ({"first/inner": []}, "unused_stub", "Did you mean 'inner'?"),
        ({"first": {"$error": "no"}}, "invalid_stub", '"$error"'),
        ({"first": {"$error": {"code": 1, "message": "x"}}}, "invalid_stub", '"$error"'),
        ({"first": {"$error": {"code": "a", "message": "x"}, "more": 1}}, "invalid_stub", '"$error"'),
        ({"first": "\0"}, "invalid_stub", ""),
    ],
)
async def test_a_stub_that_answers_for_nothing_is_refused(
    application: Application, stubs: dict[str, Any], code: str, said: str
) -> None:
    await save(
        application,
        "flow",
        action("first", "say", text="x"),
        loop("each", [1], action("inner", "say", text="x")),
    )
    with pytest.raises(InvalidRequest) as refused:
        await dry_run(application, stubs)
    assert (refused.value.code, refused.value.path) == (
        code,
        f"/stubs/{next(iter(stubs)).replace('/', '~1')}",
    )
    assert said in (refused.value.suggestion or "")


async def test_a_stub_that_is_null_is_a_result(application: Application) -> None:
    await save(application, "flow", action("first", "say", text="x"))
    dry = await dry_run(application, {"first": None})
    assert (dry.status, dry.output, dry.generated) == ("completed", None, ())


async def test_unknown_tools_fail_their_step_also_with_a_stub(application: Application) -> None:
    async with ToolServers({}) as no_tools:
        library = TemplateLibrary(application.repository, no_tools)
        await library.create({"name": "flow", "steps": [action("lost", "sya", text="x")]})
        unchecked = await Rehearsal(application.repository, no_tools).dry_run(RunRequest(workflow="flow"), {})
    assert (unchecked.status, unchecked.generated) == ("completed", ("lost",))
    assert unchecked.warnings == (
        "No tool server is configured, so tools and their arguments are not checked.",
    )
    dry = await dry_run(application, {"lost": "x"})
    assert dry.error is not None
    assert (dry.error.code, dry.error.message) == (
        "unknown_tool",
        "No tool server has a tool 'sya'. Did you mean 'say'?",
    )


async def test_calls_of_a_server_that_is_away_are_not_checked(application: Application) -> None:
    await save(application, "flow", action("a", "say", text="x"))
    async with ToolServers({"away": StdioServer(command="/does/not/exist")}) as away:
        dry = await Rehearsal(application.repository, away).dry_run(RunRequest(workflow="flow"), {})
    assert dry.status == "completed"
    [warning] = dry.warnings
    assert "'say'" in warning


async def test_drafts_are_rehearsed_and_archived_templates_are_not(application: Application) -> None:
    await save(application, "flow", action("a", "say", text="x"), status="draft")
    dry = await dry_run(application)
    assert (dry.status, dry.warnings) == (
        "completed",
        ("The template 'flow' is a draft; a run of it needs allow_draft.",),
    )
    await application.templates.archive(name="flow")
    with pytest.raises(Conflict):
        await dry_run(application)


async def test_an_endless_dry_run_is_given_up(application: Application) -> None:
    await save(
        application,
        "flow",
        {**action("again", "say", text="x"), "on_success": "again", "max_visits": 1_000_000},
    )
    rehearsal = Rehearsal(application.repository, application.gateway, limits=DryRunLimits(turns=500))
    with pytest.raises(InvalidRequest, match="500 turns") as refused:
        await rehearsal.dry_run(RunRequest(workflow="flow"), {})
    assert refused.value.code == "dry_run_too_long"


async def test_a_trigger_context_must_be_an_object(application: Application) -> None:
    await save(application, "flow", action("a", "say", text="x"))
    wrong: Any = [1]
    with pytest.raises(InvalidRequest, match="trigger context"):
        await dry_run(application, trigger_context=wrong)
