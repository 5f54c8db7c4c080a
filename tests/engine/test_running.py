"""Whole executions on a real database with a real tool server: the rows that they leave."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from applications import action, calls_in, run, save, steps_of, until

from archon_workflows.bootstrap import Application
from archon_workflows.engine.verbs import RunRequest
from archon_workflows.errors import Conflict, InvalidParameters, NotFound
from archon_workflows.model.records import ControlRequest


async def save_everything(application: Application) -> None:
    await save(
        application,
        "child",
        action("greet", "ledger/say", text="hello {{ workflow.parameters.who }}"),
        parameters={"who": {"type": "string", "required": True}},
        outputs={"greeting": {"type": "string", "value": "{{ steps.greet.output }}"}},
    )
    await save(
        application,
        "everything",
        action("sum", "add", a="{{ workflow.parameters.a }}", b=2),
        {
            "name": "each",
            "type": "loop",
            "collection": [1, 2],
            "steps": [
                {
                    "name": "both",
                    "type": "parallel",
                    "steps": [
                        action("left", "echo", value="{{ item }}"),
                        [action("right", "echo", value="{{ loop.index0 }}")],
                    ],
                }
            ],
        },
        {
            "name": "big",
            "type": "condition",
            "condition": "{{ steps.sum.output }} > 3",
            "on_true": {
                "name": "linked",
                "type": "workflow_link",
                "workflow_name": "child",
                "parameters": {"who": "you"},
            },
        },
        parameters={"a": {"type": "integer", "default": 5}},
    )


async def test_all_five_step_types_leave_their_rows(application: Application) -> None:
    await save_everything(application)
    execution = await run(application, "everything", triggered_by="anna")

    assert execution.status == "completed", execution.error_message
    assert execution.output_data == {"result": True, "branch": "inline", "output": {"greeting": "hello you"}}
    assert (execution.progress_percentage, execution.total_steps) == (100, 3)
    assert execution.triggered_by == "anna"
    rows = await steps_of(application, execution)
    assert {path: (row.step_type, row.status, row.step_index) for path, row in rows.items()} == {
        "sum": ("action", "completed", 0),
        "each": ("loop", "completed", 1),
        "each[0].both": ("parallel", "completed", 1),
        "each[0].both.left": ("action", "completed", 1),
        "each[0].both.right": ("action", "completed", 1),
        "each[1].both": ("parallel", "completed", 1),
        "each[1].both.left": ("action", "completed", 1),
        "each[1].both.right": ("action", "completed", 1),
        "big": ("condition", "completed", 2),
        "big.linked": ("workflow_link", "completed", 2),
    }
    assert (rows["sum"].tool_name, rows["sum"].tool_parameters, rows["sum"].output_data) == (
        "add",
        {"a": 5, "b": 2},
        7,
    )
    assert rows["sum"].tool_result["isError"] is False
    assert rows["each"].output_data == [[{"value": 1}, {"value": 0}], [{"value": 2}, {"value": 1}]]
    assert rows["sum"].started_at is not None
    assert rows["sum"].completed_at is not None
    child_id = rows["big.linked"].sub_workflow_execution_id
    assert child_id is not None
    child = await application.executions.read(child_id)
    assert (child.parent_execution_id, child.parent_step_path) == (execution.id, "big.linked")
    assert (child.root_execution_id, child.link_depth, child.triggered_by) == (execution.id, 1, "anna")
    messages = [entry["message"] for entry in execution.execution_log]
    assert messages[0] == "Execution started"
    assert messages[-1] == "Execution completed"


@pytest.mark.parametrize(
    ("step", "code", "rows"),
    [
        (action("a", "fail", reason="no"), "tool_error", {"a": "tool_error"}),
        (action("a", "success_false"), "tool_error", {"a": "tool_error"}),
        (action("a", "slow", seconds=30) | {"timeout_seconds": 0.1}, "timeout", {"a": "timeout"}),
        (
            {"name": "l", "type": "loop", "collection": [1], "steps": [action("a", "fail")]},
            "iteration_failed",
            {"l": "iteration_failed", "l[0].a": "tool_error"},
        ),
        (
            {
                "name": "p",
                "type": "parallel",
                "steps": [action("a", "fail"), action("b", "slow", seconds=30)],
            },
            "branch_failed",
            {"p": "branch_failed", "p.a": "tool_error", "p.b": "cancelled"},
        ),
        (
            {"name": "c", "type": "condition", "condition": True, "on_true": action("a", "fail")},
            "branch_failed",
            {"c": "branch_failed", "c.a": "tool_error"},
        ),
        (
            {"name": "k", "type": "workflow_link", "workflow_name": "failing"},
            "child_failed",
            {"k": "child_failed"},
        ),
    ],
    ids=["tool error", "success false", "timeout", "loop", "parallel", "condition", "link"],
)
async def test_each_step_type_fails_with_its_row_and_reason(
    application: Application, step: dict[str, Any], code: str, rows: dict[str, str]
) -> None:
    await save(application, "failing", action("a", "fail", reason="broken child"))
    await save(application, "under_test", step)
    execution = await run(application, "under_test")

    assert execution.status == "failed"
    assert execution.error_details is not None
    assert execution.error_details["code"] == code
    assert execution.progress_percentage < 100
    left = await steps_of(application, execution)
    assert {path: row.error_details and row.error_details["code"] for path, row in left.items()} == rows
    assert all(row.status == "failed" and row.error_message for row in left.values())


async def test_retries_keep_earlier_errors_and_one_key(application: Application, ledger_path: Path) -> None:
    step = action("a", "flaky", name="x", failures=2) | {"retry_count": 3, "retry_delay_seconds": 0.01}
    await save(application, "flaky", step)
    execution = await run(application, "flaky")

    assert execution.status == "completed"
    row = (await steps_of(application, execution))["a"]
    assert (row.attempt_number, row.max_attempts) == (3, 4)
    assert row.error_details is not None
    assert [error["attempt"] for error in row.error_details["earlier"]] == [1, 2]
    keys = [call["key"] for call in calls_in(ledger_path)]
    assert keys == [f"{execution.id}/a"] * 3


async def test_an_execution_runs_the_version_it_started_with(application: Application) -> None:
    await save(application, "pinned", action("a", "slow", seconds=0.3), action("b", "say", text="old"))
    started = await application.executions.start(RunRequest(workflow="pinned"))
    await application.templates.update(
        {"name": "pinned", "steps": [action("b", "say", text="new")]}, name="pinned"
    )
    execution = await application.executions.wait(started.execution.id, seconds=10)

    assert execution.output_data == "old"
    assert (await run(application, "pinned")).output_data == "new"
    assert (await run(application, "pinned", version=started.execution.version_tag)).output_data == "old"


async def test_the_same_idempotency_key_names_the_first_execution(application: Application) -> None:
    await save(application, "once", action("a", "say", text="x"))
    first = await application.executions.start(RunRequest(workflow="once", idempotency_key="k"))
    again = await application.executions.start(RunRequest(workflow="once", idempotency_key="k"))
    assert (again.execution.id, again.existed) == (first.execution.id, True)


class TestWhatDoesNotStart:
    async def test_an_unknown_workflow_names_the_nearest(self, application: Application) -> None:
        await save(application, "deploy", action("a", "say", text="x"))
        with pytest.raises(NotFound) as refused:
            await application.executions.start(RunRequest(workflow="deplyo"))
        assert "deploy" in (refused.value.suggestion or "")

    async def test_wrong_parameters_are_all_named(self, application: Application) -> None:
        parameters = {"n": {"type": "integer", "required": True}, "name": {"type": "string"}}
        await save(application, "strict", action("a", "say", text="x"), parameters=parameters)
        with pytest.raises(InvalidParameters) as refused:
            await application.executions.start(
                RunRequest(workflow="strict", parameters={"nmae": 1, "n": "x"})
            )
        assert {problem["path"] for problem in refused.value.details["problems"]} == {"/nmae", "/n"}

    async def test_a_draft_needs_to_be_allowed_and_an_archived_one_never_runs(
        self, application: Application
    ) -> None:
        await save(application, "sketch", action("a", "say", text="x"), status="draft")
        with pytest.raises(Conflict, match="draft"):
            await application.executions.start(RunRequest(workflow="sketch"))
        assert (await run(application, "sketch", allow_draft=True)).status == "completed"
        await application.templates.archive(name="sketch")
        with pytest.raises(Conflict, match="archived"):
            await application.executions.start(RunRequest(workflow="sketch", allow_draft=True))

    async def test_a_deprecated_one_runs_with_a_warning(self, application: Application) -> None:
        await save(application, "old", action("a", "say", text="x"), status="deprecated")
        started = await application.executions.start(RunRequest(workflow="old"))
        assert "deprecated" in started.warnings[0]


class TestControl:
    async def test_resuming_what_waits_for_approval_names_the_word_that_helps(
        self, application: Application
    ) -> None:
        await save(application, "guarded", action("a", "say", text="x") | {"approval": True})
        execution = await run(application, "guarded")
        with pytest.raises(Conflict) as refused:
            await application.executions.control(execution.id, ControlRequest(id=uuid4(), action="resume"))
        assert refused.value.code == "waits_for_word"
        assert "approve" in (refused.value.suggestion or "")

    async def test_a_word_that_nothing_waits_for_is_refused(self, application: Application) -> None:
        await save(application, "guarded", action("a", "say", text="x") | {"approval": True})
        execution = await run(application, "guarded")
        for wrong in (
            ControlRequest(id=uuid4(), action="approve", step_path="b"),
            ControlRequest(id=uuid4(), action="resolve", resolution="rerun"),
        ):
            with pytest.raises(Conflict) as refused:
                await application.executions.control(execution.id, wrong)
            assert refused.value.code == "nothing_waits"


class TestSecrets:
    async def test_a_secret_parameter_is_in_no_row_and_yet_reaches_the_tool(
        self, application: Application, ledger_path: Path
    ) -> None:
        parameters = {"token": {"type": "string", "secret": True, "required": True}}
        step = action("a", "echo", value="Bearer {{ workflow.parameters.token }}")
        await save(application, "sealed", step, action("b", "fail", reason="no"), parameters=parameters)
        execution = await run(application, "sealed", parameters={"token": "s3cr3t-t0ken"})

        assert calls_in(ledger_path)[0]["arguments"] == {"value": "Bearer s3cr3t-t0ken"}
        rows = await steps_of(application, execution)
        assert rows["a"].tool_parameters == {"value": "Bearer ***"}
        assert rows["a"].output_data == {"value": "Bearer ***"}
        assert "s3cr3t" not in str(execution)
        assert "s3cr3t" not in str(rows)

    async def test_a_secret_goes_to_a_child_only_into_a_secret_parameter(
        self, application: Application, ledger_path: Path
    ) -> None:
        token = {"token": {"type": "string", "secret": True, "required": True}}
        link = {"type": "workflow_link", "parameters": {"key": "key {{ workflow.parameters.token }}"}}
        for name, secret in (("open_child", False), ("closed_child", True)):
            key = {"key": {"type": "string", "secret": secret}}
            await save(
                application, name, action("a", "say", text="{{ workflow.parameters.key }}"), parameters=key
            )
            await save(
                application, f"to_{name}", {"name": "k", "workflow_name": name, **link}, parameters=token
            )
        refused = await run(application, "to_open_child", parameters={"token": "s3cr3t-t0ken"})
        passed = await run(application, "to_closed_child", parameters={"token": "s3cr3t-t0ken"})

        assert refused.error_details is not None
        assert refused.error_details["code"] == "invalid_parameters"
        assert (passed.status, passed.output_data) == ("completed", "***")
        assert [call["arguments"] for call in calls_in(ledger_path)] == [{"text": "key s3cr3t-t0ken"}]
        for execution in (refused, passed):
            assert "s3cr3t" not in str(execution)
            assert "s3cr3t" not in str(await steps_of(application, execution))

    async def test_an_allowed_environment_variable_is_readable_and_masked(
        self, opener: Any, monkeypatch: pytest.MonkeyPatch, ledger_path: Path
    ) -> None:
        monkeypatch.setenv("API_KEY", "env-s3cret")
        async with opener(secrets=("API_KEY",)) as application:
            await save(application, "keyed", action("a", "echo", value="{{ secrets.API_KEY }}"))
            execution = await run(application, "keyed")
            assert calls_in(ledger_path)[0]["arguments"] == {"value": "env-s3cret"}
            assert "env-s3cret" not in str(await steps_of(application, execution))


class TestLinks:
    async def test_links_have_a_depth_limit_at_run_time(self, opener: Any) -> None:
        async with opener(max_link_depth=2) as application:
            await save(application, "level0", action("a", "say", text="bottom"))
            for level in (1, 2, 3):
                link = {"name": "k", "type": "workflow_link", "workflow_name": f"level{level - 1}"}
                await save(application, f"level{level}", link)
            assert (await run(application, "level2")).status == "completed"
            execution = await run(application, "level3")
            assert execution.status == "failed"
            assert "link_too_deep" in str(execution.error_details)

    async def test_cancelling_the_parent_cancels_the_child(
        self, application: Application, ledger_path: Path
    ) -> None:
        await save(application, "sleeper", action("a", "slow", seconds=60))
        await save(application, "parent", {"name": "k", "type": "workflow_link", "workflow_name": "sleeper"})
        started = await application.executions.start(RunRequest(workflow="parent"))
        await until(lambda: len(calls_in(ledger_path)) == 1)
        child_id = (await steps_of(application, started.execution))["k"].sub_workflow_execution_id
        assert child_id is not None
        cancel = ControlRequest(id=uuid4(), action="cancel")
        execution = await application.executions.control(started.execution.id, cancel)
        child = await application.executions.wait(child_id, seconds=10)
        assert (execution.status, child.status) == ("cancelled", "cancelled")


async def test_more_than_fit_wait_their_turn(opener: Any, ledger_path: Path) -> None:
    async with opener(max_concurrent_executions=2) as application:
        await save(application, "slow", action("a", "slow", seconds=0.1))
        started = [await application.executions.start(RunRequest(workflow="slow")) for _ in range(6)]
        waiting = [await application.executions.read(one.execution.id) for one in started]
        assert [one.status for one in waiting].count("pending") >= 3
        ended = [await application.executions.wait(one.execution.id, seconds=20) for one in started]
        assert {one.status for one in ended} == {"completed"}
    assert len(calls_in(ledger_path)) == 6


async def test_sixty_four_at_once_all_complete(application: Application) -> None:
    await save(application, "short", *(action(f"s{n}", "add", a=n, b=n) for n in range(5)))
    started = [await application.executions.start(RunRequest(workflow="short")) for _ in range(64)]
    for one in started:
        execution = await application.executions.wait(one.execution.id, seconds=30)
        assert (execution.status, execution.output_data) == ("completed", 8)
