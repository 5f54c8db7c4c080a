"""A Supabase project looked at from outside, one thing after the other, each with what to do about it.

Every function of the migration is really called, with arguments that it refuses or that give it nothing to
do: so it is known to be there, known to the API, and open to the key. Nothing here changes anything.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from time import perf_counter
from typing import Any, Final, Literal
from uuid import uuid4

from pydantic import TypeAdapter

from archon_workflows.errors import NotFound, StorageError, WorkflowError
from archon_workflows.storage.migrations import SCHEMA_VERSION, state_of_version
from archon_workflows.storage.postgrest_api import PostgrestApi
from archon_workflows.storage.postgrest_letters import MIGRATE, UPGRADE
from archon_workflows.storage.supabase_project import WHERE_KEYS_ARE, WRITER, Project, read_project

State = Literal["ok", "warn", "fail"]

ASKED_TIMES: Final = 5
SLOW_SECONDS: Final = 0.3
CLOCK_TOLERANCE_SECONDS: Final = 2.0
OLDEST_POSTGRES: Final = 15

PUBLIC: Final = "everyone with the anon key reads everything (add_private_workflows.sql would change that)"
PRIVATE: Final = "users read public templates and what is their own (add_private_workflows.sql is in force)"


@dataclass(frozen=True, slots=True)
class ProjectCheck:
    """One thing that was looked at: what was found, and what to do about it."""

    check: str
    state: State
    found: str
    advice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSigns:
    """What ``archon_workflow_vital_signs`` answers."""

    now: datetime
    server_version: str
    schema_version: int
    role: str
    readers: Literal["everyone", "creators", "nobody"]
    unsecured_tables: tuple[str, ...]
    uncallable_functions: tuple[str, ...]
    exposed_functions: tuple[str, ...]


_SIGNS: Final = TypeAdapter(ProjectSigns)


async def check_project(url: str, key: str) -> AsyncGenerator[ProjectCheck]:
    """Yield the checks of a project as they are made; after one that rules the others out it ends."""
    try:
        project = read_project(url, key)
    except StorageError as error:
        yield _failed("project", error)
        return
    yield _address(project)
    async with aclosing(await PostgrestApi.connect(project)) as api:
        async for check in _checks_of(api):
            yield check


async def _checks_of(api: PostgrestApi) -> AsyncGenerator[ProjectCheck]:
    try:
        yield _migration(await api.call("schema_version"))
        seconds, skew, signs = await _measured(api)
    except WorkflowError as error:
        yield _failed("migration" if error.code == "migration_missing" else "connection", error)
        return
    yield _round_trip(seconds)
    yield _clock(skew)
    yield _postgres(signs.server_version)
    yield _role(signs.role)
    yield await _functions(api, signs)
    yield _row_level_security(signs)
    yield _readers(signs)


async def _measured(api: PostgrestApi) -> tuple[float, float, ProjectSigns]:
    """Return the median round trip and the difference of the clocks, in seconds, and the last answer."""
    seconds: list[float] = []
    skews: list[float] = []
    signs: ProjectSigns | None = None
    for _ in range(ASKED_TIMES):
        asked = perf_counter()
        signs = _SIGNS.validate_python(await api.call("vital_signs"))
        seconds.append(perf_counter() - asked)
        skews.append((datetime.now(UTC) - signs.now).total_seconds() - seconds[-1] / 2)
    assert signs is not None  # noqa: S101 - it is asked more than once
    return median(seconds), median(skews), signs


def _address(project: Project) -> ProjectCheck:
    found = f"{project.url}, {project.key_kind}"
    if not project.is_encrypted:
        return ProjectCheck("project", "warn", found, "The key travels unencrypted: use https.")
    return ProjectCheck("project", "ok", found)


def _migration(version: int) -> ProjectCheck:
    found = f"schema version {version}; this program's is {SCHEMA_VERSION}"
    match state_of_version(version):
        case "current":
            return ProjectCheck("migration", "ok", found)
        case "newer":
            return ProjectCheck("migration", "fail", found, "Update archon-workflows.")
        case _:
            return ProjectCheck("migration", "fail", found, MIGRATE)


def _round_trip(seconds: float) -> ProjectCheck:
    found = f"{seconds * 1000:.0f} ms a round trip"
    if seconds > SLOW_SECONDS:
        advice = "Each step takes about one. Run nearer to the project's region, or look at its load."
        return ProjectCheck("connection", "warn", found, advice)
    return ProjectCheck("connection", "ok", found)


def _clock(skew: float) -> ProjectCheck:
    found = f"{abs(skew):.1f} seconds between this machine and the project"
    if abs(skew) > CLOCK_TOLERANCE_SECONDS:
        advice = "Set this machine's clock. Executions go by the project's; durations that are shown are off."
        return ProjectCheck("clock", "warn", found, advice)
    return ProjectCheck("clock", "ok", found)


def _postgres(version: str) -> ProjectCheck:
    found = f"Postgres {version}"
    if int(version.split(".", 1)[0]) < OLDEST_POSTGRES:
        return ProjectCheck("database", "fail", found, f"Postgres {OLDEST_POSTGRES} is needed. {UPGRADE}")
    return ProjectCheck("database", "ok", found)


def _role(role: str) -> ProjectCheck:
    found = f"the key acts as {role}"
    if role != WRITER:
        return ProjectCheck("role", "warn", found, f"{WRITER} is expected. {WHERE_KEYS_ARE}")
    return ProjectCheck("role", "ok", found)


async def _functions(api: PostgrestApi, signs: ProjectSigns) -> ProjectCheck:
    calls = _harmless_calls()
    broken = [f"{name}: {why}" for name, given in calls.items() if (why := await _refusal(api, name, given))]
    broken += [f"{signature} is not open to the key" for signature in signs.uncallable_functions]
    broken += [f"{signature} is open to everyone" for signature in signs.exposed_functions]
    if broken:
        return ProjectCheck("functions", "fail", "; ".join(broken), MIGRATE)
    return ProjectCheck("functions", "ok", f"{len(calls)} called")


def _harmless_calls() -> dict[str, dict[str, Any]]:
    nothing = str(uuid4())
    return {
        "template_record": {"template_id": nothing},
        "execution_record": {"execution_id": nothing},
        "descendants": {"execution_id": nothing},
        "lock_executions": {"execution_ids": []},
        "count_tree": {"root_id": nothing},
        "queue": {"execution_id": nothing},
        "lock_template": {"template_id": nothing},
        "admit": {"template_id": nothing},
        "make_room": {"template_id": nothing, "may_be_refused": False},
        "prospect": {"execution_id": nothing},
        "report_worker": {"worker": {}, "lifetime_seconds": 0},
        "remove_worker": {"owner_id": nothing},
        "schedule_record": {"schedule_id": nothing},
        "save_schedule": {"schedule": {"workflow_template_id": nothing}},
        "delete_schedule": {"schedule_id": nothing},
        "due_schedules": {"max_count": 0},
        "fire_schedule": {"firing": {"schedule_id": nothing}},
        "answer": {"entries": []},
        "record": {"entries": []},
        "renew": {"held": [], "lease_seconds": 1},
        "release": {"held": []},
        "claim_for": {"taker": {"owner_id": nothing, "lease_seconds": 1}, "execution_id": nothing},
        "claim": {"owner_id": "archon-workflows doctor", "lease_seconds": 1, "max_count": 0},
        "delete_template": {"template_id": nothing},
        "request_control": {"execution_id": nothing, "request": {"id": nothing, "action": "pause"}},
        "create_execution": {
            "execution": {"id": nothing, "workflow_template_id": nothing, "workflow_version_id": nothing}
        },
        "save_template": {
            "version_id": nothing,
            "template_id": nothing,
            "document": {},
            "version_tag": "0.0.0",
            "change_type": "update",
        },
    }


async def _refusal(api: PostgrestApi, function: str, arguments: Mapping[str, Any]) -> str | None:
    """Return why a call failed; that it knows nothing of what is named or refuses it is as it should be."""
    try:
        await api.call(function, **arguments)
    except NotFound:
        return None
    except WorkflowError as error:
        return None if error.code == "value_refused" else error.message
    return None


def _row_level_security(signs: ProjectSigns) -> ProjectCheck:
    if signs.unsecured_tables:
        found = f"off for {_listed(signs.unsecured_tables)}: whoever has a key does anything to them"
        return ProjectCheck("row level security", "fail", found, MIGRATE)
    return ProjectCheck("row level security", "ok", "on for all tables")


def _readers(signs: ProjectSigns) -> ProjectCheck:
    match signs.readers:
        case "everyone":
            return ProjectCheck("readers", "ok", f"public: {PUBLIC}")
        case "creators":
            return ProjectCheck("readers", "ok", f"private: {PRIVATE}")
        case "nobody":
            return ProjectCheck(
                "readers", "warn", "nobody but service_role: the policies are missing", MIGRATE
            )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _failed(check: str, error: WorkflowError) -> ProjectCheck:
    return ProjectCheck(check, "fail", error.message, error.suggestion)
