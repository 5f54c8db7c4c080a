"""Who can do what through the API: asked of a running project, role by role, and written as tables."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
from samples import NOON, Owner, claimed, new, saved, step
from supabase_projects import ANON_KEY, PUBLISHABLE_KEY, SECRET_KEY, SERVICE_KEY, Project, headers_of, token

from archon_workflows.model.records import WorkerReport
from archon_workflows.model.schedules import NewSchedule
from archon_workflows.storage.repository import Repository
from archon_workflows.storage.supabase import SupabaseRepository

TABLES = ("templates", "template_versions", "executions", "step_executions", "workers", "schedules")
MODES = ("public", "private")

ANNA = UUID("aaaaaaaa-0000-4000-8000-000000000001")
BERT = UUID("bbbbbbbb-0000-4000-8000-000000000002")

CALLERS = {
    "anon": headers_of(ANON_KEY),
    "authenticated": headers_of(ANON_KEY, token("authenticated", sub=str(ANNA))),
    "service_role": headers_of(SERVICE_KEY),
}
"""The roles by their legacy keys; the signed-in user is Anna."""

NEWER_CALLERS = {
    "anon": headers_of(PUBLISHABLE_KEY),
    "authenticated": headers_of(PUBLISHABLE_KEY, token("authenticated", sub=str(ANNA))),
    "service_role": headers_of(SECRET_KEY),
}
"""The same roles by the keys of newer projects."""

FORBIDDEN = "42501"

PUBLIC_STARTED_BY_HER = "her runs of public templates"
PUBLIC_STARTED_BY_OTHERS = "others' runs of public templates"
OWN = "runs of her private templates"
OTHERS = "runs of others' private templates"
RUNS = (PUBLIC_STARTED_BY_HER, PUBLIC_STARTED_BY_OTHERS, OWN, OTHERS)
TEMPLATES = ("public", "her own", "others' private")
WORKERS = ("every worker",)
SCHEDULES = ("her own", "others'")
ROWS = {
    "templates": TEMPLATES,
    "template_versions": TEMPLATES,
    "executions": RUNS,
    "step_executions": RUNS,
    "workers": WORKERS,
    "schedules": SCHEDULES,
}


@dataclass(frozen=True)
class Seeds:
    """What is in the project: what is to be said of each row of each table, by the id of the row."""

    labels: dict[str, dict[str, str]]


async def seed(project: Project) -> Seeds:
    """Fill a project with rows of every kind that differ in who may read them."""
    repository = await SupabaseRepository.connect(project.url, SERVICE_KEY)
    try:
        return await _seed(repository)
    finally:
        await repository.aclose()


async def _seed(repository: Repository) -> Seeds:
    labels: dict[str, dict[str, str]] = {table: {} for table in TABLES}
    saves: tuple[tuple[str, bool, UUID], ...] = (
        ("public", True, BERT),
        ("her own", False, ANNA),
        ("others' private", False, BERT),
    )
    runs: dict[str, tuple[tuple[str, UUID], ...]] = {
        "public": ((PUBLIC_STARTED_BY_HER, ANNA), (PUBLIC_STARTED_BY_OTHERS, BERT)),
        "her own": ((OWN, BERT),),
        "others' private": ((OTHERS, ANNA),),
    }
    for label, is_public, creator in saves:
        name = f"w_{uuid4().hex[:8]}"
        template = await saved(repository, name, is_public=is_public, created_by=str(creator))
        labels["templates"][str(template.id)] = labels["template_versions"][str(template.version_id)] = label
        for run, starter in runs[label]:
            one = new(template, triggered_by=str(starter))
            await repository.create_execution(one)
            owner = Owner(repository, await claimed(repository, one.id))
            await owner.write("running", steps=[step("only")])
            labels["executions"][str(one.id)] = labels["step_executions"][str(one.id)] = run
    worker = WorkerReport(
        owner_id="me", kind="worker", offered_tools=(), has_listed_all=True, max_executions=1
    )
    await repository.report_worker(worker, lifetime_seconds=3600)
    labels["workers"]["me"] = WORKERS[0]
    for label, creator in zip(SCHEDULES, (ANNA, BERT), strict=True):
        record = await repository.save_schedule(
            NewSchedule(
                name="nightly",
                workflow_template_id=UUID(next(iter(labels["templates"]))),
                cron="0 3 * * *",
                time_zone="UTC",
                on_missed="skip",
                on_overlap="skip",
                created_by=str(creator),
                caller=str(creator),
                next_due_at=NOON,
            )
        )
        labels["schedules"][str(record.id)] = label
    return Seeds(labels)


def readable(project: Project, seeds: Seeds, table: str, headers: dict[str, str]) -> set[str]:
    """Return the labels of the rows that a caller reads; of a table that is refused none."""
    key = {"step_executions": "workflow_execution_id", "workers": "owner_id"}.get(table, "id")
    url = project.rest(f"archon_workflow_{table}")
    answer = project.http.get(url, params={"select": key}, headers=headers)
    if _code(answer) == FORBIDDEN:
        return set()
    assert answer.status_code == 200, answer.text
    return {seeds.labels[table][row[key]] for row in answer.json()}


def refusals(
    project: Project, functions: dict[str, list[str]], headers: dict[str, str]
) -> dict[str, str | None]:
    """Try every write and every function; return the code that each was answered with."""
    somewhere, nowhere = {"id": str(uuid4())}, {"id": f"eq.{uuid4()}"}

    def send(method: str, path: str, **request: Any) -> str | None:
        return _code(project.http.request(method, project.rest(path), headers=headers, **request))

    requests: dict[str, dict[str, Any]] = {
        "insert": {"method": "POST", "json": somewhere},
        "update": {"method": "PATCH", "json": somewhere, "params": nowhere},
        "delete": {"method": "DELETE", "params": nowhere},
    }
    tried = {
        f"{verb} {table}": send(path=f"archon_workflow_{table}", **request)
        for table in TABLES
        for verb, request in requests.items()
    }
    called = {
        f"call {function}": send("POST", f"rpc/{function}", json=dict.fromkeys(arguments))
        for function, arguments in functions.items()
    }
    return tried | called


def reading_table(observed: dict[tuple[str, str, str], set[str]]) -> list[str]:
    """Write who reads what as a table in Markdown; the keys are mode, role and table."""
    columns = [(mode, role) for mode in MODES for role in CALLERS]
    lines = [_line(["reads", *(f"{mode}: `{role}`" for mode, role in columns)]), _rule(len(columns) + 1)]
    for table in TABLES:
        cells = [_words(observed[mode, role, table], ROWS[table]) for mode, role in columns]
        lines.append(_line([f"`archon_workflow_{table}`", *cells]))
    return lines


def writing_table(observed: dict[str, dict[str, str | None]]) -> list[str]:
    """Write who may write and call what as a table in Markdown; the keys are role and what was tried."""
    lines = [_line(["may", *(f"`{role}`" for role in CALLERS)]), _rule(len(CALLERS) + 1)]
    for tried in observed["anon"]:
        verb, name = tried.split(" ", 1)
        shown = name if verb == "call" else f"archon_workflow_{name}"
        cells = ["no" if observed[role][tried] == FORBIDDEN else "yes" for role in CALLERS]
        lines.append(_line([f"{verb} `{shown}`", *cells]))
    return lines


def _words(seen: set[str], everything: Iterable[str]) -> str:
    if not seen:
        return "nothing"
    return "all" if seen == set(everything) else ", ".join(label for label in everything if label in seen)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns


def _code(answer: httpx.Response) -> str | None:
    if answer.is_success:
        return None
    letter: dict[str, Any] = answer.json()
    return str(letter["code"])
