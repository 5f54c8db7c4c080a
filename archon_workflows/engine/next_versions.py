"""The next version of a template that exists: what changes, under which tag, and what that breaks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast
from uuid import UUID, uuid4

from archon_workflows.engine.lookups import TemplateShelf
from archon_workflows.engine.review import Reviewed, TemplateReview, accepted
from archon_workflows.engine.verbs import SavedTemplate
from archon_workflows.errors import Conflict, NotFound
from archon_workflows.model.json_values import normalise
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.parsing import parse_template
from archon_workflows.model.records import TemplateRecord, TemplateSave
from archon_workflows.model.template import ChangeType, Template
from archon_workflows.model.versions import classify_change, next_version_tag
from archon_workflows.storage.repository import Repository

SAVES_TRIED = 8
"""How often a change is made anew when others saved the template meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What someone wants to do to a template.

    Attributes:
        edit: the next version's document, from the newest; a ``version`` other than the newest one's is
            the explicit tag.
        change_type: how the tag is bumped otherwise.
        expected_version_number: the newest version that the caller knows of.
        is_reviewed: whether the document must pass the review.
    """

    edit: Callable[[TemplateRecord], JsonValue]
    change_type: ChangeType = "update"
    change_summary: str | None = None
    created_by: str | None = None
    expected_version_number: int | None = None
    is_reviewed: bool = True


class NextVersions:
    """Saves changes of templates; of two at once the later one is made anew on what the first one saved."""

    def __init__(self, repository: Repository, shelf: TemplateShelf, review: TemplateReview) -> None:
        self._repository = repository
        self._shelf = shelf
        self._review = review

    async def save(
        self, change: Change, *, name: str | None = None, template_id: UUID | None = None
    ) -> SavedTemplate:
        """Store the template's next version.

        Raises:
            NotFound: there is no such template.
            InvalidTemplate: with all findings; nothing was stored.
            Conflict: ``stale_version``, ``version_taken``, ``name_taken`` or ``template_linked``.
        """
        tries_left = 1 if change.expected_version_number is not None else SAVES_TRIED
        while True:
            current = await self._repository.read_template(name=name, template_id=template_id)
            tries_left -= 1
            try:
                return await self._save_over(current, change)
            except Conflict as error:
                if error.code != "stale_version" or not tries_left:
                    raise

    async def _save_over(self, current: TemplateRecord, change: Change) -> SavedTemplate:
        _refuse_stale(current, change.expected_version_number)
        document = change.edit(current)
        template, reviewed = await self._passed(document, current, change)
        if template.name != current.name:
            await self._refuse_renaming(current.name, template.name)
        tag = await self._tag(current, template.version, change.change_type)
        breaking = breaking_changes(current.document, document)
        saved = await self._repository.save_template(
            TemplateSave(
                version_id=uuid4(),
                template_id=current.id,
                document=stored_document(document, template, tag),
                version_tag=tag,
                change_type=change.change_type,
                change_summary=change.change_summary,
                breaking_changes=bool(breaking),
                created_by=change.created_by,
                expected_version_number=current.version_number,
                tool_fingerprints=reviewed.tool_fingerprints,
            )
        )
        return SavedTemplate(template=saved, breaking_changes=breaking, findings=reviewed.findings)

    async def _passed(
        self, document: JsonValue, current: TemplateRecord, change: Change
    ) -> tuple[Template, Reviewed]:
        if change.is_reviewed:
            return await self._review.passed(document, former_name=current.name)
        parsed = parse_template(document)
        template = accepted(parsed.template, parsed.findings)
        remembered = await self._shelf.fingerprints(current.name)
        return template, Reviewed(template=template, findings=parsed.findings, tool_fingerprints=remembered)

    async def _refuse_renaming(self, name: str, new_name: str) -> None:
        linking = await self._shelf.linking_to(name)
        if linking:
            raise linked(name, f"be renamed to {new_name!r}", linking, "Clone it under the new name")

    async def _tag(self, current: TemplateRecord, wanted: str, change_type: ChangeType) -> str:
        if wanted == current.version:
            return await self._bumped(current, change_type)
        if not await self._has_version(current.id, wanted):
            return wanted
        free = await self._bumped(current, change_type)
        raise Conflict(
            f"The template {current.name!r} has had a version {wanted!r} before.",
            code="version_taken",
            path="/version",
            suggestion=f"Leave the version out, or give a new one such as {free!r}.",
        )

    async def _bumped(self, current: TemplateRecord, change_type: ChangeType) -> str:
        tag = current.version
        while await self._has_version(current.id, tag):
            tag = next_version_tag(tag, change_type)
        return tag

    async def _has_version(self, template_id: UUID, tag: str) -> bool:
        try:
            await self._repository.read_version(template_id=template_id, version_tag=tag)
        except NotFound:
            return False
        return True


def breaking_changes(old: JsonValue, new: JsonValue) -> tuple[str, ...]:
    """Return one sentence for each way in which the new document breaks those who run the old one."""
    before, after = parse_template(old).template, parse_template(new).template
    return tuple(classify_change(before, after)) if before is not None and after is not None else ()


def stored_document(document: JsonValue, template: Template, tag: str) -> dict[str, JsonValue]:
    """Return what is kept of an accepted document: normalised, with its title and its version's tag."""
    clean = cast("dict[str, JsonValue]", normalise(document, "refuse").value)
    return {**clean, "title": template.title, "version": tag}


def linked(name: str, what: str, linking: list[str], advice: str) -> Conflict:
    """Return the refusal to do ``what`` to a template while others link to it."""
    shown = ", ".join(repr(one) for one in linking[:12])
    more = f" and {len(linking) - 12} more" if len(linking) > 12 else ""  # noqa: PLR2004 - a readable list
    return Conflict(
        f"The template {name!r} cannot {what} while others link to it: {shown}{more}.",
        code="template_linked",
        suggestion=f"{advice}, or save those without the link first.",
        details={"linked_by": linking},
    )


def _refuse_stale(current: TemplateRecord, expected: int | None) -> None:
    if expected is not None and expected != current.version_number:
        raise Conflict(
            f"Version {expected} was expected to be the newest of {current.name!r}, "
            f"but it is {current.version_number}.",
            code="stale_version",
            path="/expected_version_number",
            suggestion="Read the template again, apply the change to it, and save with its version number.",
        )
