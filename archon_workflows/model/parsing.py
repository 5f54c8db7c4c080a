"""The door for template documents: normalise, check the shape, and say everything that is wrong with it.

Parsing is lenient in one respect: what is wrong is repaired or left out in a copy, so that a review can
still look at the rest. What a whole template must satisfy beyond its shape is reviewed elsewhere.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Final, cast

from pydantic import ValidationError

from archon_workflows.model.findings import Finding, has_errors
from archon_workflows.model.json_values import InvalidJson, normalise, shown
from archon_workflows.model.locations import Mistake, mistakes_in
from archon_workflows.model.outcomes import JsonValue
from archon_workflows.model.rules import finding
from archon_workflows.model.shape import describe, snake_case
from archon_workflows.model.template import Template

FINDINGS_LISTED: Final = 1_000
_ROUNDS = 12
_PLACEHOLDER = "placeholder"


@dataclass(frozen=True, slots=True)
class ParsedTemplate:
    """What came of a document.

    Attributes:
        template: the template, or ``None`` when a finding is an error.
        findings: everything that is wrong with the shape.
        mended: the template without what is wrong, for a review of the rest; ``None`` when nothing of the
            document could be read. Its JSON pointers are those of the document.
        mended_paths: where ``mended`` differs from the document: nothing is to be said about these.
    """

    template: Template | None
    findings: tuple[Finding, ...]
    mended: Template | None
    mended_paths: frozenset[str] = frozenset()


def parse_template(document: JsonValue) -> ParsedTemplate:
    """Parse a document and return every finding about its shape; never raises."""
    try:
        value = normalise(document, "refuse").value
    except InvalidJson as error:
        return ParsedTemplate(None, (finding("invalid_json", error.path or "", error.message),), None)
    if not isinstance(value, dict):
        return ParsedTemplate(None, (_not_an_object(value),), None)
    try:
        template = Template.model_validate(value)
    except ValidationError:
        return _Mending(deepcopy(cast("dict[str, Any]", value))).result()
    return ParsedTemplate(template, (), template)


def template_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a template document, described field by field."""
    return deepcopy(_json_schema())


@lru_cache(maxsize=1)
def _json_schema() -> dict[str, Any]:
    schema = _cleaned(Template.model_json_schema())
    schema["required"] = [name for name in schema["required"] if name != "title"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Workflow template",
        **schema,
    }


def _cleaned(node: Any, *, names: bool = False) -> Any:
    """Drop what only repeats: generated titles, ``null`` as a default, the mapping of discriminators."""
    if isinstance(node, list):
        return [_cleaned(one) for one in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    kept: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", node).items():
        if not names and (key in {"title", "discriminator"} or (key == "default" and value is None)):
            continue
        kept[key] = _cleaned(value, names=key in {"properties", "$defs"} and not names)
    return kept


def _not_an_object(value: Any) -> Finding:
    return finding(
        "wrong_type",
        "",
        f"{shown(value)} stands where a template, an object, is expected.",
        suggestion="Send an object with at least 'name' and 'steps'.",
    )


class _Mending:
    """Validates a copy round after round and repairs what was found, until the rest can be read."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._findings: list[Finding] = []
        self._paths: set[str] = set()

    def result(self) -> ParsedTemplate:
        mended: Template | None = None
        for _ in range(_ROUNDS):
            if len(self._findings) > FINDINGS_LISTED:
                break
            try:
                mended = Template.model_validate(self._document)
                break
            except ValidationError as error:
                self._repair(mistakes_in(self._document, error.errors(include_url=False)))
        findings = bounded(self._findings)
        template = mended if mended is not None and not has_errors(findings) else None
        return ParsedTemplate(template, findings, mended, frozenset(self._paths))

    def _repair(self, mistakes: list[Mistake]) -> None:
        for mistake in mistakes:
            found = describe(mistake)
            if not is_under(mistake.path, self._paths):
                self._findings.append(found)
            self._mend(mistake, found)
            if len(self._findings) > FINDINGS_LISTED:
                return

    def _mend(self, mistake: Mistake, found: Finding) -> None:
        if found.rule in {"unknown_step_type", "missing_field"} and found.path.endswith("/type"):
            step = cast("dict[str, Any]", mistake.value)
            if found.nearest is not None:
                step["type"] = found.nearest
                self._paths.add(found.path)
                return
        self._paths.add(mistake.path)
        if isinstance(mistake.around, list):
            self._put(mistake, _stand_in(mistake))
        elif isinstance(mistake.around, dict):
            self._mend_member(mistake, found)

    def _mend_member(self, mistake: Mistake, found: Finding) -> None:
        around = cast("dict[str, Any]", mistake.around)
        name = str(mistake.field)
        if mistake.is_key or mistake.kind == "extra_forbidden":
            value = around.pop(name, None)
            if found.nearest is not None and found.nearest not in around:
                around[found.nearest] = value
                self._paths.add(f"{mistake.parent}/{found.nearest}")
        elif name in _STAND_INS or _is_step(mistake.value):
            self._put(mistake, _stand_in(mistake))
        else:
            around.pop(name, None)

    @staticmethod
    def _put(mistake: Mistake, value: Any) -> None:
        mistake.around[mistake.field] = value


def bounded(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the first thousand findings, and an error that says so when there are more."""
    listed = tuple(islice(findings, FINDINGS_LISTED + 1))
    if len(listed) <= FINDINGS_LISTED or listed[-1].rule == "too_many_findings":
        return listed
    message = f"There are more than {FINDINGS_LISTED} findings; the others are not listed."
    more = finding("too_many_findings", "", message, suggestion="Mend these first, then validate again.")
    return (*listed[:-1], more)


def is_under(path: str, prefixes: set[str] | frozenset[str]) -> bool:
    """Say whether the pointer is one of ``prefixes`` or leads to something inside one."""
    if path in prefixes:
        return True
    return any(path[:end] in prefixes for end, character in enumerate(path) if character == "/")


def _is_step(value: Any) -> bool:
    return isinstance(value, dict) and ("type" in value or "name" in value or "tool_name" in value)


def _stand_in(mistake: Mistake) -> Any:
    if mistake.kind.startswith("union_tag") or mistake.kind == "model_attributes_type":
        return _step_stand_in(mistake.value)
    if isinstance(mistake.field, str) and mistake.field in _STAND_INS:
        if mistake.field == "name" and isinstance(mistake.value, str):
            return snake_case(mistake.value) or _PLACEHOLDER
        return deepcopy(_STAND_INS[mistake.field])
    return _PLACEHOLDER


def _step_stand_in(value: Any) -> dict[str, Any]:
    name = cast("dict[str, Any]", value).get("name") if isinstance(value, dict) else None
    step = {"type": "action", "tool_name": _PLACEHOLDER}
    usable = snake_case(name) if isinstance(name, str) else None
    return {**step, "name": usable} if usable else step


_STAND_INS: dict[str, Any] = {
    "name": _PLACEHOLDER,
    "tool_name": _PLACEHOLDER,
    "workflow_name": _PLACEHOLDER,
    "condition": True,
    "collection": [],
    "steps": [{"type": "action", "tool_name": _PLACEHOLDER}],
}
