"""Compiled versions, kept because every execution of a version shares its plan."""

from collections import OrderedDict
from dataclasses import replace
from uuid import UUID

from archon_workflows.errors import InvalidTemplate
from archon_workflows.interpreter import Plan, compile_plan
from archon_workflows.model.parsing import parse_template
from archon_workflows.model.records import VersionRecord
from archon_workflows.storage.repository import Repository

KEPT = 256


class Plans:
    """Reads and compiles versions on demand; a version never changes, so nothing is ever stale."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._plans: OrderedDict[UUID, Plan] = OrderedDict()

    async def of_version(self, version_id: UUID) -> Plan:
        """Return the plan of a stored version.

        Raises:
            NotFound: there is no such version.
            InvalidTemplate: the snapshot does not parse: it was changed by hand.
        """
        plan = self._plans.get(version_id)
        if plan is None:
            plan = self.compile(await self._repository.read_version(version_id=version_id))
        self._plans.move_to_end(version_id)
        return plan

    def compile(self, version: VersionRecord) -> Plan:
        """Return the plan of a version that was just read."""
        if version.id not in self._plans:
            self._plans[version.id] = _compile(version)
            if len(self._plans) > KEPT:
                self._plans.popitem(last=False)
        return self._plans[version.id]


def _compile(version: VersionRecord) -> Plan:
    parsed = parse_template(version.template_snapshot)
    if parsed.template is None:
        raise InvalidTemplate(
            f"The stored version {version.version_number} does not parse: it was changed by other means.",
            suggestion="Save the template again, or restore an earlier version.",
            details={"findings": [finding.as_json() for finding in parsed.findings]},
        )
    return replace(compile_plan(parsed.template), tool_fingerprints=version.tool_fingerprints)
