"""What tools answer is data at any number of hops: text that looks like an expression arrives as it left."""

import json
from typing import Any

import pytest
from applications import action, run, save, steps_of

from archon_workflows.bootstrap import Application

PAYLOADS = [
    "{{ 1 + 1 }}",
    "{{ workflow.parameters.payload }}",
    "{{ secrets.TOKEN }} {% for x in y %}",
    "{{ steps.first.output.__class__.__mro__ }}",
    "}} {{ '{{ 7 * 7 }}' }}",
    "' == 'x' or true or '",
    "{# comment #}{{ none",
]
OF = "{{ workflow.parameters.payload }}"
CHILD: dict[str, Any] = {
    "parameters": {"given": {"type": "string"}},
    "outputs": {"back": {"value": "{{ steps.inner.output.value }}"}},
}


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_text_passes_every_kind_of_step_and_is_never_evaluated(
    application: Application, payload: str
) -> None:
    await save(
        application, "child", action("inner", "echo", value="{{ workflow.parameters.given }}"), **CHILD
    )
    stored = action("stored", "echo", value="{{ steps.first.output.value }}")
    stored["set_context"] = {"kept": "{{ output.value }}"}
    polled = action("polled", "echo", value="{{ context.kept }}")
    polled["repeat_until"] = {"condition": "{{ output.value }} == {{ workflow.parameters.payload }}"}
    failing = action("failing", "fail", reason="{{ steps.polled.output.value }}") | {"on_failure": "continue"}
    each = {
        "name": "each",
        "type": "loop",
        "collection": ["{{ steps.first.output.value }}", "{{ context.kept }}"],
        "steps": [action("one", "echo", value="{{ item }}")],
    }
    beside = {
        "name": "beside",
        "type": "parallel",
        "steps": [action("left", "echo", value="{{ steps.each.output[1].value }}")],
    }
    below = {
        "name": "below",
        "type": "workflow_link",
        "workflow_name": "child",
        "parameters": {"given": "{{ steps.beside.output[0].value }}"},
    }
    asked = {
        "name": "asked",
        "type": "condition",
        "condition": "{{ steps.below.output.back }} == {{ workflow.parameters.payload }}",
        "on_false": "fail",
    }
    told = action(
        "told",
        "echo",
        value={"error": "{{ steps.failing.error.message }}", "{{ not a key }}": "<{{ context.kept }}>"},
    )
    await save(
        application, "hops", action("first", "echo", value=OF), stored, polled, failing, each, beside, below,
        asked, told, parameters={"payload": {"type": "string"}},
    )  # fmt: skip
    execution = await run(application, "hops", parameters={"payload": payload})
    assert execution.status == "completed", execution.error_message
    steps = await steps_of(application, execution)
    for path in ("first", "stored", "polled", "each[0].one", "each[1].one", "beside.left"):
        assert steps[path].tool_result is not None, path
        assert steps[path].output_data == {"value": payload}, path
    assert steps["below"].output_data == {"back": payload}
    assert steps["asked"].output_data is not None
    told_value = json.loads(json.dumps(steps["told"].output_data))["value"]
    assert payload in told_value["error"]
    assert told_value["{{ not a key }}"] == f"<{payload}>"
    assert execution.execution_context["kept"] == payload
