"""The SQL of the direct tenant: calls of the migration's functions, and reads with optional filters.

Nothing here is ever put together from parts; a filter that is not given is a null.
"""

from typing import Final

SAVE_TEMPLATE: Final = "select public.archon_workflow_save_template($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
DELETE_TEMPLATE: Final = "select public.archon_workflow_delete_template($1)"
CREATE_EXECUTION: Final = "select public.archon_workflow_create_execution($1, $2)"
COUNT_TREE: Final = "select public.archon_workflow_count_tree($1)"
CLAIM: Final = "select public.archon_workflow_claim($1, $2, $3, $4, $5)"
REPORT_WORKER: Final = "select public.archon_workflow_report_worker($1, $2)"
REMOVE_WORKER: Final = "select public.archon_workflow_remove_worker($1)"
PROSPECT: Final = "select public.archon_workflow_prospect($1)"
RECORD: Final = "select public.archon_workflow_record($1)"
RENEW: Final = "select public.archon_workflow_renew($1, $2)"
RELEASE: Final = "select public.archon_workflow_release($1)"
READ_QUEUE: Final = "select public.archon_workflow_queue($1)"
REQUEST_CONTROL: Final = "select public.archon_workflow_request_control($1, $2)"
SAVE_SCHEDULE: Final = "select public.archon_workflow_save_schedule($1)"
DELETE_SCHEDULE: Final = "select public.archon_workflow_delete_schedule($1)"
DUE_SCHEDULES: Final = "select public.archon_workflow_due_schedules($1)"
FIRE_SCHEDULE: Final = "select public.archon_workflow_fire_schedule($1)"

LOCK_DISPATCH: Final = "select pg_advisory_lock(7021783292)"

FREE_WITHOUT_JOB: Final = """
with free as (
  (
    select x.id, x.required_tools, x.control_requests, x.deadline_at, x.priority
    from public.archon_workflow_executions as x
    where x.status in ('pending', 'running') and x.wake_at is null and x.place is distinct from 'awaited'
      and (x.lease_expires_at is null or x.lease_expires_at <= clock_timestamp())
  )
  union all
  (
    select x.id, x.required_tools, x.control_requests, x.deadline_at, x.priority
    from public.archon_workflow_executions as x
    where x.wake_at <= clock_timestamp()
      and (x.lease_expires_at is null or x.lease_expires_at <= clock_timestamp())
  )
), named as (
  select f.id, f.priority, 'advance:' || md5(array_to_string(case
    -- Ending an execution needs none of its tools.
    when f.control_requests @> '[{"action": "cancel"}]' or f.deadline_at <= clock_timestamp() then '{}'
    else f.required_tools
  end, chr(10))) as entrypoint
  from free as f
  union all
  select s.id, 0, 'schedule' from public.archon_workflow_schedules as s
  where not s.is_paused and s.next_due_at <= clock_timestamp()
)
select n.id, n.priority, n.entrypoint from named as n
where not exists (
  select from archon_workflow_dispatch.pgqueuer as j
  where j.dedupe_key = n.entrypoint || '/' || n.id and j.status in ('queued', 'picked')
)
order by n.priority desc limit 1000
"""

UNKNOWN_JOBS: Final = """
select distinct on (j.entrypoint) j.entrypoint,
  case when j.entrypoint = 'advance:' || md5('') then '{}' else x.required_tools end as tools
from archon_workflow_dispatch.pgqueuer as j
join public.archon_workflow_executions as x
  on x.id = encode(j.payload, 'hex')::uuid
    and j.entrypoint in ('advance:' || md5(''), 'advance:' || md5(array_to_string(x.required_tools, chr(10))))
where j.status = 'queued' and j.entrypoint <> all ($1)
"""

READ_TEMPLATE: Final = """
select public.archon_workflow_template_record(t.id)
from public.archon_workflow_templates as t
where ($1::uuid is null or t.id = $1) and ($2::text is null or t.name = $2)
"""

TEMPLATE_NAMES: Final = "select name from public.archon_workflow_templates order by name limit 10000"

LIST_TEMPLATES: Final = """
with matching as not materialized (
  select t.id, t.name from public.archon_workflow_templates as t
  where not exists (select from unnest($1::text[]) as word where position(word in t.search_text) = 0)
    and ($2::text[] is null or t.status = any ($2))
    and ($3::text is null or t.category = $3)
    and ($4::jsonb is null or t.tags @> $4)
    and ($5::text is null or t.is_public or t.created_by = $5)
), page as (
  select public.archon_workflow_template_record(m.id) as record, m.name
  from (select id, name from matching order by name offset $6 limit $7) as m
)
select (select count(*) from matching) as total, page.record
from (select) as always left join page on true
order by page.name
"""

LIST_VERSIONS: Final = """
with matching as not materialized (
  select * from public.archon_workflow_template_versions where workflow_template_id = $1
)
select (select count(*) from matching) as total, page.*
from (select) as always left join (
  select * from matching order by version_number desc offset $2 limit $3
) as page on true
order by page.version_number desc
"""

READ_VERSION: Final = """
select * from public.archon_workflow_template_versions
where ($1::uuid is null or id = $1)
  and ($2::uuid is null or workflow_template_id = $2)
  and ($3::integer is null or version_number = $3)
  and ($4::text is null or version_tag = $4)
order by version_number desc limit 1
"""

KNOWN_VERSIONS: Final = """
select version_number, version_tag from public.archon_workflow_template_versions
where workflow_template_id = $1
order by version_number desc limit 12
"""

LIST_WORKERS: Final = """
select * from public.archon_workflow_workers where expires_at > clock_timestamp() order by created_at
"""

LIST_SCHEDULES: Final = """
with matching as not materialized (
  select s.*, t.name as workflow_name
  from public.archon_workflow_schedules as s
  join public.archon_workflow_templates as t on t.id = s.workflow_template_id
  where ($1::text is null or s.name = $1)
    and ($2::text is null or t.name = $2)
    and ($3::text is null or s.caller = $3)
    and ($4::uuid is null or s.id = $4)
)
select (select count(*) from matching) as total, page.*
from (select) as always left join (
  select * from matching order by name, id offset $5 limit $6
) as page on true
order by page.name, page.id
"""

READ_EXECUTION: Final = "select public.archon_workflow_execution_record($1)"
READ_EXECUTIONS: Final = """
select public.archon_workflow_execution_record(x.id) as record
from public.archon_workflow_executions as x where x.id = any ($1::uuid[])
"""

LIST_EXECUTIONS: Final = """
with matching as not materialized (
  select x.id, x.created_at from public.archon_workflow_executions as x
  where ($1::text is null or x.workflow_template_id = (
      select t.id from public.archon_workflow_templates as t where t.name = $1
    ))
    and ($2::text[] is null or x.status = any ($2))
    and ($3::text is null or x.triggered_by = $3)
    and ($4::uuid is null or x.parent_execution_id = $4)
    and ($5::timestamptz is null or x.created_at > $5)
    and ($6::timestamptz is null or x.created_at < $6)
    and ($7::text is null or x.caller = $7)
), page as (
  select
    x.id, x.workflow_template_id, x.workflow_version_id, t.name as workflow_name, v.version_number,
    v.version_tag, x.status, x.triggered_by, x.trigger_context, x.input_parameters, x.execution_context,
    x.required_tools, x.current_step_index, x.total_steps, x.progress_percentage, x.priority, x.place,
    x.idempotency_key,
    x.parent_execution_id, x.parent_step_path, x.root_execution_id, x.link_depth, x.caller, x.pause_reason,
    x.control_requests, x.output_data, x.error_message, x.error_details, '[]'::jsonb as execution_log,
    x.log_dropped_count, x.owner_id, x.fencing_token, x.lease_expires_at, x.journal_sequence, x.wake_at,
    x.deadline_at, x.created_at, x.updated_at, x.started_at, x.completed_at, x.paused_at
  from (select id from matching order by created_at desc, id desc offset $8 limit $9) as m
  join public.archon_workflow_executions as x on x.id = m.id
  join public.archon_workflow_templates as t on t.id = x.workflow_template_id
  join public.archon_workflow_template_versions as v on v.id = x.workflow_version_id
)
select (select count(*) from matching) as total, page.*
from (select) as always left join page on true
order by page.created_at desc, page.id desc
"""

READ_STEPS: Final = """
with matching as not materialized (
  select * from public.archon_workflow_step_executions as s
  where s.workflow_execution_id = $1
    and ($2::text[] is null or s.status = any ($2))
    and ($3::text is null or s.step_path = $3 or (
      starts_with(s.step_path, $3) and substr(s.step_path, length($3) + 1, 1) in ('.', '[', '~', '#')
    ))
)
select (select count(*) from matching) as total, page.*
from (select) as always left join (
  select * from matching order by position offset $4 limit $5
) as page on true
order by page.position
"""
