"""Values come back from every tenant as they were written."""

import pytest
from samples import Owner, step

from archon_workflows.model.outcomes import JsonValue
from archon_workflows.storage.repository import Repository


@pytest.mark.parametrize(
    "value",
    [
        1e300,
        -2.5e-10,
        2**63 - 1,
        -(2**63),
        9007199254740993,
        True,
        0,
        0.5,
        "12e5678",
        "1" * 400,
        {"__class__": {"x": [None]}},
        "{{ 1 }}",
        "\U0001f600 \x1b[31m ￿",
    ],
)
async def test_a_step_output_is_the_same_value_of_the_same_type(
    repository: Repository, value: JsonValue
) -> None:
    owner = await Owner.of_new(repository)
    await owner.write("running", steps=[step("a", status="completed", output_data={"v": value})])
    (row,) = (await repository.read_steps(owner.execution_id)).records
    assert row.output_data == {"v": value}
    assert type(row.output_data["v"]) is type(value)
