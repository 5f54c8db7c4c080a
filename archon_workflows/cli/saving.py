"""Saving a template file: a new version only when the file says something else than what is stored."""

from dataclasses import dataclass
from typing import Any

from semver import Version

from archon_workflows.cli.printable import as_json
from archon_workflows.engine.templates import TemplateLibrary
from archon_workflows.engine.verbs import SavedTemplate
from archon_workflows.errors import NotFound
from archon_workflows.model.json_values import canonical_json
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.parsing import parse_template
from archon_workflows.model.records import TemplateRecord
from archon_workflows.model.template import ChangeType, Template


@dataclass(frozen=True, slots=True)
class FiledTemplate:
    """A template that is stored as its file says; ``saved`` is ``None`` when it already was."""

    template: TemplateRecord
    saved: SavedTemplate | None


async def save_file(
    templates: TemplateLibrary,
    document: JsonValue,
    *,
    change_type: ChangeType = "update",
    change_summary: str | None = None,
) -> FiledTemplate:
    """Store the document under its name, as the whole template: what it does not say gets its default.

    A ``version`` that is no newer than the stored one is taken for a line that nobody keeps up to date, and
    bumped as if it were not there.

    Raises:
        InvalidTemplate: with all findings; nothing was stored.
    """
    template = parse_template(document).template
    if template is None:
        return _filed(await templates.create(document))  # refused there, with every finding
    try:
        current = await templates.get(name=template.name)
    except NotFound:
        return _filed(await templates.create(document, change_summary=change_summary))
    said = _said(document, current)
    if _differs({"title": template.title, **said}, current):
        saved = await templates.update(
            {**dict.fromkeys(("title", *_DEFAULTS)), **said},
            name=template.name,
            change_type=change_type,
            change_summary=change_summary,
        )
        return _filed(saved)
    return FiledTemplate(current, None)


def _filed(saved: SavedTemplate) -> FiledTemplate:
    return FiledTemplate(saved.template, saved)


def _said(document: dict[str, Any], current: TemplateRecord) -> dict[str, Any]:
    """Return the document without a version that would be a step back, or none."""
    version = document.get("version")
    if version is None or Version.parse(version) > Version.parse(current.version):
        return document
    return {name: value for name, value in document.items() if name != "version"}


def _differs(said: dict[str, Any], current: TemplateRecord) -> bool:
    filed, stored = {**_DEFAULTS, **said}, {**_DEFAULTS, **current.document}
    return any(canonical_json(value) != canonical_json(stored.get(name)) for name, value in filed.items())


_DEFAULTS: dict[str, Any] = as_json(
    {
        name: field.get_default(call_default_factory=True)
        for name, field in Template.model_fields.items()
        if not field.is_required() and name not in {"version", "created_by"}
    }
)
"""What a file that does not have these fields means; version and creator it leaves as they are."""
