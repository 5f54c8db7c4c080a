"""What an agent has to read, counted as text content plus compact structured content of every answer."""

from serving import SETUP_VM_BACKUP, VM_DEPLOYMENT, Agent, action, asking, structured_text, text_of

BUDGET = 1_500
MOST_OF_ONE_ANSWER = 1_500


async def test_running_the_seeds_example_and_reading_the_result_stays_under_the_budget(agent: Agent) -> None:
    await agent.do("manage_workflow_template", action="create", template=SETUP_VM_BACKUP)
    await agent.do("manage_workflow_template", action="create", template=VM_DEPLOYMENT)
    agent.characters_read = 0

    ran = await agent.run("vm_deployment", parameters={"vm_name": "web-1"})
    assert ran["status"] == "completed"
    read = await agent.do("get_execution", execution_id=ran["execution_id"])

    assert read["output"] == {"vm_id": "vm-12345", "status": "deployed", "earlier_status": None}
    assert agent.characters_read < BUDGET


async def test_what_an_agent_must_know_of_trouble_is_short_too(agent: Agent) -> None:
    await agent.save("fails", action("break", "fail", reason="no " * 2_000))
    await agent.save("asks", asking("one", "Really? " * 500))
    await agent.save("slowly", action("one", "slow", seconds=30))
    for workflow in ("fails", "asks", "slowly"):
        result = await agent.call("run_workflow", workflow=workflow, wait_seconds=2)
        assert len(text_of(result)) < MOST_OF_ONE_ANSWER
        assert len(structured_text(result)) < 2 * MOST_OF_ONE_ANSWER


async def test_a_list_takes_one_line_for_each_execution(agent: Agent) -> None:
    await agent.save("greets", action("greet", "say", text="x" * 5_000))
    for _ in range(5):
        await agent.run("greets")
    assert len(text_of(await agent.call("get_execution")).splitlines()) == 5


async def test_the_text_does_not_repeat_the_structured_content(agent: Agent) -> None:
    await agent.save("greets", action("greet", "say", text="hello"))
    result = await agent.call("run_workflow", workflow="greets")
    assert structured_text(result) not in text_of(result)
    assert not text_of(result).lstrip().startswith("{")
