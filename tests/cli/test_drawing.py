"""What people see of an execution."""

from datetime import timedelta

import pytest
from execution_samples import BEGINNING, execution, history, step

from archon_workflows.cli.drawing import Drawing, duration, log_lines, outcome_lines
from archon_workflows.model.records import StepRecord

NOW = BEGINNING + timedelta(seconds=5)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.04, "0.0s"), (59.94, "59.9s"), (61, "1m01s"), (3_725, "1h02m05s"), (-3, "0.0s")]
)
def test_durations_are_short(seconds: float, shown: str) -> None:
    assert duration(BEGINNING, BEGINNING + timedelta(seconds=seconds), NOW) == shown


def test_what_runs_is_timed_up_to_now() -> None:
    assert duration(BEGINNING, None, NOW) == "5.0s"


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        (step("create_vm"), "  ✓ create_vm  deploy_tool  2.0s"),
        (step("create_vm", "skipped", started_at=None), "  – create_vm  deploy_tool"),  # noqa: RUF001 - a dash
        (
            step("create_vm", "running", progress={"progress": 2.0, "total": 4.0, "message": "starting"}),
            "  ● create_vm  deploy_tool  5.0s  2/4 starting",
        ),
        (
            step("create_vm", "retrying", attempt_number=2, max_attempts=3, error_message="busy"),
            "  ↻ create_vm  deploy_tool  attempt 2/3  5.0s  busy",
        ),
        (step("ask", "pending", awaiting="approval", started_at=None), "  ⏸ ask  deploy_tool"),
        (
            step("create_vm", "failed", error_message="\x1b[2Jgone\nforged"),
            "  ✗ create_vm  deploy_tool  5.0s  \\x1b[2Jgone\\nforged",
        ),
    ],
)
def test_a_step_is_one_line_with_status_tool_time_and_reason(record: StepRecord, shown: str) -> None:
    [line] = Drawing(ascii_only=False).tree(history(record), NOW)
    assert line.plain == shown


def test_terminals_without_unicode_get_ascii() -> None:
    tree = history(*(step(f"s{number}", status) for number, status in enumerate(("completed", "skipped"))))
    assert all(line.plain.isascii() for line in Drawing(ascii_only=True).tree(tree, NOW))


def test_a_tree_that_does_not_fit_loses_finished_inner_steps_first() -> None:
    tree = history(
        step("all", "running"),
        *(step(f"all[{n}].do", "completed") for n in range(50)),
        step("all[50].do", "running"),
    )
    lines = [line.plain for line in Drawing(ascii_only=False).tree(tree, NOW, room=5)]
    assert len(lines) == 5
    assert lines[0].startswith("  ● all")
    assert "[50].do" in lines[-2]
    assert lines[-1].strip() == "48 more steps are not shown"


def test_the_log_cannot_forge_lines() -> None:
    entry = {"timestamp": "2026-11-23T10:00:00+00:00", "level": "info", "message": "done\n10:00:01 approved"}
    [line] = log_lines(execution(execution_log=(entry,)))
    assert line.plain == "  10:00:00 done\\n10:00:01 approved"


def test_who_must_say_something_is_told_the_command() -> None:
    ask = step("ask", "pending", awaiting="approval", input_data={"approval": {"message": "Delete it?"}})
    tree = history(ask, status="paused", pause_reason="approval")
    said = [line.plain for line in outcome_lines(tree)]
    assert said == [
        "waits ask: Delete it?",
        f"  archon-workflows control {tree.execution.id} approve --step ask",
    ]
