"""When schedules are due: cron expressions on wall clocks that are changed, and what was missed."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_workflows.errors import InvalidRequest
from archon_workflows.model.schedules import LARGEST_BACKLOG, OnMissed, ScheduleRecord, Timetable, due_now

NINE = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def times(cron: str, time_zone: str, after: str, count: int) -> list[str]:
    found = Timetable(cron, time_zone).after(datetime.fromisoformat(after))
    return [at.strftime("%m-%dT%H:%M") for at in islice(found, count)]


@pytest.mark.parametrize(
    ("cron", "time_zone", "after", "due"),
    [
        pytest.param(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T00:00Z",
            ["03-28T01:30", "03-29T01:00", "03-30T00:30"],
            id="a time that a change skips is due at the change",
        ),
        pytest.param(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T00:00Z",
            ["10-24T00:30", "10-25T00:30", "10-26T01:30"],
            id="a time that a change repeats is due once",
        ),
        pytest.param(
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-25T00:15Z",
            ["10-25T00:30", "10-25T01:00", "10-25T01:30", "10-25T02:00"],
            id="every half hour goes on through a change",
        ),
        pytest.param(
            "0 9 * * mon-fri", "UTC", "2026-11-27T09:00Z", ["11-30T09:00", "12-01T09:00"], id="working days"
        ),
        pytest.param("0 0 L * *", "UTC", "2027-02-01T00:00Z", ["02-28T00:00", "03-31T00:00"], id="last days"),
        pytest.param(
            "0 12 * * *", "Asia/Kathmandu", "2026-11-23T00:00Z", ["11-23T06:15"], id="an odd offset"
        ),
    ],
)
def test_a_schedule_is_due_on_the_wall_clock_of_its_time_zone(
    cron: str, time_zone: str, after: str, due: list[str]
) -> None:
    assert times(cron, time_zone, after, len(due)) == due


@pytest.mark.parametrize(
    ("cron", "time_zone", "code", "hint"),
    [
        ("", "UTC", "invalid_cron", "30 9 * * mon-fri"),
        ("* * * *", "UTC", "invalid_cron", "30 9 * * mon-fri"),
        ("0 0 * * * *", "UTC", "invalid_cron", "30 9 * * mon-fri"),
        ("61 * * * *", "UTC", "invalid_cron", "30 9 * * mon-fri"),
        ("@reboot", "UTC", "invalid_cron", "30 9 * * mon-fri"),
        ("0 9 31 4 *", "UTC", "invalid_cron", "30 9 * * mon-fri"),
        ("1," * 200 + "1 * * * *", "UTC", "invalid_cron", "30 9 * * mon-fri"),
        ("* * * * *", "Europe/Berln", "invalid_time_zone", "'Europe/Berlin'"),
        ("* * * * *", "../../etc/passwd", "invalid_time_zone", "Europe/Berlin"),
        ("* * * * *", "Europe", "invalid_time_zone", ""),
        ("* * * * *", "UTC\0", "invalid_time_zone", ""),
        ("* * * * *", "x" * 5_000, "invalid_time_zone", ""),
    ],
)
def test_what_is_no_timetable_is_refused_with_what_to_write(
    cron: str, time_zone: str, code: str, hint: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Timetable(cron, time_zone).first_after(NINE)
    assert refused.value.code == code
    assert hint in (refused.value.suggestion or "")
    assert len(refused.value.message) < 300


@given(st.text(max_size=40), st.text(max_size=20))
def test_any_text_is_a_timetable_or_refused(cron: str, time_zone: str) -> None:
    with suppress(InvalidRequest):
        assert Timetable(cron, time_zone).first_after(NINE) > NINE


@given(
    cron=st.sampled_from(["* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 1 * *", "15 1-3 * * sun"]),
    time_zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    moment=st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - made aware below
)
def test_times_to_come_and_times_past_are_the_same_times(cron: str, time_zone: str, moment: datetime) -> None:
    timetable, moment = Timetable(cron, time_zone), moment.replace(tzinfo=UTC)
    coming = list(islice(timetable.after(moment), 5))
    assert all(earlier < later for earlier, later in pairwise([moment, *coming]))
    assert next(timetable.until(coming[-1])) == coming[-1]


def record(on_missed: OnMissed, cron: str = "0 * * * *", **changes: Any) -> ScheduleRecord:
    facts: dict[str, Any] = {
        "id": uuid4(),
        "name": "hourly",
        "workflow_template_id": uuid4(),
        "workflow_name": "hourly",
        "cron": cron,
        "time_zone": "UTC",
        "on_missed": on_missed,
        "on_overlap": "skip",
        "next_due_at": NINE,
        "last_due_at": None,
        "last_outcome": None,
        "last_execution_id": None,
        "last_error": None,
        "started_count": 0,
        "missed_count": 0,
        "overlapped_count": 0,
        "refused_count": 0,
        "created_at": NINE,
        "updated_at": NINE,
    }
    return ScheduleRecord(**{**facts, **changes})


@pytest.mark.parametrize(
    ("on_missed", "late", "due", "following", "is_missed", "missed"),
    [
        pytest.param("run_once", timedelta(), 9, 10, False, 0, id="on time"),
        pytest.param("skip", timedelta(seconds=59), 9, 10, False, 0, id="nearly on time"),
        pytest.param("skip", timedelta(seconds=61), 9, 10, True, 1, id="too late"),
        pytest.param("run_once", timedelta(minutes=59), 9, 10, False, 0, id="late, and made up for"),
        pytest.param("run_once", timedelta(hours=3, minutes=5), 12, 13, False, 3, id="the latest one only"),
        pytest.param("run_all", timedelta(hours=3, minutes=5), 9, 10, False, 0, id="the first of all"),
        pytest.param("skip", timedelta(hours=3, minutes=5), 12, 13, True, 4, id="none of them"),
        pytest.param("skip", timedelta(hours=3, seconds=5), 12, 13, False, 3, id="the one on time only"),
    ],
)
def test_what_was_missed_is_made_up_for_as_the_policy_says(
    on_missed: OnMissed, late: timedelta, due: int, following: int, *, is_missed: bool, missed: int
) -> None:
    found = due_now(record(on_missed), NINE + late)
    assert (found.due_at.hour, found.next_due_at.hour) == (due, following)
    assert (found.is_missed, found.missed) == (is_missed, missed)


def test_a_long_absence_is_made_up_for_within_bounds() -> None:
    now = NINE + timedelta(days=400)
    every = due_now(record("run_all", "* * * * *"), now)
    assert now - every.due_at == timedelta(minutes=LARGEST_BACKLOG - 1)
    latest = due_now(record("run_once", "* * * * *"), now)
    assert latest.due_at == now
    assert latest.missed == 1_000  # those beyond are not counted one by one
