"""The verbs of templates: save, read, compare, retire and suggest them.

Everything that is wrong with a document is said before anything is stored. Versions are never changed;
what callers do with a template is to add one.
"""

from typing import cast
from uuid import UUID, uuid4

from archon_workflows.engine.lookups import TemplateShelf
from archon_workflows.engine.next_versions import (
    Change,
    NextVersions,
    breaking_changes,
    linked,
    stored_document,
)
from archon_workflows.engine.review import TemplateReview
from archon_workflows.engine.tool_policy import ToolPolicy
from archon_workflows.engine.verbs import SavedTemplate, VersionDiff
from archon_workflows.errors import Conflict, InvalidRequest, did_you_mean
from archon_workflows.gateway.port import Gateway
from archon_workflows.model.findings import Finding
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.parsing import parse_template
from archon_workflows.model.records import (
    Page,
    TemplateFilter,
    TemplateRecord,
    TemplateSave,
    VersionRecord,
)
from archon_workflows.model.suggestions import Suggestion, rank
from archon_workflows.model.template import CHANGE_TYPES, ChangeType
from archon_workflows.model.versions import diff_documents
from archon_workflows.storage.repository import Repository

FIRST_VERSION = "1.0.0"


class TemplateLibrary:
    """What callers can do with templates; where a verb takes ``name`` and ``template_id``, one is enough."""

    def __init__(self, repository: Repository, gateway: Gateway, policy: ToolPolicy | None = None) -> None:
        self._repository = repository
        self._shelf = TemplateShelf(repository)
        self._review = TemplateReview(self._shelf, gateway, policy or ToolPolicy())
        self._next_versions = NextVersions(repository, self._shelf, self._review)

    # -- saving ----------------------------------------------------------------------------------

    async def create(
        self, document: JsonValue, *, created_by: str | None = None, change_summary: str | None = None
    ) -> SavedTemplate:
        """Store a new template; without an explicit ``version`` it is 1.0.0.

        Raises:
            InvalidTemplate: with every finding in ``details["findings"]``; nothing was stored.
            Conflict: ``name_taken``.
        """
        template, reviewed = await self._review.passed(document)
        saved = await self._repository.save_template(
            TemplateSave(
                version_id=uuid4(),
                template_id=None,
                document=stored_document(document, template, template.version),
                version_tag=template.version,
                change_type="create",
                change_summary=change_summary,
                created_by=created_by or template.created_by,
                tool_fingerprints=reviewed.tool_fingerprints,
            )
        )
        return SavedTemplate(template=saved, breaking_changes=(), findings=reviewed.findings)

    async def update(
        self,
        document: JsonValue,
        *,
        name: str | None = None,
        template_id: UUID | None = None,
        change_type: ChangeType = "update",
        change_summary: str | None = None,
        created_by: str | None = None,
        expected_version_number: int | None = None,
    ) -> SavedTemplate:
        """Store the next version of a template, also when nothing differs.

        Args:
            document: the fields to change, each as a whole; fields that are left out keep their value, those
                that are ``null`` get their default back. A ``version`` other than the newest one's becomes
                the tag.
            name: which template, if not the one that the document names; another name in the document
                renames it.
            template_id: likewise.
            change_type: how the tag is bumped when the document gives no other.
            change_summary: what changed, for the list of versions.
            created_by: who changed it.
            expected_version_number: the newest version that the caller knows of.

        Raises:
            NotFound: there is no such template.
            InvalidTemplate: with every finding in ``details["findings"]``; nothing was stored.
            Conflict: ``stale_version``; ``version_taken``: it has had a version of that tag; ``name_taken``;
                ``template_linked``: it would get another name although others link to it.
            InvalidRequest: nothing says which template is meant, or there is no such change type.
        """
        _check_change_type(change_type)
        if name is None and template_id is None:
            name = _name_in(document)
        change = Change(
            edit=lambda current: _merged(current, document),
            change_type=change_type,
            change_summary=change_summary,
            created_by=created_by,
            expected_version_number=expected_version_number,
        )
        return await self._next_versions.save(change, name=name, template_id=template_id)

    async def restore_version(
        self,
        *,
        name: str | None = None,
        template_id: UUID | None = None,
        version: str | int,
        created_by: str | None = None,
    ) -> SavedTemplate:
        """Store an old version's document as the next version, under the template's present name.

        Raises:
            NotFound: there is no such template or version.
            InvalidTemplate: the old document needs something that is not there any more.
        """
        old = await self.get_version(name=name, template_id=template_id, version=version)
        change = Change(
            edit=lambda current: {
                **old.template_snapshot,
                "name": current.name,
                "version": current.version,
            },
            change_summary=f"Restored version {old.version_number} ({old.version_tag})",
            created_by=created_by,
        )
        return await self._next_versions.save(change, template_id=old.workflow_template_id)

    async def archive(
        self, *, name: str | None = None, template_id: UUID | None = None, created_by: str | None = None
    ) -> SavedTemplate:
        """Store a version with status ``archived``: the template never runs again, its history stays.

        It is not reviewed, since nothing of it will run. One that is archived already stays as it is.
        """
        current = await self.get(name=name, template_id=template_id)
        if current.status == "archived":
            return SavedTemplate(template=current, breaking_changes=(), findings=())
        change = Change(
            edit=lambda newest: {**newest.document, "status": "archived"},
            change_summary="Archived",
            created_by=created_by,
            is_reviewed=False,
        )
        return await self._next_versions.save(change, template_id=current.id)

    async def clone(
        self,
        *,
        name: str | None = None,
        template_id: UUID | None = None,
        new_name: str,
        created_by: str | None = None,
    ) -> SavedTemplate:
        """Store a copy of a template's newest version as version 1.0.0 of a new template.

        The copy of an archived template is a draft.

        Raises:
            NotFound: there is no such template.
            InvalidTemplate: the new name is none, or the template cannot be saved as things are.
            Conflict: ``name_taken``.
        """
        source = await self.get(name=name, template_id=template_id)
        copy = {**source.document, "name": new_name, "version": FIRST_VERSION}
        if _has_default_title(source):
            del copy["title"]
        if source.status == "archived":
            copy["status"] = "draft"
        if created_by is not None:
            copy["created_by"] = created_by
        summary = f"Cloned from {source.name} {source.version}"
        return await self.create(copy, created_by=created_by, change_summary=summary)

    async def delete(self, *, name: str | None = None, template_id: UUID | None = None) -> TemplateRecord:
        """Remove a template that never ran, with all its versions; return what it was.

        Raises:
            NotFound: there is no such template.
            Conflict: ``template_in_use``: it has executions; ``template_linked``: others link to it.
        """
        template = await self.get(name=name, template_id=template_id)
        linking = await self._shelf.linking_to(template.name)
        if linking:
            raise linked(template.name, "be deleted", linking, "Keep it")
        try:
            await self._repository.delete_template(template.id)
        except Conflict as error:
            if error.code != "template_in_use":
                raise
            raise Conflict(
                f"The template {template.name!r} has executions, so it cannot be deleted.",
                code=error.code,
                suggestion="Archive it instead (archive): it never runs again, and its history stays.",
            ) from error
        return template

    # -- reading ---------------------------------------------------------------------------------

    async def get(self, *, name: str | None = None, template_id: UUID | None = None) -> TemplateRecord:
        """Return a template with its newest document.

        Raises:
            NotFound: there is none; the suggestion has the nearest name.
            InvalidRequest: neither name nor id was given.
        """
        if name is None and template_id is None:
            raise _unnamed()
        return await self._repository.read_template(name=name, template_id=template_id)

    async def list(self, which: TemplateFilter, *, offset: int, limit: int) -> Page[TemplateRecord]:
        """Return one page of templates by name."""
        return await self._repository.list_templates(which, offset=offset, limit=limit)

    async def validate(self, document: JsonValue) -> tuple[Finding, ...]:
        """Return everything that is wrong or doubtful in a document; nothing is stored."""
        return (await self._review.of(document)).findings

    async def list_versions(
        self, *, name: str | None = None, template_id: UUID | None = None, offset: int, limit: int
    ) -> Page[VersionRecord]:
        """Return one page of a template's versions, newest first.

        Raises:
            NotFound: there is no such template.
        """
        template = await self.get(name=name, template_id=template_id)
        return await self._repository.list_versions(template.id, offset=offset, limit=limit)

    async def get_version(
        self, *, name: str | None = None, template_id: UUID | None = None, version: str | int
    ) -> VersionRecord:
        """Return one version by its number, or by its tag.

        Raises:
            NotFound: there is no such template or version.
        """
        template = await self.get(name=name, template_id=template_id)
        return await self._version(template.id, version)

    async def diff_versions(
        self,
        *,
        name: str | None = None,
        template_id: UUID | None = None,
        old: str | int,
        new: str | int,
    ) -> VersionDiff:
        """Return what differs between two versions, and what of it breaks those who run the older one.

        Raises:
            NotFound: there is no such template or version.
        """
        template = await self.get(name=name, template_id=template_id)
        before, after = await self._version(template.id, old), await self._version(template.id, new)
        return VersionDiff(
            old=before,
            new=after,
            changes=tuple(diff_documents(before.template_snapshot, after.template_snapshot)),
            breaking_changes=breaking_changes(before.template_snapshot, after.template_snapshot),
        )

    async def suggest(self, task: str, *, limit: int = 5) -> tuple[Suggestion, ...]:
        """Return the active templates that share words with the text of a task, the best first."""
        active = TemplateFilter(statuses=("active",))
        candidates = [template async for _, template in self._shelf.every(active)]
        return tuple(rank(task, candidates)[:limit])

    async def _version(self, template_id: UUID, version: str | int) -> VersionRecord:
        if isinstance(version, int):
            return await self._repository.read_version(template_id=template_id, version_number=version)
        return await self._repository.read_version(template_id=template_id, version_tag=version)


def _merged(current: TemplateRecord, given: JsonValue) -> JsonValue:
    if not isinstance(given, dict):
        return given  # the review says that this is no template
    fields = cast("dict[str, JsonValue]", given)
    merged = {**current.document, **fields}
    if fields.get("version") is None:
        merged["version"] = current.version
    return {name: value for name, value in merged.items() if value is not None}


def _has_default_title(record: TemplateRecord) -> bool:
    untitled = {name: value for name, value in record.document.items() if name != "title"}
    template = parse_template(untitled).template
    return template is not None and template.title == record.title


def _name_in(document: JsonValue) -> str:
    name = cast("dict[str, JsonValue]", document).get("name") if isinstance(document, dict) else None
    if not isinstance(name, str):
        raise _unnamed()
    return name


def _unnamed() -> InvalidRequest:
    return InvalidRequest(
        "Nothing says which template is meant.",
        code="template_not_named",
        path="/name",
        suggestion="Give its name, or its template_id.",
    )


def _check_change_type(change_type: str) -> None:
    known = [one for one in CHANGE_TYPES if one != "create"]
    if change_type not in known:
        raise InvalidRequest(
            f"{change_type!r} is no change type of an update.",
            code="unknown_change_type",
            path="/change_type",
            suggestion=did_you_mean(change_type, known, noun="change type"),
        )
