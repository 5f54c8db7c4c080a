"""Templates, versions and findings as a model reads them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from archon_workflows.engine.verbs import SavedTemplate
from archon_workflows.model.findings import Finding, has_errors
from archon_workflows.model.json_values import truncate_oversized
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.records import Page, TemplateRecord, VersionRecord
from archon_workflows.model.suggestions import Suggestion
from archon_workflows.server.presentation.answer import (
    Answer,
    Next,
    NextCall,
    PageFacts,
    call_lines,
    compact,
    moment,
    page_line,
    short,
    without_empty,
)
from archon_workflows.server.presentation.letters import FINDINGS_SHOWN, finding_line

TEXT_LIMIT = 20_000
CHANGES_SHOWN = 100
CHANGE_LIMIT_BYTES = 4_000


class TemplateFacts(TypedDict):
    """One template, short."""

    name: str
    title: str
    status: str
    version: str
    version_number: int
    template_id: str
    category: NotRequired[str]
    tags: NotRequired[list[str]]
    description: NotRequired[str]


class VersionFacts(TypedDict):
    """One version, short."""

    version_number: int
    version: str
    change_type: str
    created_at: str
    change_summary: NotRequired[str]
    breaking_changes: NotRequired[bool]
    created_by: NotRequired[str]


class TemplateAnswer(TemplateFacts):
    """A template; `template` is the whole document (get), the rest is of a save."""

    template: NotRequired[dict[str, Any]]
    breaking_changes: NotRequired[list[str]]
    findings: NotRequired[list[dict[str, Any]]]
    findings_total: NotRequired[int]
    deleted: NotRequired[bool]
    next: NotRequired[Next]


class TemplateList(TypedDict):
    """A page of templates by name (list)."""

    templates: list[TemplateFacts]
    page: PageFacts


class ValidationAnswer(TypedDict):
    """Everything that is right or wrong with a document (validate)."""

    valid: bool
    findings: Annotated[
        list[dict[str, Any]], Field(description="path, rule, severity, message, suggestion, ...")
    ]
    page: PageFacts


class VersionList(TypedDict):
    """A page of versions, newest first (list_versions)."""

    versions: list[VersionFacts]
    page: PageFacts


class VersionAnswer(VersionFacts):
    """One version with its whole document (get_version)."""

    template: dict[str, Any]


class DifferenceAnswer(TypedDict):
    """What differs between two versions (diff_versions)."""

    changes: Annotated[list[dict[str, Any]], Field(description="op, path (JSON pointer), old, new")]
    changes_total: int
    breaking_changes: list[str]


class SuggestionFacts(TypedDict):
    """A template that may fit a task."""

    name: str
    score: float
    why: str


class SuggestionAnswer(TypedDict):
    """Templates that may fit the task, best first (suggest)."""

    suggestions: list[SuggestionFacts]


def present_saved(saved: SavedTemplate, what: str) -> Answer:
    """Return a template after a save, with the warnings that did not prevent it."""
    template, findings = saved.template, [one.as_json() for one in saved.findings]
    calls = _run_call(template)
    content = _facts(template, described=False) | without_empty(
        {
            "breaking_changes": list(saved.breaking_changes),
            "findings": findings[:FINDINGS_SHOWN],
            "findings_total": len(findings) or None,
            "next": calls,
        }
    )
    state = f"version_number {template.version_number}, {template.status}"
    lines = [
        f"{what} {template.name} {template.version} ({state})",
        *(f"breaking: {change}" for change in saved.breaking_changes),
        *(finding_line(one) for one in findings[:FINDINGS_SHOWN]),
        *call_lines(calls),
    ]
    return Answer(lines, content)


def present_template(template: TemplateRecord) -> Answer:
    """Return a template with its whole document."""
    document = dict(template.document)
    lines = [_line(template), compact(document, TEXT_LIMIT)]
    return Answer(lines, _facts(template, described=False) | {"template": document})


def present_deleted(template: TemplateRecord) -> Answer:
    """Return which template is gone."""
    content = _facts(template, described=False) | {"deleted": True}
    return Answer([f"deleted {template.name} with all its versions"], content)


def present_templates(page: Page[TemplateRecord], facts: PageFacts) -> Answer:
    """Return a list of templates, one line each."""
    lines = [_line(one) for one in page.records] or ["No template fits."]
    content = {"templates": [_facts(one, described=True) for one in page.records], "page": facts}
    return Answer([*lines, *page_line(facts, len(page.records))], content)


def present_findings(findings: Sequence[Finding], page: int, page_size: int) -> Answer:
    """Return a page of what validation found."""
    facts = PageFacts(page=page, page_size=page_size, total=len(findings))
    shown = [one.as_json() for one in findings[(page - 1) * page_size : page * page_size]]
    valid = not has_errors(findings)
    verdict = "valid" if valid else "not valid"
    lines = [f"{verdict}, {len(findings)} findings" if findings else verdict]
    content = {"valid": valid, "findings": shown, "page": facts}
    return Answer([*lines, *(finding_line(one) for one in shown), *page_line(facts, len(shown))], content)


def present_versions(page: Page[VersionRecord], facts: PageFacts) -> Answer:
    """Return a list of versions, one line each."""
    lines = [_version_line(one) for one in page.records]
    content = {"versions": [_version_facts(one) for one in page.records], "page": facts}
    return Answer([*lines, *page_line(facts, len(page.records))], content)


def present_version(version: VersionRecord) -> Answer:
    """Return a version with its whole document."""
    document = dict(version.template_snapshot)
    content = _version_facts(version) | {"template": document}
    return Answer([_version_line(version), compact(document, TEXT_LIMIT)], content)


def present_difference(changes: Sequence[Mapping[str, JsonValue]], breaking: Sequence[str]) -> Answer:
    """Return what differs between two versions; long values are cut."""
    shown = [
        {name: truncate_oversized(value, CHANGE_LIMIT_BYTES)[0] for name, value in change.items()}
        for change in changes[:CHANGES_SHOWN]
    ]
    content = {"changes": shown, "changes_total": len(changes), "breaking_changes": list(breaking)}
    lines = [
        *(f"breaking: {change}" for change in breaking),
        *(_change_line(change) for change in changes[:CHANGES_SHOWN]),
    ]
    more = [f"... {len(changes) - CHANGES_SHOWN} more"] if len(changes) > CHANGES_SHOWN else []
    return Answer([*lines, *more] or ["The versions say the same."], content)


def present_suggestions(suggestions: Sequence[Suggestion]) -> Answer:
    """Return the templates that may fit a task."""
    lines = [f"{one.name} (score {one.score:.2f}): {one.why}" for one in suggestions]
    records = [{"name": one.name, "score": one.score, "why": one.why} for one in suggestions]
    return Answer(lines or ["No template shares a word with the task."], {"suggestions": records})


def _facts(template: TemplateRecord, *, described: bool) -> dict[str, Any]:
    return {
        "name": template.name,
        "title": template.title,
        "status": template.status,
        "version": template.version,
        "version_number": template.version_number,
        "template_id": str(template.id),
        **without_empty(
            {
                "category": template.category,
                "tags": list(template.tags),
                "description": short(template.description or "") if described else None,
            }
        ),
    }


def _line(template: TemplateRecord) -> str:
    about = short(template.description or template.title, 120)
    return f"{template.name} {template.version} ({template.status}): {about}"


def _version_facts(version: VersionRecord) -> dict[str, Any]:
    return {
        "version_number": version.version_number,
        "version": version.version_tag,
        "change_type": version.change_type,
        "created_at": moment(version.created_at),
        **without_empty(
            {
                "change_summary": version.change_summary,
                "breaking_changes": version.breaking_changes or None,
                "created_by": version.created_by,
            }
        ),
    }


def _version_line(version: VersionRecord) -> str:
    breaking = ", breaking" if version.breaking_changes else ""
    summary = f": {short(version.change_summary)}" if version.change_summary else ""
    at = moment(version.created_at)
    return f"{version.version_number} {version.version_tag} ({version.change_type}{breaking}) {at}{summary}"


def _change_line(change: Mapping[str, JsonValue]) -> str:
    values = [compact(change[name], 100) for name in ("old", "new") if name in change]
    return f"{change['op']} {change['path']}: {' -> '.join(values)}"


def _run_call(template: TemplateRecord) -> list[NextCall]:
    arguments: dict[str, Any] = {"workflow": template.name, "mode": "dry_run"}
    if template.status == "archived":
        return []
    return [NextCall(tool="run_workflow", arguments=arguments, why="try it without calling a tool")]
