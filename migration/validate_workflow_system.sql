-- Archon Workflows: is this database as add_workflow_system.sql leaves it?
--
-- One row a check: what was looked at, whether it is right, what was found. It reads the catalogue only, so
-- it runs on any database and changes nothing. What is not right is repaired by running
-- add_workflow_system.sql again, and after it add_private_workflows.sql where that is in force; only lost
-- columns, and what others granted or opened by further policies, must be put right by hand.
--
-- The row "readers" says which of the two is in force: everyone reads, or creators do.

with expected_columns (table_name, columns) as (
  values
    ('archon_workflow_templates', array[
      'id uuid', 'name text', 'title text', 'description text', 'version text', 'version_number integer',
      'status text', 'category text', 'tags jsonb', 'parameters jsonb', 'outputs jsonb', 'steps jsonb',
      'timeout_minutes double precision', 'max_retries integer', 'max_concurrent_executions integer',
      'on_limit text', 'priority integer', 'created_by text', 'is_public boolean', 'search_text text',
      'created_at timestamp with time zone', 'updated_at timestamp with time zone'
    ]),
    ('archon_workflow_template_versions', array[
      'id uuid', 'workflow_template_id uuid', 'version_number integer', 'version_tag text',
      'template_snapshot jsonb', 'change_type text', 'change_summary text', 'breaking_changes boolean',
      'created_by text', 'tool_fingerprints jsonb', 'created_at timestamp with time zone'
    ]),
    ('archon_workflow_executions', array[
      'id uuid', 'workflow_template_id uuid', 'workflow_version_id uuid', 'triggered_by text',
      'trigger_context jsonb', 'input_parameters jsonb', 'execution_context jsonb', 'status text',
      'required_tools text[]', 'priority integer', 'place text', 'pause_reason text', 'current_step_index integer', 'total_steps integer',
      'progress_percentage double precision', 'idempotency_key text', 'parent_execution_id uuid',
      'parent_step_path text', 'root_execution_id uuid', 'link_depth integer', 'caller text',
      'control_requests jsonb',
      'seen_request_ids uuid[]', 'output_data jsonb', 'error_message text', 'error_details jsonb',
      'execution_log jsonb', 'log_dropped_count integer', 'owner_id text', 'fencing_token bigint',
      'lease_expires_at timestamp with time zone', 'journal_sequence bigint',
      'timeout_seconds double precision', 'deadline_at timestamp with time zone',
      'wake_at timestamp with time zone', 'created_at timestamp with time zone',
      'updated_at timestamp with time zone', 'started_at timestamp with time zone',
      'completed_at timestamp with time zone', 'paused_at timestamp with time zone'
    ]),
    ('archon_workflow_step_executions', array[
      'id uuid', 'workflow_execution_id uuid', 'position bigint', 'step_path text', 'step_index integer',
      'step_name text', 'step_type text', 'step_config jsonb', 'status text', 'attempt_number integer',
      'max_attempts integer', 'run_number integer', 'poll_number integer', 'interruptions integer',
      'generation integer', 'wake_at timestamp with time zone', 'awaiting text', 'input_data jsonb',
      'output_data jsonb', 'output_truncated boolean', 'tool_name text', 'tool_parameters jsonb',
      'tool_result jsonb', 'sub_workflow_execution_id uuid', 'context_updates jsonb',
      'failure_handled boolean', 'error_message text', 'error_details jsonb', 'progress jsonb',
      'created_at timestamp with time zone', 'updated_at timestamp with time zone',
      'started_at timestamp with time zone', 'completed_at timestamp with time zone'
    ]),
    ('archon_workflow_workers', array[
      'id uuid', 'owner_id text', 'kind text', 'offered_tools text[]', 'has_listed_all boolean',
      'max_executions integer', 'created_at timestamp with time zone', 'seen_at timestamp with time zone',
      'expires_at timestamp with time zone'
    ]),
    ('archon_workflow_schedules', array[
      'id uuid', 'name text', 'workflow_template_id uuid', 'version_tag text', 'cron text', 'time_zone text',
      'parameters jsonb', 'priority integer', 'on_missed text', 'on_overlap text', 'is_paused boolean',
      'created_by text', 'caller text', 'next_due_at timestamp with time zone',
      'last_due_at timestamp with time zone', 'last_outcome text', 'last_execution_id uuid', 'last_error jsonb',
      'started_count integer', 'missed_count integer', 'overlapped_count integer', 'refused_count integer',
      'created_at timestamp with time zone', 'updated_at timestamp with time zone'
    ])
), expected_constraints (table_name, names) as (
  values
    ('archon_workflow_templates', array[
      'archon_workflow_templates_pkey', 'one_template_per_name', 'name_is_snake_case',
      'parameters_are_an_object', 'status_is_known', 'version_number_starts_at_1', 'tags_are_a_list',
      'version_is_semantic', 'outputs_are_an_object', 'steps_are_a_list_with_something_in_it',
      'max_retries_is_not_negative', 'timeout_is_positive', 'limit_is_positive', 'on_limit_is_known',
      'priority_is_small'
    ]),
    ('archon_workflow_template_versions', array[
      'archon_workflow_template_versions_pkey', 'one_row_per_version_number',
      'a_version_has_one_template', 'version_of_a_template', 'change_type_is_known',
      'snapshot_is_an_object', 'tool_fingerprints_are_an_object', 'version_number_starts_at_1'
    ]),
    ('archon_workflow_executions', array[
      'archon_workflow_executions_pkey', 'child_goes_with_its_parent', 'tree_goes_with_its_root',
      'template_with_executions_stays', 'runs_a_version_of_its_template', 'row_is_sound'
    ]),
    ('archon_workflow_step_executions', array[
      'archon_workflow_step_executions_pkey', 'one_row_per_step_path', 'steps_go_with_their_execution',
      'row_is_sound'
    ]),
    ('archon_workflow_workers', array[
      'archon_workflow_workers_pkey', 'one_row_per_owner', 'kind_is_known', 'max_executions_is_positive'
    ]),
    ('archon_workflow_schedules', array[
      'archon_workflow_schedules_pkey', 'one_schedule_per_callers_name', 'schedule_of_a_template',
      'name_is_snake_case', 'parameters_are_an_object', 'priority_is_small', 'on_missed_is_known',
      'on_overlap_is_known', 'last_outcome_is_known', 'refused_says_why'
    ])
), expected_indexes (table_name, names) as (
  values
    ('archon_workflow_templates', array[
      'archon_workflow_templates_by_status', 'archon_workflow_templates_by_category',
      'archon_workflow_templates_by_tag'
    ]),
    ('archon_workflow_executions', array[
      'archon_workflow_executions_by_template', 'archon_workflow_executions_by_version',
      'archon_workflow_executions_by_status', 'archon_workflow_executions_by_triggered_by',
      'archon_workflow_executions_by_started_at', 'archon_workflow_executions_by_created_at',
      'archon_workflow_executions_by_root', 'archon_workflow_executions_by_parent',
      'archon_workflow_executions_by_caller', 'archon_workflow_executions_one_per_callers_key',
      'archon_workflow_executions_to_take', 'archon_workflow_executions_by_place',
      'archon_workflow_executions_to_wake'
    ]),
    ('archon_workflow_step_executions', array[
      'archon_workflow_step_executions_by_step_index', 'archon_workflow_step_executions_by_status',
      'archon_workflow_step_executions_by_tool_name'
    ]),
    ('archon_workflow_schedules', array[
      'archon_workflow_schedules_by_template', 'archon_workflow_schedules_to_fire'
    ])
), expected_triggers (table_name, names) as (
  values
    ('archon_workflow_templates', array[
      'archon_workflow_templates_updated_at', 'archon_workflow_templates_limit'
    ]),
    ('archon_workflow_template_versions', array[
      'archon_workflow_template_versions_never_change'
    ]),
    ('archon_workflow_executions', array[
      'archon_workflow_executions_updated_at', 'archon_workflow_executions_enter_status',
      'archon_workflow_executions_announce'
    ]),
    ('archon_workflow_step_executions', array[
      'archon_workflow_step_executions_updated_at'
    ])
), expected_functions (signature, is_called) as (
  values
    ('archon_workflow_schema_version()', true),
    ('archon_workflow_template_record(uuid)', true),
    ('archon_workflow_execution_record(uuid)', true),
    ('archon_workflow_save_template(uuid, uuid, jsonb, text, text, text, boolean, text, integer, jsonb)', true),
    ('archon_workflow_delete_template(uuid)', true),
    ('archon_workflow_lock_template(uuid)', true),
    ('archon_workflow_make_room(uuid, boolean)', true),
    ('archon_workflow_admit(uuid)', true),
    ('archon_workflow_queue(uuid)', true),
    ('archon_workflow_create_execution(jsonb, jsonb)', true),
    ('archon_workflow_claim_for(jsonb, uuid)', true),
    ('archon_workflow_lock_executions(uuid[])', true),
    ('archon_workflow_claim(text, double precision, integer, uuid, text[])', true),
    ('archon_workflow_report_worker(jsonb, double precision)', true),
    ('archon_workflow_remove_worker(text)', true),
    ('archon_workflow_prospect(uuid)', true),
    ('archon_workflow_record(jsonb)', true),
    ('archon_workflow_answer(jsonb)', true),
    ('archon_workflow_renew(jsonb, double precision)', true),
    ('archon_workflow_release(jsonb)', true),
    ('archon_workflow_descendants(uuid)', true),
    ('archon_workflow_count_tree(uuid)', true),
    ('archon_workflow_request_control(uuid, jsonb)', true),
    ('archon_workflow_schedule_record(uuid)', true),
    ('archon_workflow_save_schedule(jsonb)', true),
    ('archon_workflow_delete_schedule(uuid)', true),
    ('archon_workflow_due_schedules(integer)', true),
    ('archon_workflow_fire_schedule(jsonb)', true),
    ('archon_workflow_vital_signs()', true),
    (
      'archon_workflow_execution_is_sound(uuid, text, integer, text, text, integer, integer, double '
      'precision, uuid, text, uuid, integer, text, integer, text, bigint, timestamp with time zone, '
      'bigint, double precision, timestamp with time zone, timestamp with time zone, timestamp with '
      'time zone, timestamp with time zone)',
      true
    ),
    (
      'archon_workflow_step_is_sound(integer, text, text, integer, integer, integer, integer, '
      'integer, integer, text, boolean, text, timestamp with time zone, timestamp with time zone)',
      true
    ),
    ('archon_workflow_touch()', false),
    ('archon_workflow_refuse_change()', false),
    ('archon_workflow_enter_status()', false),
    ('archon_workflow_announce()', false),
    ('archon_workflow_apply_limit()', false)
), tables as (
  select table_name, to_regclass('public.' || table_name) as id from expected_columns
), functions as (
  select signature, is_called, to_regprocedure('public.' || signature) as id from expected_functions
), roles as (
  select rolname::text as role_name, rolname = 'service_role' as writes
  from pg_roles where rolname in ('anon', 'authenticated', 'service_role')
), privileges (privilege, readers, writer) as (
  values
    ('SELECT', true, true), ('INSERT', false, true), ('UPDATE', false, true), ('DELETE', false, true),
    ('TRUNCATE', false, false), ('REFERENCES', false, false), ('TRIGGER', false, false)
), private_policies (name, table_name, role_names, condition) as (
  values
    ('anon_reads_public_templates', 'archon_workflow_templates', array['anon'], 'is_public'),
    ('users_read_public_templates_and_their_own', 'archon_workflow_templates', array['authenticated'],
      '%is_public OR (created_by = %auth.uid()%'),
    ('versions_are_read_with_their_template', 'archon_workflow_template_versions',
      array['anon', 'authenticated'], '%archon_workflow_templates t%'),
    ('users_read_their_executions', 'archon_workflow_executions', array['authenticated'], '%auth.uid()%'),
    ('steps_are_read_with_their_execution', 'archon_workflow_step_executions', array['authenticated'],
      '%archon_workflow_executions x%'),
    ('users_read_their_schedules', 'archon_workflow_schedules', array['authenticated'], '%auth.uid()%')
), policies as (
  select p.* from pg_policies as p join tables as t on p.schemaname = 'public' and p.tablename = t.table_name
), mode as (
  select exists (select from policies where policyname in (select name from private_policies)) as is_private
), expected_policies (name, table_name, command, role_names, condition) as (
  select 'everyone_reads', t.table_name, 'SELECT', r.role_names, 'true'
  from tables as t
  cross join (select array_agg(role_name order by role_name) as role_names from roles where not writes) as r
  where r.role_names is not null and not (select is_private from mode)
  union all
  select p.name, p.table_name, 'SELECT', p.role_names, p.condition
  from private_policies as p where (select is_private from mode)
  union all
  select 'service_role_does_everything', t.table_name, 'ALL', array[r.role_name], 'true'
  from tables as t cross join roles as r where r.writes
), checks (section, "check", ok, detail) as (
  select 1, 'schema version',
    coalesce(btrim(p.prosrc) = 'select 5', false),
    coalesce('function says: ' || btrim(p.prosrc), 'missing')
  from (select to_regprocedure('public.archon_workflow_schema_version()') as id) as f
  left join pg_proc as p on p.oid = f.id

  union all
  select 2, 'table ' || table_name, id is not null, case when id is null then 'missing' else 'present' end
  from tables

  union all
  select 3, format('column %s.%s', e.table_name, split_part(wanted, ' ', 1)),
    coalesce(format_type(a.atttypid, a.atttypmod) = substr(wanted, strpos(wanted, ' ') + 1), false),
    coalesce(format_type(a.atttypid, a.atttypmod), 'missing')
  from expected_columns as e
  cross join unnest(e.columns) as wanted
  join tables as t using (table_name)
  left join pg_attribute as a
    on a.attrelid = t.id and a.attname = split_part(wanted, ' ', 1) and not a.attisdropped

  union all
  select 4, format('constraint %s on %s', wanted, e.table_name),
    coalesce(k.convalidated, false),
    case
      when k.oid is null then 'missing' when k.convalidated then pg_get_constraintdef(k.oid) else 'not valid'
    end
  from expected_constraints as e
  cross join unnest(e.names) as wanted
  join tables as t using (table_name)
  left join pg_constraint as k on k.conrelid = t.id and k.conname = wanted

  union all
  select 5, format('index %s', wanted),
    coalesce(i.indisvalid and i.indisready, false),
    case when i.indexrelid is null then 'missing' when i.indisvalid then 'valid' else 'not valid' end
  from expected_indexes as e
  cross join unnest(e.names) as wanted
  join tables as t using (table_name)
  left join pg_index as i on i.indrelid = t.id and i.indexrelid = to_regclass('public.' || wanted)

  union all
  select 6, format('trigger %s', wanted),
    coalesce(g.tgenabled in ('O', 'A'), false),
    case when g.oid is null then 'missing' when g.tgenabled in ('O', 'A') then 'enabled' else 'disabled' end
  from expected_triggers as e
  cross join unnest(e.names) as wanted
  join tables as t using (table_name)
  left join pg_trigger as g on g.tgrelid = t.id and g.tgname = wanted

  union all
  select 7, format('function %s', signature),
    coalesce(not p.prosecdef and 'search_path=""' = any (p.proconfig), false),
    case
      when p.oid is null then 'missing'
      when p.prosecdef then 'security definer'
      when 'search_path=""' = any (p.proconfig) then 'security invoker, empty search_path'
      else 'search_path can be changed by the caller'
    end
  from functions as f
  left join pg_proc as p on p.oid = f.id

  union all
  select 8, format('row level security on %s', table_name),
    coalesce(c.relrowsecurity, false), case when c.relrowsecurity then 'enabled' else 'disabled' end
  from tables as t
  left join pg_class as c on c.oid = t.id

  union all
  select 9, format('policy %s on %s', w.name, w.table_name),
    coalesce(
      p.cmd = w.command and p.roles::text[] = w.role_names and p.permissive = 'PERMISSIVE'
        and p.qual like w.condition,
      false
    ),
    coalesce(
      format('for %s to %s using %s', lower(p.cmd), array_to_string(p.roles, ', '), p.qual), 'missing'
    )
  from expected_policies as w
  left join policies as p on p.tablename = w.table_name and p.policyname = w.name

  union all
  select 9, format('policy %s on %s', p.policyname, p.tablename), false,
    'not of the migration that is in force; it may open the table further'
  from policies as p
  where not exists (
    select from expected_policies as w where w.name = p.policyname and w.table_name = p.tablename
  )

  union all
  select 9, 'readers', true,
    case
      when is_private then 'creators: add_private_workflows.sql is in force'
      else 'everyone: workflow data are public, add_private_workflows.sql is not in force'
    end
  from mode

  union all
  select 10, format('%s may %s%s %s', r.role_name, case when x.wanted then '' else 'not ' end,
      lower(x.privilege), t.table_name),
    has_table_privilege(r.role_name, t.id, x.privilege) = x.wanted,
    case when has_table_privilege(r.role_name, t.id, x.privilege) then 'granted' else 'not granted' end
  from tables as t
  cross join roles as r
  cross join lateral (
    select privilege, case when r.writes then writer else readers end as wanted from privileges
  ) as x
  where t.id is not null

  union all
  select 11, format('%s may %scall %s', r.role_name, case when x.wanted then '' else 'not ' end, f.signature),
    has_function_privilege(r.role_name, f.id, 'EXECUTE') = x.wanted,
    case when has_function_privilege(r.role_name, f.id, 'EXECUTE') then 'granted' else 'not granted' end
  from functions as f
  cross join roles as r
  cross join lateral (select r.writes and f.is_called as wanted) as x
  where f.id is not null

  union all
  select 12, format('public may not call %s', f.signature),
    not exists (
      select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as granted
      where granted.grantee = 0
    ),
    coalesce(array_to_string(p.proacl, ', '), 'default privileges')
  from functions as f
  join pg_proc as p on p.oid = f.id
)
select "check", ok, detail from checks order by section, "check";
