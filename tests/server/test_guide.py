"""The authoring guide for agents says what is true."""

import json
import re
from typing import Any

import pytest

from archon_workflows.expressions.filters import FILTERS
from archon_workflows.expressions.predicates import PREDICATES
from archon_workflows.model.review import validate_document
from archon_workflows.model.steps import STEP_TYPES, StepFields
from archon_workflows.server.app import INSTRUCTIONS
from archon_workflows.server.guide import authoring_guide

GUIDE = authoring_guide()
EXAMPLES: list[dict[str, Any]] = [
    json.loads(block) for block in re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
]


@pytest.mark.parametrize("example", EXAMPLES, ids=[one["name"] for one in EXAMPLES])
def test_every_example_is_a_valid_template_or_step(example: dict[str, Any]) -> None:
    document = example if "steps" in example and "type" not in example else as_template(example)
    assert [one for one in validate_document(document).findings if one.severity != "info"] == []


def as_template(step: dict[str, Any]) -> dict[str, Any]:
    servers: dict[str, Any] = {"servers": {"type": "array", "default": []}}
    return {"name": "example", "parameters": servers, "steps": [step]}


def test_it_explains_every_step_type() -> None:
    assert {kind for kind in STEP_TYPES if f"- `{kind}`:" in GUIDE} == set(STEP_TYPES)


def test_every_field_that_it_says_any_step_may_have_is_one() -> None:
    section = GUIDE.split("## What any step may say")[1].split("```")[0]
    heads = [line.split(":")[0] for line in section.splitlines() if line.startswith("- ")]
    named = re.findall(r"`([a-z_]+)`", " ".join(heads))
    assert len(named) >= 12
    assert set(named) <= set(StepFields.model_fields)


@pytest.mark.parametrize(
    ("heading", "known"),
    [("Filters:", {"default", *FILTERS}), ("Tests:", {"defined", *PREDICATES})],
)
def test_every_filter_and_test_that_it_names_exists(heading: str, known: set[str]) -> None:
    listed = GUIDE.split(heading)[1].split(".", 1)[0]
    names = [name.removeprefix("is ").split("(")[0] for name in re.findall(r"`([^`]+)`", listed)]
    assert len(names) >= 3
    assert set(names) <= known


def test_it_is_short() -> None:
    assert len(GUIDE) < 6_000


def test_every_resource_that_agents_are_sent_to_exists() -> None:
    assert set(re.findall(r"workflow://[a-z/]+", GUIDE + INSTRUCTIONS)) == {
        "workflow://schema/template",
        "workflow://guide",
        "workflow://tools",
    }
