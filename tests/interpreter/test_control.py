"""Approvals, pauses, cancellations, interruptions and retries, as the interpreter decides them."""

from typing import Any

import pytest
from world import World, template_of

from archon_workflows.errors import InvalidRequest
from archon_workflows.interpreter import CallTool


def succeed(name: str, answer: Any = 1, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": "action",
        "tool_name": "succeed",
        "parameters": {"answer": answer},
        **fields,
    }


def fail(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "action", "tool_name": "fail", **fields}


def hang(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "action", "tool_name": "hang", **fields}


def world(*steps: dict[str, Any], **fields: Any) -> World:
    return World(template_of({"steps": list(steps)}), **fields)


class TestApproval:
    def test_pauses_before_the_step_until_someone_approves(self) -> None:
        run = world(succeed("a"), succeed("b", 2, approval=True)).run()
        assert (run.status, run.pause_reason) == ("paused", "approval")
        assert run.called_paths == ["a"]
        assert run.records["b"].awaiting == "approval"

        run.control("approve", requested_by="anna")
        assert (run.status, run.output) == ("completed", 2)
        assert run.called_paths == ["a", "b"]

    def test_a_rejection_fails_the_step_with_the_reason(self) -> None:
        run = world(succeed("a", approval=True)).run().control("reject", reason="too risky")
        assert run.status == "failed"
        assert run.error["code"] == "rejected"
        assert run.error["details"]["reason"] == "too risky"

    def test_a_rejection_can_be_handled(self) -> None:
        run = world(succeed("a", approval=True, on_failure="continue"), succeed("b", 3)).run()
        assert run.control("reject").output == 3

    @pytest.mark.parametrize(
        ("on_timeout", "status", "code"),
        [
            ("fail", "failed", "approval_timeout"),
            ("reject", "failed", "rejected"),
            ("approve", "completed", None),
        ],
    )
    def test_nobody_answers_in_time(self, on_timeout: str, status: str, code: str | None) -> None:
        approval = {"timeout_seconds": 60, "on_timeout": on_timeout}
        run = world(succeed("a", approval=approval)).run()
        assert run.status == "paused"
        run.now = run.records["a"].wake_at or run.now

        run.run()
        assert run.status == status
        assert (run.error["code"] if run.error else None) == code

    def test_other_branches_go_on_meanwhile(self) -> None:
        branches = [succeed("a", approval=True), [succeed("x"), succeed("y", 2)]]
        run = world({"name": "p", "type": "parallel", "steps": branches}).run()
        assert run.status == "paused"
        assert run.statuses["p.y"] == "completed"
        assert run.control("approve", step_path="p.a").output == [1, 2]

    def test_two_waiting_steps_need_a_path(self) -> None:
        branches = [succeed("a", approval=True), succeed("b", approval=True)]
        run = world({"name": "p", "type": "parallel", "steps": branches}).run()
        run.control("approve")
        assert run.status == "paused"
        assert "Nothing done" in run.log[-1].message
        run.control("approve", step_path="p.a").control("approve", step_path="p.b")
        assert run.status == "completed"

    def test_an_approval_given_while_paused_is_kept_for_later(self) -> None:
        run = world(succeed("a", approval=True)).run()
        run.pause_reason = "requested"
        run.control("approve")
        assert (run.status, run.called_paths) == ("paused", [])
        assert run.control("resume").called_paths == ["a"]


class TestPause:
    def test_no_new_step_starts_and_running_ones_finish(self) -> None:
        run = world(succeed("a"), succeed("b", 2)).start()
        run.control("pause")
        assert run.status == "running"
        run.step_once()
        assert (run.status, run.pause_reason) == ("paused", "requested")
        assert run.statuses == {"a": "completed"}
        run.control("resume")
        assert (run.status, run.output) == ("completed", 2)
        assert run.called_paths == ["a", "b"]

    def test_a_resume_before_the_pause_took_effect_undoes_it(self) -> None:
        run = world(succeed("a"), succeed("b", 2)).start()
        run.control("pause").control("resume")
        while run.step_once():
            pass
        assert run.status == "completed"

    def test_a_waiting_retry_goes_on_after_the_resume(self) -> None:
        run = world(fail("a", parameters={"until": 2}, retry_count=1, retry_delay_seconds=60)).start()
        run.step_once()
        assert run.records["a"].status == "retrying"
        run.control("pause")
        assert run.status == "paused"
        assert run.control("resume").output == {"attempt": 2}


class TestCancel:
    def test_running_calls_are_cancelled_and_nothing_starts_any_more(self) -> None:
        run = world(succeed("a"), hang("b"), succeed("c")).run()
        assert run.status == "running"
        run.control("cancel", requested_by="ben", reason="wrong region")
        assert run.status == "cancelled"
        assert run.statuses == {"a": "completed", "b": "failed"}
        assert run.records["b"].error_details is not None
        assert run.records["b"].error_details["code"] == "cancelled"
        assert "ben" in run.error["message"]
        assert "wrong region" in run.error["message"]

    def test_everything_inside_containers_is_cancelled(self) -> None:
        loop = {"name": "l", "type": "loop", "collection": [1, 2], "max_concurrency": 2, "steps": [hang("h")]}
        run = world({"name": "p", "type": "parallel", "steps": [loop, hang("x")]}).run()
        run.control("cancel")
        assert set(run.statuses) == {"p", "p.l", "p.l[0].h", "p.l[1].h", "p.x"}
        assert set(run.statuses.values()) == {"failed"}

    def test_a_run_over_its_time_fails_the_same_way(self) -> None:
        run = world(hang("a")).run().run_out_of_time()
        assert (run.status, run.error["code"]) == ("failed", "execution_timeout")
        assert run.records["a"].status == "failed"


class TestInterruption:
    def test_an_interrupted_call_is_made_again_as_the_same_attempt(self) -> None:
        run = world(succeed("a"), hang("b")).run()
        first = run.calls[-1]
        run.lose_process().run()
        second = run.calls[-1]
        assert (second.path, second.idempotency_key) == (first.path, first.idempotency_key)
        assert run.records["b"].attempt_number == 1
        assert run.records["b"].interruptions == 1

    def test_the_step_can_ask_to_fail(self) -> None:
        run = world(hang("a", on_interrupt="fail", retry_count=3)).run().lose_process().run()
        assert run.error["code"] == "interrupted"
        assert len(run.calls) == 1

    def test_a_destructive_tool_waits_for_a_word(self) -> None:
        run = world(hang("a"), succeed("b", 2), destructive=frozenset({"hang"})).run().lose_process().run()
        assert (run.status, run.pause_reason) == ("paused", "in_doubt")
        assert run.records["a"].awaiting == "resolution"
        run.control("resolve", resolution="succeeded", output={"id": 1})
        assert run.output == 2
        assert run.records["a"].output_data == {"id": 1}
        assert run.called_paths == ["a", "b"]

    def test_stating_that_it_failed_leads_to_the_next_attempt(self) -> None:
        run = world(hang("a", on_interrupt="pause", retry_count=1)).run().lose_process().run()
        run.control("resolve", resolution="failed", reason="the disk was full")
        assert run.records["a"].attempt_number == 2
        assert "the disk was full" in run.records["a"].error_details["earlier"][0]["message"]  # type: ignore[index]

    def test_asking_for_another_run_makes_the_call_again(self) -> None:
        run = world(hang("a", on_interrupt="pause")).run().lose_process().run()
        run.control("resolve", resolution="rerun")
        assert run.called_paths == ["a", "a"]
        assert run.records["a"].attempt_number == 1

    def test_a_step_that_kills_its_owner_again_and_again_fails(self) -> None:
        run = world(hang("a")).run()
        for _ in range(11):
            run.lose_process().run()
        assert run.error["code"] == "interrupted"
        assert len(run.calls) == 11


class TestRetry:
    def test_goes_on_at_the_failed_step_and_keeps_what_is_done(self) -> None:
        run = world(succeed("a"), fail("b"), succeed("c", 3)).run()
        mended = template_of({"steps": [succeed("a"), succeed("b", 2), succeed("c", 3)]})
        run.retry(template=mended)
        assert (run.status, run.output) == ("completed", 3)
        assert run.called_paths == ["a", "b", "b", "c"]
        assert run.records["b"].error_details is not None
        assert run.records["b"].error_details["earlier"][0]["code"] == "tool_error"

    def test_from_a_named_step_runs_it_and_what_came_after_again_with_new_keys(self) -> None:
        run = world(succeed("a"), succeed("b"), fail("c")).run()
        run.retry("b")
        assert run.called_paths == ["a", "b", "c", "b", "c"]
        keys = [call.idempotency_key for call in run.calls]
        assert keys[1] != keys[3]
        assert keys[2] == keys[4]

    def test_from_a_step_that_did_not_run_is_refused_with_the_nearest_name(self) -> None:
        run = world(succeed("build"), fail("deploy")).run()
        with pytest.raises(InvalidRequest, match="deplay") as refused:
            run.retry("deplay")
        assert "deploy" in (refused.value.suggestion or "")

    def test_completed_iterations_are_kept(self) -> None:
        def steps(tool: str) -> list[dict[str, Any]]:
            inner = [
                succeed("a", "{{ item }}"),
                {"name": "b", "type": "action", "tool_name": tool, "parameters": {"answer": "{{ item }}"}},
            ]
            return [{"name": "l", "type": "loop", "collection": [1, 2], "max_concurrency": 2, "steps": inner}]

        run = World(template_of({"steps": steps("fail")})).run()
        assert run.status == "failed"
        before = len(run.calls)
        run.retry(template=template_of({"steps": steps("succeed")}))
        assert (run.status, run.output) == ("completed", [1, 2])
        assert {"l[0].a", "l[1].a"}.isdisjoint(call.path for call in run.calls[before:])

    def test_a_handled_failure_is_not_tried_again(self) -> None:
        run = world(fail("a", on_failure="continue"), fail("b")).run()
        run.retry()
        assert run.called_paths == ["a", "b", "b"]

    def test_the_failure_handler_of_a_retried_step_may_run_again(self) -> None:
        run = world(fail("a", on_failure=[succeed("note"), fail("h")])).run()
        assert run.called_paths == ["a", "a.note", "a.h"]
        run.retry()
        assert run.called_paths == ["a", "a.note", "a.h"] * 2

    def test_a_cancelled_execution_goes_on_where_it_was(self) -> None:
        run = world(succeed("a"), hang("b")).run().control("cancel")
        mended = template_of({"steps": [succeed("a"), succeed("b", 2)]})
        run.retry(template=mended)
        assert (run.status, run.output) == ("completed", 2)
        assert run.called_paths == ["a", "b", "b"]


class TestWhatACallCarries:
    def test_the_key_is_the_same_for_every_attempt_and_differs_between_polls(self) -> None:
        run = world(fail("a", retry_count=1)).run()
        assert len({call.idempotency_key for call in run.calls}) == 1
        repeat = {"condition": "output.x", "max_attempts": 2, "interval_seconds": 1}
        polled = world(succeed("a", {"x": False}, repeat_until=repeat)).run()
        assert len({call.idempotency_key for call in polled.calls}) == 2

    def test_secrets_reach_the_call(self) -> None:
        run = world(succeed("a", "Bearer {{ secrets.TOKEN }}"), secrets={"TOKEN": "s3cret"}).run()
        call = run.calls[0]
        assert isinstance(call, CallTool)
        assert call.arguments == {"answer": "Bearer s3cret"}


def test_the_log_stays_bounded_and_counts_what_it_drops() -> None:
    loop = {"name": "l", "type": "loop", "collection": list(range(400)), "steps": [succeed("a")]}
    run = world(loop).run()
    assert run.status == "completed"
    assert len(run.log) < 120
    assert run.log_dropped > 600
    assert run.log[-1].message == "Execution completed"


def test_a_loop_without_effects_is_cut_into_turns() -> None:
    nothing = {"name": "c", "type": "condition", "condition": True}
    loop = {"name": "l", "type": "loop", "collection": list(range(1000)), "steps": [nothing]}
    run = world(loop, moves_per_turn=300).start()
    assert run.status == "completed"
    assert run.turns > 5


def test_progress_never_falls_and_is_100_only_at_the_end() -> None:
    again = {"name": "again", "type": "condition", "condition": "context.n < 3", "on_true": "a"}
    counting = succeed("a", 1, set_context={"n": "{{ (context.n | default(0)) + 1 }}"})
    run = world(counting, succeed("b"), again, succeed("z")).run()
    assert run.progress_seen == sorted(run.progress_seen)
    assert run.progress_seen[-1] == 100
    assert all(percentage < 100 for percentage in run.progress_seen[:-1])


def test_jitter_is_the_same_again_and_within_the_bound() -> None:
    step = fail("a", retry_count=3, retry_jitter=True, retry_delay_seconds=10, retry_backoff=1)
    waits: list[Any] = []
    for _ in range(2):
        run = world(step).run()
        waits.append(run.now)
    assert waits[0] == waits[1]
