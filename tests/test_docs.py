"""Documentation that runs: its examples are what the program accepts, and it names everything there is."""

import json
import re
import shlex
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from archon_workflows.cli.exits import ExitCode
from archon_workflows.expressions import compile_value
from archon_workflows.expressions.filters import FILTERS
from archon_workflows.expressions.predicates import PREDICATES
from archon_workflows.gateway.configuration import parse_tool_servers
from archon_workflows.model.outcomes import NEVER_RETRIED
from archon_workflows.model.review import validate_document
from archon_workflows.model.steps import (
    ActionStep,
    Approval,
    ConditionStep,
    LoopStep,
    ParallelStep,
    RepeatUntil,
    WorkflowLinkStep,
)
from archon_workflows.model.template import Output, Parameter, Template

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
AUTHORING = (ROOT / "docs/authoring.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def examples() -> list[Any]:
    found = (
        pytest.param(block, id=f"{document.name}-{number}")
        for document in DOCUMENTS
        for number, block in enumerate(blocks(document.read_text(encoding="utf-8"), "json"), 1)
    )
    return list(found)


def as_template(example: dict[str, Any]) -> dict[str, Any] | None:
    """Return the template that an example is, or that a single step becomes when it stands alone."""
    if "steps" in example and "type" not in example:
        return example
    if "type" not in example:
        return None
    step = {"name": "example", **example}
    return {"name": "example_workflow", "parameters": {"load": {"type": "number"}}, "steps": [step]}


@pytest.mark.parametrize("block", examples())
def test_every_json_example_is_json_and_valid_as_what_it_is(block: str) -> None:
    example = json.loads(block)
    template = as_template(example)
    if template is not None:
        assert [one for one in validate_document(template).findings if one.severity == "error"] == []
    if "mcpServers" in example:
        assert parse_tool_servers(example, {"API_TOKEN": "t"})


def table_rows(text: str, heading: str) -> list[tuple[str, ...]]:
    """Return the rows of the table under the header row ``heading``; ``\\|`` is a bar inside a cell."""
    table = text.split(heading, 1)[1].split("\n\n", 1)[0]
    rows = [line for line in table.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]) for row in rows]


def expressions() -> list[Any]:
    rows = table_rows(AUTHORING, "| expression | value |\n")
    unquoted = ((row[0].strip("`").replace("\\|", "|"), row[1].strip("`")) for row in rows)
    return [pytest.param(expression, json.loads(value), id=expression) for expression, value in unquoted]


@pytest.mark.parametrize(("expression", "value"), expressions())
def test_every_expression_example_yields_what_the_page_says(expression: str, value: Any) -> None:
    data = next(json.loads(block) for block in blocks(AUTHORING, "json") if '"context"' in block)
    assert compile_value("{{ " + expression + " }}").evaluate(data) == value


@pytest.mark.parametrize("name", sorted([*FILTERS, *PREDICATES]))
def test_the_authoring_page_names_every_filter_and_test(name: str) -> None:
    lists = AUTHORING.split("**Filters**")[1].split("**Data is never")[0]
    assert re.search(rf"`{name}[`(]", lists)


MODELS = (
    Template,
    Parameter,
    Output,
    ActionStep,
    ConditionStep,
    WorkflowLinkStep,
    ParallelStep,
    LoopStep,
    Approval,
    RepeatUntil,
)


@pytest.mark.parametrize("field", sorted(set(chain.from_iterable(model.model_fields for model in MODELS))))
def test_the_authoring_page_names_every_field(field: str) -> None:
    assert re.search(rf"`{field}[`.]", AUTHORING)


@pytest.mark.parametrize("code", sorted(NEVER_RETRIED))
def test_the_operations_page_says_what_is_never_retried(code: str) -> None:
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    [row] = [cells for cells in table_rows(page, "| code | meaning | retried |\n") if f"`{code}`" in cells[0]]
    assert row[2] == "never"


def test_every_link_between_the_documents_leads_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_readme_lists_every_exit_code() -> None:
    listed = {int(row[0]) for row in table_rows(README, "| code | meaning |\n")}
    assert listed == {int(code) for code in ExitCode}


def test_continuous_integration_runs_the_readmes_test_command() -> None:
    commands = [block.strip() for block in blocks(README, "sh") if "pytest" in block]
    script = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert len(commands) == 1
    assert shlex.split(commands[0]) == shlex.split(script[-1])


def test_no_document_or_lock_file_names_a_package_index() -> None:
    files = [*DOCUMENTS, ROOT / "CHANGELOG.md", *ROOT.glob("requirements*.lock"), ROOT / ".ci/run"]
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not re.search(
            r"((?<!no-emit-)index-url|find-links|trusted-host|://[^\s)]*(pypi|pythonhosted|npmjs))", text
        )
