"""Laws of the interpreter: whatever the order and wherever the process is lost, the end is the same."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from world import World, template_of


@st.composite
def steps(draw: st.DrawFn, depth: int = 2) -> list[dict[str, Any]]:
    """Draw a sequence of steps of all kinds, nested up to ``depth``."""
    return [draw(step(depth)) for _ in range(draw(st.integers(1, 3)))]


def step(depth: int) -> st.SearchStrategy[dict[str, Any]]:
    leaves = st.one_of(answering(), failing())
    if depth == 0:
        return leaves
    return st.one_of(leaves, leaves, parallel(depth), loop(depth), condition(depth))


@st.composite
def answering(draw: st.DrawFn) -> dict[str, Any]:
    fields: dict[str, Any] = {"parameters": {"answer": draw(st.integers(0, 9))}}
    if draw(st.booleans()):
        fields["set_context"] = {draw(st.sampled_from("uvw")): draw(st.integers(0, 9))}
    if draw(st.integers(0, 4)) == 0:
        fields["when"] = draw(st.booleans())
    return {"type": "action", "tool_name": "succeed", **fields}


@st.composite
def failing(draw: st.DrawFn) -> dict[str, Any]:
    handler = {"type": "action", "tool_name": "succeed", "parameters": {"answer": "{{ error.code }}"}}
    return {
        "type": "action",
        "tool_name": "fail",
        "parameters": {"until": draw(st.sampled_from([1, 2, 3, 99]))},
        "retry_count": draw(st.integers(0, 2)),
        "retry_delay_seconds": draw(st.sampled_from([0, 1])),
        "on_failure": draw(st.sampled_from(["fail", "continue", "end", handler])),
    }


@st.composite
def parallel(draw: st.DrawFn, depth: int) -> dict[str, Any]:
    return {
        "type": "parallel",
        "steps": draw(st.lists(steps(depth - 1), min_size=1, max_size=3)),
        "max_concurrency": draw(st.sampled_from([1, 2, 3])),
        "on_branch_failure": "continue",
        "retry_count": draw(st.sampled_from([0, 0, 1])),
        "on_failure": "continue",
    }


@st.composite
def loop(draw: st.DrawFn, depth: int) -> dict[str, Any]:
    return {
        "type": "loop",
        "collection": draw(st.lists(st.integers(0, 3), max_size=3)),
        "steps": draw(steps(depth - 1)),
        "max_concurrency": draw(st.sampled_from([1, 2])),
        "on_item_failure": "continue",
        "on_failure": "continue",
    }


@st.composite
def condition(draw: st.DrawFn, depth: int) -> dict[str, Any]:
    return {
        "type": "condition",
        "condition": draw(st.booleans()),
        "on_true": draw(steps(depth - 1)),
        "on_false": draw(st.sampled_from(["next", "end", "fail"])),
        "on_failure": draw(st.sampled_from(["fail", "continue"])),
    }


def named(sequence: list[Any], prefix: str = "s") -> list[Any]:
    """Give every step a name, so that statuses can be compared."""
    result: list[Any] = []
    for index, one in enumerate(sequence):
        name = f"{prefix}{index}"
        renamed: dict[str, Any] = {**one, "name": name}
        if one["type"] == "parallel":
            renamed["steps"] = [named(branch, f"{name}b{i}") for i, branch in enumerate(one["steps"])]
        elif one["type"] == "loop":
            renamed["steps"] = named(one["steps"], f"{name}l")
        elif one["type"] == "condition":
            renamed["on_true"] = named(one["on_true"], f"{name}t")
        result.append(renamed)
    return result


def end_of(world: World) -> Any:
    return {
        "status": world.status,
        "output": world.output,
        "code": world.error["code"] if world.error else None,
        "statuses": world.statuses,
        "attempts": {path: record.attempt_number for path, record in world.records.items()},
        "outputs": {path: record.output_data for path, record in world.records.items()},
        "context": world.columns["execution_context"],
    }


orders = st.lists(st.integers(0, 1000), max_size=60)
crash_points = st.dictionaries(
    st.integers(0, 60), st.sampled_from(["before_recording", "after_recording", "after_calling"]), max_size=6
)


def ordered(choices: list[int]) -> Any:
    remaining = iter(choices)

    def choose(count: int) -> int:
        return next(remaining, 0) % count

    return choose


@settings(max_examples=150, deadline=None)
@given(steps(), orders, st.sampled_from([1, 2, 5, 1000]))
def test_the_end_does_not_depend_on_which_effect_happens_first(
    sequence: list[dict[str, Any]], order: list[int], moves: int
) -> None:
    template = template_of({"steps": named(sequence)})
    other = World(template, order=ordered(order), moves_per_turn=moves)
    assert end_of(other.run()) == end_of(World(template).run())


@settings(max_examples=250, deadline=None)
@given(steps(), orders, crash_points, st.sampled_from([1, 3, 1000]))
def test_losing_the_process_anywhere_gives_the_same_end(
    sequence: list[dict[str, Any]], order: list[int], crashes: dict[int, Any], moves: int
) -> None:
    template = template_of({"steps": named(sequence)})
    calm = World(template).run()
    crashed = World(template, order=ordered(order), crashes=crashes, moves_per_turn=moves).run()

    assert end_of(crashed) == end_of(calm)
    assert crashed.calls_after_result == []
    assert crashed.progress_seen == sorted(crashed.progress_seen)


@settings(max_examples=100, deadline=None)
@given(steps(), orders)
def test_completed_means_that_no_failure_was_left_unhandled(
    sequence: list[dict[str, Any]], order: list[int]
) -> None:
    world = World(template_of({"steps": named(sequence)}), order=ordered(order)).run()
    assert world.status in ("completed", "failed")
    unhandled = [
        path
        for path, record in world.records.items()
        if record.status == "failed" and not record.failure_handled and "." not in path
    ]
    assert bool(unhandled) == (world.status == "failed")


@settings(max_examples=60, deadline=None)
@given(steps(), orders, st.integers(0, 12))
def test_after_a_cancellation_no_call_is_made(
    sequence: list[dict[str, Any]], order: list[int], moment: int
) -> None:
    world = World(template_of({"steps": named(sequence)}), order=ordered(order)).start()
    for _ in range(moment):
        if not world.step_once():
            break
    if world.status != "running":
        return
    made = len(world.calls)
    world.control("cancel")
    assert world.status == "cancelled"
    assert len(world.calls) == made
    assert not {"pending", "running", "retrying"} & set(world.statuses.values())
