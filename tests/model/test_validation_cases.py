"""Every rule of validation by example: documents with the findings they get, in ``cases/validation``."""

import json
from pathlib import Path
from typing import Any

import jsonpatch
import pytest

from archon_workflows.model.findings import Finding
from archon_workflows.model.review import (
    RULES,
    LookupProblem,
    ToolFacts,
    ValidatedTemplate,
    WorkflowFacts,
    validate_document,
)
from archon_workflows.model.template import Parameter

CASES_FOLDER = Path(__file__).parents[1] / "cases" / "validation"
FILES = sorted(CASES_FOLDER.glob("*.json"))
CASES: list[dict[str, Any]] = [case for file in FILES for case in json.loads(file.read_text())]
WORLD: dict[str, Any] = json.loads((CASES_FOLDER / "world" / "world.json").read_text())

WORKFLOWS = {
    name: WorkflowFacts(
        status=facts["status"],
        version=facts["version"],
        links=frozenset(facts.get("links", ())),
        version_tags=frozenset(facts.get("version_tags", ())),
        parameters={
            one: Parameter.model_validate(schema) for one, schema in facts.get("parameters", {}).items()
        },
    )
    for name, facts in WORLD["workflows"].items()
}


class FixedTools:
    """The tools of ``world.json``, found by exact name, ``server/tool`` or ``tool_server``."""

    def find(self, tool_name: str) -> ToolFacts | LookupProblem:
        server = tool_name.partition("/")[0]
        if server in WORLD["unavailable_servers"]:
            return LookupProblem(code="unavailable", message=f"The server {server!r} cannot be reached.")
        found = [address for address in WORLD["tools"] if tool_name in _names(address)]
        if len(found) == 1:
            return ToolFacts(
                address=found[0],
                input_schema=WORLD["tools"][found[0]],
                refusal=WORLD["refusals"].get(found[0]),
                change=WORLD["changes"].get(found[0]),
            )
        if found:
            message = f"Several servers have a tool {tool_name!r}."
            return LookupProblem(code="ambiguous_tool", message=message, candidates=tuple(found))
        message = f"No server has a tool {tool_name!r}."
        return LookupProblem(code="unknown_tool", message=message, candidates=tuple(WORLD["tools"]))


def _names(address: str) -> set[str]:
    server, _, tool = address.partition("/")
    return {tool, address, f"{tool}_{server}"}


def document_of(case: dict[str, Any]) -> Any:
    return case["document"] if "document" in case else {"name": "example", **case["template"]}


def validated(document: Any, case: dict[str, Any]) -> ValidatedTemplate:
    if case.get("world"):
        return validate_document(document, known_workflows=WORKFLOWS, tools=FixedTools())
    return validate_document(document)


def places(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return sorted((finding.rule, finding.path) for finding in findings)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_document_gets_exactly_the_expected_findings(case: dict[str, Any]) -> None:
    result = validated(document_of(case), case)
    assert places(result.findings) == sorted((rule, path) for rule, path in case["findings"])
    if "nearest" in case:
        assert case["nearest"] in {finding.nearest for finding in result.findings}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_template_comes_out_unless_a_finding_is_an_error(case: dict[str, Any]) -> None:
    result = validated(document_of(case), case)
    has_error = any(RULES[rule].severity == "error" for rule, _ in case["findings"])
    assert (result.template is None) == has_error


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_every_patch_makes_its_finding_disappear(case: dict[str, Any]) -> None:
    document = document_of(case)
    for finding in validated(document, case).findings:
        if finding.patch:
            mended = jsonpatch.apply_patch(document, list(finding.patch))
            assert (finding.rule, finding.path) not in places(validated(mended, case).findings)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_every_finding_says_what_is_wrong_and_is_json(case: dict[str, Any]) -> None:
    for finding in validated(document_of(case), case).findings:
        letter = finding.as_json()
        assert json.loads(json.dumps(letter)) == letter
        assert letter["severity"] == RULES[finding.rule].severity
        assert finding.message.endswith((".", ")"))


def test_names_of_cases_are_unique() -> None:
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names))


def test_every_rule_has_a_case() -> None:
    elsewhere = {"too_many_findings"}
    assert set(RULES) - elsewhere == {rule for case in CASES for rule, _ in case["findings"]}
