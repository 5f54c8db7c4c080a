"""An execution as a tree, and whether anything will happen in it by itself."""

import pytest
from execution_samples import history, step

from archon_workflows.cli.exits import ExitCode, exit_code_of
from archon_workflows.cli.history import History, is_settled, lines_of, parent_path, waits_in
from archon_workflows.model.records import ControlRequest, StepRecord


@pytest.mark.parametrize(
    ("path", "parent"),
    [
        ("create_vm", ""),
        ("checks.lint", "checks"),
        ("deploy_all[2].deploy", "deploy_all"),
        ("deploy_all~2[0].deploy", "deploy_all"),
        ("checks~2.lint", "checks"),
        ("poll#3", ""),
        ("poll#3.inner", "poll#3"),
        ("a.b[0].c~2.d", "a.b[0].c"),
    ],
)
def test_a_step_is_inside_the_step_that_its_path_names(path: str, parent: str) -> None:
    assert parent_path(path) == parent


def test_steps_stand_below_what_they_are_inside_of_however_they_were_interleaved() -> None:
    tree = history(
        step("both"),
        step("both.left"),
        step("each"),
        step("both.right"),
        step("each[1].do"),
        step("each[0].do"),
        step("after"),
    )
    drawn = [(line.depth, line.label) for line in lines_of(tree)]
    assert drawn == [
        (0, "both"),
        (1, "left"),
        (1, "right"),
        (0, "each"),
        (1, "[1].do"),
        (1, "[0].do"),
        (0, "after"),
    ]


def test_the_steps_of_a_child_stand_below_the_step_that_linked_it() -> None:
    child = history(step("plan"), step("make"))
    tree = history(step("backup", step_type="workflow_link"), step("after"), children={"backup": child})
    assert [(line.depth, line.address) for line in lines_of(tree)] == [
        (0, "backup"),
        (1, "backup / plan"),
        (1, "backup / make"),
        (0, "after"),
    ]


def waiting(path: str = "ask") -> StepRecord:
    return step(path, "pending", awaiting="approval", started_at=None)


PAUSED_CHILD = history(waiting(), status="paused", pause_reason="approval")
REQUEST = ControlRequest(id=PAUSED_CHILD.execution.id, action="resume")


@pytest.mark.parametrize(
    ("tree", "settled", "code"),
    [
        pytest.param(history(status="completed"), True, ExitCode.SUCCESS, id="completed"),
        pytest.param(history(status="failed"), True, ExitCode.WORKFLOW_FAILED, id="failed"),
        pytest.param(history(status="cancelled"), True, ExitCode.WORKFLOW_FAILED, id="cancelled"),
        pytest.param(history(status="pending"), False, ExitCode.SUCCESS, id="pending"),
        pytest.param(history(step("a", "running")), False, ExitCode.SUCCESS, id="running"),
        pytest.param(PAUSED_CHILD, True, ExitCode.WAITING, id="paused for an approval"),
        pytest.param(
            history(status="paused", pause_reason="requested", control_requests=(REQUEST,)),
            False,
            ExitCode.SUCCESS,
            id="paused, but someone has asked it to go on",
        ),
        pytest.param(
            history(step("link", "running"), children={"link": PAUSED_CHILD}),
            True,
            ExitCode.WAITING,
            id="running, but only for a child that is paused",
        ),
        pytest.param(
            history(
                step("both", "running"),
                step("both.link", "running"),
                step("both.work", "running"),
                children={"both.link": PAUSED_CHILD},
            ),
            False,
            ExitCode.SUCCESS,
            id="a child is paused and another branch works",
        ),
    ],
)
def test_an_execution_is_settled_when_nothing_more_happens_by_itself(
    tree: History,
    settled: bool,  # noqa: FBT001 - a case
    code: ExitCode,
) -> None:
    assert is_settled(tree) is settled
    assert exit_code_of(tree) is code


def test_waits_are_found_in_children_too() -> None:
    tree = history(step("link", "running"), children={"link": PAUSED_CHILD})
    assert [(wait.execution.id, wait.step.step_path) for wait in waits_in(tree)] == [
        (PAUSED_CHILD.execution.id, "ask")
    ]
