"""``manage_workflow_template`` with schedules: every action done, and every mistake answered."""

from typing import Any

import pytest
from serving import Agent, action

TOOL = "manage_workflow_template"
GREETS = {
    "name": "greets",
    "parameters": {"text": {"type": "string", "default": "hello"}},
    "steps": [action("greet", "say", text="{{ workflow.parameters.text }}")],
}
DAILY = {"cron": "30 9 * * mon-fri", "time_zone": "Europe/Berlin"}


async def test_a_template_is_scheduled_changed_paused_resumed_and_unscheduled(agent: Agent) -> None:
    await agent.do(TOOL, action="create", template=GREETS)
    made = await agent.do(TOOL, action="schedule", name="greets", schedule=DAILY, created_by="anna")
    assert (made["schedule_name"], made["workflow"]) == ("greets", "greets")
    assert made["in_words"] == "At 09:30 on Monday through Friday"
    assert len(made["next_due_at"]) == 3
    assert (made["on_missed"], made["on_overlap"], made["created_by"]) == ("run_once", "skip", "anna")

    asked = {**DAILY, "parameters": {"text": "hi"}, "priority": 5, "on_overlap": "allow", "version": "1.0.0"}
    changed = await agent.do(TOOL, action="schedule", name="greets", schedule=asked)
    assert changed["schedule_id"] == made["schedule_id"]
    assert {name: changed[name] for name in asked} == asked

    paused = await agent.do(TOOL, action="pause_schedule", schedule_name="greets")
    assert paused["paused"]
    assert "next_due_at" not in paused
    resumed = await agent.do(TOOL, action="resume_schedule", schedule_name=made["schedule_id"])
    assert resumed["next_due_at"] == changed["next_due_at"]

    listed = await agent.do(TOOL, **made["next"][0]["arguments"])
    assert [one["schedule_name"] for one in listed["schedules"]] == ["greets"]
    removed = await agent.do(TOOL, action="unschedule", schedule_name="greets")
    assert removed["removed"]
    assert (await agent.do(TOOL, action="list_schedules"))["schedules"] == []


async def test_a_template_has_as_many_schedules_as_one_likes(agent: Agent) -> None:
    await agent.do(TOOL, action="create", template=GREETS)
    for name in ("evening", "morning"):
        await agent.do(TOOL, action="schedule", name="greets", schedule={**DAILY, "name": name})
    page = await agent.do(TOOL, action="list_schedules", name="greets", page_size=1, page=2)
    assert [one["schedule_name"] for one in page["schedules"]] == ["morning"]
    assert page["page"] == {"page": 2, "page_size": 1, "total": 2}


REFUSED: list[tuple[str, dict[str, Any], str, str | None, str]] = [
    ("no schedule", {"action": "schedule", "name": "greets"}, "missing_argument", "/schedule", "when"),
    (
        "no cron",
        {"action": "schedule", "name": "greets", "schedule": {"time_zone": "UTC"}},
        "missing_argument",
        "/schedule/cron",
        "30 9",
    ),
    (
        "a name misspelt",
        {"action": "schedule", "name": "greets", "schedule": {**DAILY, "timezone": "UTC"}},
        "unknown_argument",
        "/schedule/timezone",
        "'time_zone'",
    ),
    (
        "no cron expression",
        {"action": "schedule", "name": "greets", "schedule": {"cron": "daily"}},
        "invalid_cron",
        "/schedule/cron",
        "30 9",
    ),
    (
        "no time zone",
        {"action": "schedule", "name": "greets", "schedule": {**DAILY, "time_zone": "Berlin"}},
        "invalid_time_zone",
        "/schedule/time_zone",
        "Berlin",
    ),
    (
        "an unknown policy",
        {"action": "schedule", "name": "greets", "schedule": {**DAILY, "on_missed": "once"}},
        "invalid_argument",
        "/schedule/on_missed",
        "'run_once'",
    ),
    (
        "parameters that do not fit",
        {"action": "schedule", "name": "greets", "schedule": {**DAILY, "parameters": {"text": 1}}},
        "invalid_parameters",
        "/text",
        "",
    ),
    (
        "text",
        {"action": "schedule", "name": "greets", "schedule": '"daily"'},
        "invalid_argument",
        "/schedule",
        "cron",
    ),
    (
        "an unknown template",
        {"action": "schedule", "name": "greet", "schedule": DAILY},
        "template_not_found",
        None,
        "'greets'",
    ),
    (
        "an unknown schedule",
        {"action": "pause_schedule", "schedule_name": "dayly"},
        "schedule_not_found",
        None,
        "'daily'",
    ),
    ("no schedule named", {"action": "unschedule"}, "missing_argument", "/schedule_name", "which"),
    (
        "a name that is none",
        {"action": "schedule", "name": "greets", "schedule": {**DAILY, "name": "Every day!"}},
        "invalid_name",
        "/schedule/name",
        "lower case",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "code", "path", "suggestion"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED]
)
async def test_a_mistake_is_answered_with_what_to_change(
    agent: Agent, arguments: dict[str, Any], code: str, path: str | None, suggestion: str
) -> None:
    await agent.do(TOOL, action="create", template=GREETS)
    await agent.do(TOOL, action="schedule", name="greets", schedule={**DAILY, "name": "daily"})
    letter = await agent.refused(TOOL, **arguments)
    assert (letter["code"], letter.get("path")) == (code, path)
    assert suggestion in letter.get("suggestion", "")
    assert (await agent.do(TOOL, action="list_schedules"))["page"]["total"] == 1
