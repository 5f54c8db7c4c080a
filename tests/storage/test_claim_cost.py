"""What a claim looks at when very many executions wait: counted rows, not seconds."""

from collections.abc import AsyncIterator

import pytest
from samples import LEASE, Sql, saved

from archon_workflows.storage.direct import DirectRepository

WAITING = 50_000
OWNED = 100

FILL = """
insert into public.archon_workflow_executions (
  id, root_execution_id, workflow_template_id, workflow_version_id, total_steps, timeout_seconds, priority,
  place, status, started_at, owner_id, lease_expires_at, created_at
)
select
  numbered.id, numbered.id, t.id, v.id, 1, 60, n % 7 - 3, place,
  case when owned then 'running' else 'pending' end,
  case when owned then now() end, case when owned then 'someone' end,
  case when owned then now() + interval '1 hour' end, now() - make_interval(secs => n)
from (
  select gen_random_uuid() as id, n, n % 500 = 0 as owned from generate_series(1, {count}) as n
) as numbered
cross join lateral (select ({place})::text as place) as kind
join public.archon_workflow_templates as t on t.name = '{name}'
join public.archon_workflow_template_versions as v on v.workflow_template_id = t.id
"""
CLAIM = "select jsonb_array_length(public.archon_workflow_claim('me', {lease}, 10))"
LOOKED_AT = """
select seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables
where relname = 'archon_workflow_executions'
"""


@pytest.fixture
async def crowd(database_url: str, sql: Sql) -> AsyncIterator[Sql]:
    """A hundred thousand executions, half of which await a place; no statistics of them were collected."""
    repository = await DirectRepository.connect(database_url)
    await saved(repository, "free")
    await saved(repository, "limited", max_concurrent_executions=1)
    for _ in range(10):  # the session keeps the plans of an empty table
        await sql.value(CLAIM.format(lease=LEASE))
    await sql.run(FILL.format(count=WAITING, place="null", name="free"))
    await sql.run(
        FILL.format(count=WAITING, place="case when owned then 'taken' else 'awaited' end", name="limited")
    )
    yield sql
    await repository.aclose()


async def test_a_claim_looks_at_little_more_than_it_takes(crowd: Sql) -> None:
    await crowd.run("begin")
    assert await crowd.value(CLAIM.format(lease=LEASE)) == 10
    looked_at = await crowd.value(LOOKED_AT)
    await crowd.run("rollback")
    assert looked_at < 3 * OWNED, f"{looked_at} rows"
