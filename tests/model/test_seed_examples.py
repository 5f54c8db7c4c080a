"""The JSON examples of the schema document, byte for byte as they stand there."""

import re
from pathlib import Path
from typing import Any

import pytest

from archon_workflows.model.json_values import parse_json
from archon_workflows.model.review import WorkflowFacts, validate_document
from archon_workflows.model.steps import STEP_TYPES
from archon_workflows.model.template import Parameter

SEED = (Path(__file__).parents[1] / "cases" / "SEED.md").read_text()
EXAMPLES: list[Any] = [parse_json(block) for block in re.findall(r"```json\n(.*?)```", SEED, flags=re.DOTALL)]
STEPS = [example for example in EXAMPLES if "type" in example]
(TEMPLATE,) = [example for example in EXAMPLES if "steps" in example and "parameters" in example]

LINKED = {
    "setup_vm_backup": WorkflowFacts(
        status="active",
        version="1.0.0",
        parameters={"vm_id": Parameter.model_validate({"type": "string", "required": True})},
    ),
    "backup_database": WorkflowFacts(
        status="active",
        version="1.0.0",
        parameters={"database_id": Parameter.model_validate({"type": "string", "required": True})},
    ),
}


def wrapped(step: dict[str, Any]) -> dict[str, Any]:
    """The step with whatever it refers to: a step before it, steps to jump to, parameters."""
    parameters = {
        "vm_template": {"required": True},
        "vm_name": {"required": True},
        "servers": {"required": True},
    }
    around = [{"type": "action", "name": name, "tool_name": "x"} for name in ("deploy_step", "rollback_step")]
    return {
        "name": "wrapped",
        "parameters": parameters,
        "steps": [{"type": "action", "tool_name": "x"}, step, *around],
    }


def test_there_is_an_example_of_every_step_type() -> None:
    assert {step["type"] for step in STEPS} == set(STEP_TYPES)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step['type']}")
def test_every_step_example_is_valid_in_a_template(step: dict[str, Any]) -> None:
    result = validate_document(wrapped(step), known_workflows=LINKED)
    assert [one for one in result.findings if one.severity != "info"] == []
    assert result.template is not None


def test_the_example_template_has_no_findings_beside_the_workflow_that_it_links_to() -> None:
    result = validate_document(TEMPLATE, known_workflows=LINKED)
    assert result.findings == ()
    assert result.template is not None


def test_the_example_template_says_which_workflow_it_lacks() -> None:
    (finding,) = validate_document(TEMPLATE, known_workflows={}).findings
    assert (finding.rule, finding.path) == ("unknown_workflow", "/steps/2/on_true/workflow_name")
