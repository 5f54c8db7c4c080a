"""No fault breaks a law, and no bug gets past the checker."""

from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from catalogue import CATALOGUE, PLACES
from checker import check
from crash_points import RECORDED, TOOL_ANSWERED
from deliberate_bugs import BUGS
from evidence import Evidence
from report import take_overs
from run import weather
from scenes import (
    FROZEN_BEFORE_THE_RECORD,
    HITS,
    KILLED_BEFORE_THE_RECORD,
    KILLED_IN_WHAT_NOBODY_MAY_REPEAT,
    Scene,
    at,
    calm,
    saved_again_before_it_starts,
    slow_network,
    told_to_stop,
    two_at_once,
)
from stage import StageOptions, open_stage
from storm import StormOptions
from tenants import Tenant

CAUGHT: dict[str, tuple[Scene, str]] = {
    "recorded steps run again": (at("kill", TOOL_ANSWERED, "chain", "/s3"), "recorded results are final"),
    "no fence": (FROZEN_BEFORE_THE_RECORD, "one owner writes"),
    "calls before their record": (partial(calm, "chain"), "intents come first"),
    "children before their record": (partial(calm, "linked"), "children are announced"),
    "cancellations are ignored": (partial(calm, "long"), "cancelled stays cancelled"),
    "children are started twice": (partial(calm, "linked"), "executions are honest"),
    "leases by the local clock": (partial(calm, "chain"), "one owner writes"),
    "entries acknowledged before they are durable": (partial(slow_network, "chain"), "intents come first"),
    "fenced owners go on": (FROZEN_BEFORE_THE_RECORD, "intents come first"),
    "attempts start anew after a crash": (
        at("kill", RECORDED, "bumpy", "/flaky running 2"),
        "attempts are counted",
    ),
    "skipped steps count as completed": (partial(calm, "branching"), "executions are honest"),
    "secrets are not masked": (partial(calm, "secretive"), "secrets are hidden"),
    "unhandled failures complete": (partial(calm, "hopeless"), "executions are honest"),
    "log entries vanish": (partial(calm, "many"), "the log is whole"),
    "the newest version is run": (partial(saved_again_before_it_starts, "chain"), "executions are honest"),
    "nobody takes over": (at("kill", TOOL_ANSWERED, "chain", "/s3"), "nothing is lost"),
}
"""The scene in which each bug shows, and the law that it breaks."""


async def played(scene: Scene, folder: Path, tenant: Tenant, bug: str | None = None) -> Evidence:
    async with open_stage(folder, tenant, StageOptions(bug=bug)) as stage:
        await scene(stage)
        return await stage.evidence()


def broken_laws(evidence: Evidence) -> list[str]:
    return [str(violation) for violation in check(evidence)]


async def test_without_faults_every_execution_comes_to_what_it_must(run_folder: Path, tenant: Tenant) -> None:
    async with open_stage(run_folder, tenant, StageOptions()) as stage:
        await stage.start_worker()
        for n, (name, entry) in enumerate(CATALOGUE.items()):
            if entry.is_run:
                await stage.submit(name, n)
        assert await stage.until_all_ended(20)
        evidence = await stage.evidence()
    assert broken_laws(evidence) == []


@pytest.mark.parametrize("scene", [pytest.param(scene, id=name) for name, scene in HITS.items()])
async def test_a_worker_that_is_hit_between_two_writes_breaks_no_law(
    run_folder: Path, tenant: Tenant, scene: Scene
) -> None:
    evidence = await played(scene, run_folder, tenant)
    assert len(evidence.faults) == 1
    assert broken_laws(evidence) == []


async def test_a_step_that_is_run_again_keeps_its_idempotency_key(
    run_folder: Path, each_tenant: Tenant
) -> None:
    evidence = await played(KILLED_BEFORE_THE_RECORD, run_folder, each_tenant)
    assert broken_laws(evidence) == []
    assert Counter(call.key.partition("/")[2] for call in evidence.calls)["s2"] == 2


async def test_a_call_in_doubt_is_asked_about_and_not_made_again(
    run_folder: Path, each_tenant: Tenant
) -> None:
    evidence = await played(KILLED_IN_WHAT_NOBODY_MAY_REPEAT, run_folder, each_tenant)
    assert broken_laws(evidence) == []
    assert [call.path for call in evidence.calls] == ["destroyed", "last"]


async def test_a_frozen_owner_writes_nothing_more_when_it_wakes_up(
    run_folder: Path, each_tenant: Tenant
) -> None:
    evidence = await played(FROZEN_BEFORE_THE_RECORD, run_folder, each_tenant)
    assert broken_laws(evidence) == []
    assert len(take_overs(evidence)) == 1


async def test_a_worker_that_is_told_to_stop_hands_over_at_once(
    run_folder: Path, each_tenant: Tenant
) -> None:
    options = StageOptions(lease_seconds=300)
    async with open_stage(run_folder, each_tenant, options) as stage:
        await told_to_stop("slow", stage)
        evidence = await stage.evidence()
    assert broken_laws(evidence) == []
    assert len({call.pid for call in evidence.calls}) == 2


async def test_the_checker_sees_a_limit_that_is_not_kept(
    run_folder: Path, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLACES, "slow", 1)  # it has no limit
    evidence = await played(partial(two_at_once, "slow"), run_folder, tenant)
    assert "limits are kept" in {violation.law for violation in check(evidence)}


async def test_no_storm_breaks_a_law(storm_folder: Path) -> None:
    options = StormOptions(executions=16, faults=12, workers=2, pause_seconds=0.4, patience_seconds=60)
    evidence = await weather(storm_folder, StageOptions(seed=7), options)
    assert len(evidence.faults) >= options.faults
    assert broken_laws(evidence) == []


@pytest.mark.parametrize("bug", BUGS)
async def test_a_deliberate_bug_is_caught(run_folder: Path, tenant: Tenant, bug: str) -> None:
    scene, law = CAUGHT[bug]
    evidence = await played(scene, run_folder, tenant, bug)
    assert law in {violation.law for violation in check(evidence)}
