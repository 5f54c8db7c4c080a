-- Archon Workflows: the tables, row level security, and the functions by which they are written.
--
-- Paste the whole file into the Supabase SQL editor, or run `archon-workflows migrate`. It runs on Postgres
-- 15 to 18, in one transaction, as often as you like: running it again repairs constraints, indexes,
-- triggers, functions, policies and grants (also for Supabase's roles when they appear later).
-- Undo: rollback_workflow_system.sql. Check: validate_workflow_system.sql.
--
-- Every write of the program calls one function of this file: one transaction, harmless to repeat.
-- A function refuses with a SQLSTATE of class AW, a message and a hint:
--
--   AW001 template_not_found      AW101 name_taken               AW201 schema_newer
--   AW002 version_not_found       AW102 stale_version            AW202 foreign_tables
--   AW003 execution_not_found     AW103 template_in_use
--   AW004 schedule_not_found      AW104 wrong_status
--                                 AW105 idempotency_key_reused
--                                 AW106 parent_ended
--                                 AW107 journal_gap
--                                 AW108 version_is_immutable
--                                 AW109 too_many_executions
--                                 AW110 template_changed
--
-- Locks are taken in this order: the template, its schedule, then executions with parents before children and
-- those of one depth by id (archon_workflow_lock_executions), then their steps.
--
-- Statuses are text with a check, not enums: a later version of this file can add or remove one inside its
-- transaction (a new enum value cannot be used in the transaction that adds it, and none can be removed),
-- and Supabase's table editor and PostgREST treat both alike.
--
-- No check looks into the large jsonb columns (log, context, inputs, outputs): checks run on every update,
-- and would read the whole value back each time.

begin;

set local client_min_messages = warning;
set local lock_timeout = '60s';

do $preflight$
declare
  found_version integer;
  table_name text;
begin
  perform pg_advisory_xact_lock(7021783291);

  if to_regprocedure('public.archon_workflow_schema_version()') is not null then
    execute 'select public.archon_workflow_schema_version()' into found_version;
    if found_version > 5 then
      raise exception using
        errcode = 'AW201',
        message = format('the database has schema version %s, this file would make it 4', found_version),
        hint = 'Use the file of the newer program; nothing was changed.';
    end if;
  end if;

  if to_regclass('public.archon_workflow_executions') is not null and not exists (
    select from pg_attribute
    where attrelid = to_regclass('public.archon_workflow_executions')
      and attname = 'fencing_token' and not attisdropped
  ) then
    raise exception using
      errcode = 'AW202',
      message = 'public.archon_workflow_executions exists, but this file did not make it',
      hint = 'Rename or drop the archon_workflow_ tables first; nothing was changed.';
  end if;

  foreach table_name in array array[
    'archon_workflow_templates', 'archon_workflow_executions',
    'archon_workflow_step_executions', 'archon_workflow_template_versions', 'archon_workflow_workers',
    'archon_workflow_schedules'
  ] loop
    if to_regclass('public.' || table_name) is not null then
      execute format('lock table public.%I in access exclusive mode', table_name);
    end if;
  end loop;
end
$preflight$;


create table if not exists public.archon_workflow_templates (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  title text not null,
  description text,
  version text not null default '1.0.0',
  version_number integer not null default 1,
  status text not null default 'active',
  category text,
  tags jsonb not null default '[]',
  parameters jsonb not null default '{}',
  outputs jsonb not null default '{}',
  steps jsonb not null,
  timeout_minutes double precision not null default 60,
  max_retries integer not null default 3,
  max_concurrent_executions integer,
  on_limit text not null default 'queue',
  priority integer not null default 0,
  created_by text,
  is_public boolean not null default true,
  search_text text not null generated always as (
    lower(name || ' ' || title || ' ' || coalesce(description, '') || ' ' || coalesce(category, '')
      || ' ' || tags::text)
  ) stored,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table if not exists public.archon_workflow_template_versions (
  id uuid primary key default gen_random_uuid(),
  workflow_template_id uuid not null,
  version_number integer not null,
  version_tag text not null,
  template_snapshot jsonb not null,
  change_type text not null,
  change_summary text,
  breaking_changes boolean not null default false,
  created_by text,
  tool_fingerprints jsonb not null default '{}',
  created_at timestamptz not null default now()
);

create table if not exists public.archon_workflow_executions (
  id uuid primary key default gen_random_uuid(),
  workflow_template_id uuid not null,
  workflow_version_id uuid not null,
  triggered_by text,
  trigger_context jsonb not null default '{}',
  input_parameters jsonb not null default '{}',
  execution_context jsonb not null default '{}',
  status text not null default 'pending',
  required_tools text[] not null default '{}',
  priority integer not null default 0,
  place text,
  pause_reason text,
  current_step_index integer not null default 0,
  total_steps integer not null,
  progress_percentage double precision not null default 0,
  idempotency_key text,
  parent_execution_id uuid,
  parent_step_path text,
  root_execution_id uuid not null,
  link_depth integer not null default 0,
  caller text,
  control_requests jsonb not null default '[]',
  seen_request_ids uuid[] not null default '{}',
  output_data jsonb,
  error_message text,
  error_details jsonb,
  execution_log jsonb not null default '[]',
  log_dropped_count integer not null default 0,
  owner_id text,
  fencing_token bigint not null default 0,
  lease_expires_at timestamptz,
  journal_sequence bigint not null default 0,
  timeout_seconds double precision not null,
  deadline_at timestamptz,
  wake_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  started_at timestamptz,
  completed_at timestamptz,
  paused_at timestamptz
);

create table if not exists public.archon_workflow_step_executions (
  id uuid primary key default gen_random_uuid(),
  workflow_execution_id uuid not null,
  position bigint not null,
  step_path text not null,
  step_index integer not null,
  step_name text not null,
  step_type text not null,
  step_config jsonb not null,
  status text not null default 'pending',
  attempt_number integer not null default 1,
  max_attempts integer not null default 1,
  run_number integer not null default 1,
  poll_number integer not null default 1,
  interruptions integer not null default 0,
  generation integer not null default 1,
  wake_at timestamptz,
  awaiting text,
  input_data jsonb,
  output_data jsonb,
  output_truncated boolean not null default false,
  tool_name text,
  tool_parameters jsonb,
  tool_result jsonb,
  sub_workflow_execution_id uuid,
  context_updates jsonb,
  failure_handled boolean not null default false,
  error_message text,
  error_details jsonb,
  progress jsonb,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  started_at timestamptz,
  completed_at timestamptz
);

-- What earlier versions of this schema did not have.
alter table public.archon_workflow_templates
  add column if not exists max_concurrent_executions integer,
  add column if not exists on_limit text not null default 'queue',
  add column if not exists priority integer not null default 0;
alter table public.archon_workflow_executions
  add column if not exists required_tools text[] not null default '{}',
  add column if not exists priority integer not null default 0,
  add column if not exists place text,
  add column if not exists caller text;
alter table public.archon_workflow_template_versions
  add column if not exists tool_fingerprints jsonb not null default '{}';
drop index if exists public.archon_workflow_executions_to_advance;
drop index if exists public.archon_workflow_executions_one_per_idempotency_key;

create table if not exists public.archon_workflow_workers (
  id uuid primary key default gen_random_uuid(),
  owner_id text not null,
  kind text not null,
  offered_tools text[] not null default '{}',
  has_listed_all boolean not null default false,
  max_executions integer not null,
  created_at timestamptz not null default now(),
  seen_at timestamptz not null default now(),
  expires_at timestamptz not null
);

create table if not exists public.archon_workflow_schedules (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  workflow_template_id uuid not null,
  version_tag text,
  cron text not null,
  time_zone text not null,
  parameters jsonb not null default '{}',
  priority integer,
  on_missed text not null,
  on_overlap text not null,
  is_paused boolean not null default false,
  created_by text,
  caller text,
  next_due_at timestamptz not null,
  last_due_at timestamptz,
  last_outcome text,
  last_execution_id uuid,
  last_error jsonb,
  started_count integer not null default 0,
  missed_count integer not null default 0,
  overlapped_count integer not null default 0,
  refused_count integer not null default 0,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp()
);

-- Room in each page for the versions of its rows to come: an execution's row grows with its log, a step's is
-- written twice. A version that finds no room goes to another page, and every index is written again.
alter table public.archon_workflow_executions set (fillfactor = 50);
alter table public.archon_workflow_step_executions set (fillfactor = 70);

comment on table public.archon_workflow_templates is
  'Reusable workflow definitions; the newest version of each.';
comment on table public.archon_workflow_template_versions is
  'Every saved version of every template; rows never change.';
comment on table public.archon_workflow_executions is
  'Runs of workflows, each pinned to one version.';
comment on table public.archon_workflow_step_executions is
  'One row per step path of an execution.';
comment on table public.archon_workflow_workers is
  'The processes that advance executions, as they last reported themselves.';
comment on table public.archon_workflow_schedules is
  'When a template is run by itself, and what became of it the last time.';
comment on column public.archon_workflow_schedules.caller is
  'To whom it and its executions belong; null where nobody asked.';
comment on column public.archon_workflow_schedules.next_due_at is
  'When it is due; whoever starts the execution sets the next time in the same transaction.';
comment on column public.archon_workflow_schedules.last_execution_id is
  'The newest execution that it started. No foreign key: history may be deleted.';
comment on column public.archon_workflow_workers.offered_tools is
  'What its tool servers offer, each tool in every spelling that a step may use.';
comment on column public.archon_workflow_executions.required_tools is
  'What the steps of the pinned version call, as it is written there.';
comment on column public.archon_workflow_templates.search_text is
  'What a search for templates looks through, in lower case.';
comment on column public.archon_workflow_templates.max_concurrent_executions is
  'How many executions may have a place at a time; null: any number.';
comment on column public.archon_workflow_executions.place is
  'Whether the execution awaits one of the places that its template''s limit allows, or has taken one, which '
  'it keeps until it ends; null: there is no limit.';
comment on column public.archon_workflow_template_versions.tool_fingerprints is
  'What each tool_name meant when the version was saved: {"address", "sha256"} by name.';
comment on column public.archon_workflow_executions.caller is
  'Whom authentication knew as the one who started it, and to whom it belongs; null where nobody asked.';
comment on column public.archon_workflow_executions.control_requests is
  'What someone asked of the execution and its owner has not yet acted on, oldest first.';
comment on column public.archon_workflow_executions.seen_request_ids is
  'The newest 100 control requests, so that one that is sent twice is one.';
comment on column public.archon_workflow_executions.fencing_token is
  'Grows with every claim; a write with an older one is refused.';
comment on column public.archon_workflow_executions.journal_sequence is
  'The number of the last journal entry written; an entry that is sent again is not written again.';
comment on column public.archon_workflow_executions.timeout_seconds is
  'Run time allowed, not counting pauses; deadline_at is set from it when the execution starts.';
comment on column public.archon_workflow_executions.wake_at is
  'When an execution that nobody owns is to be looked at again; a control request makes it now.';
comment on column public.archon_workflow_step_executions.position is
  'Orders the rows of an execution as they were first written.';
comment on column public.archon_workflow_step_executions.sub_workflow_execution_id is
  'The child execution. No foreign key: it is stored before the child exists.';


-- What a row must say, one sentence a line. Postgres reads the text of a check constraint again with every
-- statement that writes; the sentences of the two tables that are written all the time are compiled once a
-- session instead, in functions that the constraints call. That is a tenth of what writing a step costs.

create or replace function public.archon_workflow_execution_is_sound(
  id uuid,
  status text,
  priority integer,
  place text,
  pause_reason text,
  current_step_index integer,
  total_steps integer,
  progress_percentage double precision,
  parent_execution_id uuid,
  parent_step_path text,
  root_execution_id uuid,
  link_depth integer,
  error_message text,
  log_dropped_count integer,
  owner_id text,
  fencing_token bigint,
  lease_expires_at timestamptz,
  journal_sequence bigint,
  timeout_seconds double precision,
  wake_at timestamptz,
  started_at timestamptz,
  completed_at timestamptz,
  paused_at timestamptz
) returns boolean
language plpgsql immutable security invoker set search_path = ''
as $$
declare
  broken text := case
    when not (status in ('pending', 'running', 'paused', 'completed', 'failed', 'cancelled'))
      then 'status_is_known'
    when not (priority between -100 and 100) then 'priority_is_small'
    when not (place in ('awaited', 'taken')) then 'place_is_known'
    when not (status <> 'running' or place <> 'awaited') then 'running_awaits_no_place'
    when not (completed_at is null or place is null) then 'finished_keeps_no_place'
    when not (status <> 'running' or started_at is not null) then 'running_has_started'
    when not ((status in ('completed', 'failed', 'cancelled')) = (completed_at is not null))
      then 'completed_at_only_when_finished'
    when not ((status = 'paused') = (paused_at is not null)) then 'paused_at_only_while_paused'
    when not ((status = 'paused') = (pause_reason is not null)) then 'paused_has_a_reason'
    when not (pause_reason in ('requested', 'approval', 'in_doubt')) then 'pause_reason_is_known'
    when not (status <> 'failed' or error_message is not null) then 'failed_says_why'
    when not (progress_percentage between 0 and 100) then 'progress_is_between_0_and_100'
    when not ((status = 'completed') = (progress_percentage = 100)) then 'progress_is_100_only_when_completed'
    when not (current_step_index between 0 and total_steps) then 'current_step_within_total_steps'
    when not ((owner_id is null) = (lease_expires_at is null)) then 'a_lease_has_an_owner'
    when not (completed_at is null or owner_id is null) then 'finished_is_owned_by_nobody'
    when not (completed_at is null or wake_at is null) then 'finished_does_not_wake'
    when not ((parent_execution_id is null) = (parent_step_path is null))
      then 'child_names_the_step_of_its_parent'
    when not (case when parent_execution_id is null then link_depth = 0 else link_depth > 0 end)
      then 'only_a_child_is_linked'
    when not ((parent_execution_id is null) = (root_execution_id = id)) then 'without_parent_it_is_its_own_root'
    when not (fencing_token >= 0 and journal_sequence >= 0 and log_dropped_count >= 0)
      then 'counts_are_not_negative'
    when not (timeout_seconds > 0) then 'timeout_is_positive'
  end;
begin
  if broken is null then
    return true;
  end if;
  raise exception using
    errcode = 'check_violation', constraint = broken, table = 'archon_workflow_executions',
    message = format('the row breaks the sentence "%s" of archon_workflow_executions', broken);
end
$$;

comment on function public.archon_workflow_execution_is_sound(
  uuid, text, integer, text, text, integer, integer, double precision, uuid, text, uuid, integer,
  text, integer, text, bigint, timestamptz, bigint, double precision, timestamptz, timestamptz,
  timestamptz, timestamptz
) is 'Whether what a row of executions says fits together; otherwise the sentence that it breaks is raised.';


create or replace function public.archon_workflow_step_is_sound(
  step_index integer,
  step_type text,
  status text,
  attempt_number integer,
  max_attempts integer,
  run_number integer,
  poll_number integer,
  interruptions integer,
  generation integer,
  awaiting text,
  failure_handled boolean,
  error_message text,
  started_at timestamptz,
  completed_at timestamptz
) returns boolean
language plpgsql immutable security invoker set search_path = ''
as $$
declare
  broken text := case
    when not (step_type in ('action', 'condition', 'workflow_link', 'parallel', 'loop'))
      then 'step_type_is_known'
    when not (status in ('pending', 'running', 'completed', 'failed', 'skipped', 'retrying'))
      then 'status_is_known'
    when not (attempt_number between 1 and max_attempts) then 'attempt_number_within_max_attempts'
    when not ((status in ('completed', 'failed', 'skipped')) = (completed_at is not null))
      then 'completed_at_only_when_finished'
    when not (status <> 'running' or started_at is not null) then 'running_has_started'
    when not (status <> 'failed' or error_message is not null) then 'failed_says_why'
    when not (not failure_handled or status = 'failed') then 'only_a_failure_is_handled'
    when not (awaiting in ('approval', 'resolution')) then 'awaiting_is_known'
    when not (run_number >= 1 and poll_number >= 1 and generation >= 1) then 'counts_start_at_1'
    when not (step_index >= 0 and interruptions >= 0) then 'counts_are_not_negative'
  end;
begin
  if broken is null then
    return true;
  end if;
  raise exception using
    errcode = 'check_violation', constraint = broken, table = 'archon_workflow_step_executions',
    message = format('the row breaks the sentence "%s" of archon_workflow_step_executions', broken);
end
$$;

comment on function public.archon_workflow_step_is_sound(
  integer, text, text, integer, integer, integer, integer, integer, integer, text, boolean, text,
  timestamptz, timestamptz
) is 'Whether what a row of step_executions says fits together; otherwise the sentence that it breaks is raised.';


do $retired$
declare
  old record;
begin
  -- Until schema version 4 each sentence of these two tables was a constraint of its own.
  for old in
    select k.conrelid::regclass as table_name, k.conname
    from pg_constraint as k
    where k.contype = 'c' and k.conrelid in (
      'public.archon_workflow_executions'::regclass, 'public.archon_workflow_step_executions'::regclass
    ) and k.conname = any (array[
      'status_is_known', 'priority_is_small', 'place_is_known', 'running_awaits_no_place',
      'finished_keeps_no_place', 'running_has_started', 'completed_at_only_when_finished',
      'paused_at_only_while_paused', 'paused_has_a_reason', 'pause_reason_is_known', 'failed_says_why',
      'progress_is_between_0_and_100', 'progress_is_100_only_when_completed',
      'current_step_within_total_steps', 'a_lease_has_an_owner', 'finished_is_owned_by_nobody',
      'finished_does_not_wake', 'child_names_the_step_of_its_parent', 'only_a_child_is_linked',
      'without_parent_it_is_its_own_root', 'counts_are_not_negative', 'timeout_is_positive',
      'step_type_is_known', 'attempt_number_within_max_attempts', 'only_a_failure_is_handled',
      'awaiting_is_known', 'counts_start_at_1'
    ])
  loop
    execute format('alter table %s drop constraint %I', old.table_name, old.conname);
  end loop;
end
$retired$;

do $constraints$
declare
  missing record;
begin
  for missing in
    select * from (values
      ('templates', 'one_template_per_name', 'unique (name)'),
      ('templates', 'name_is_snake_case', $c$check (name ~ '^[a-z][a-z0-9_]{0,62}$')$c$),
      ('templates', 'status_is_known',
        $c$check (status in ('draft', 'active', 'deprecated', 'archived'))$c$),
      ('templates', 'version_is_semantic', $c$check (version ~ '^\d+\.\d+\.\d+([-+].+)?$')$c$),
      ('templates', 'version_number_starts_at_1', 'check (version_number >= 1)'),
      ('templates', 'tags_are_a_list', $c$check (jsonb_typeof(tags) = 'array')$c$),
      ('templates', 'parameters_are_an_object', $c$check (jsonb_typeof(parameters) = 'object')$c$),
      ('templates', 'outputs_are_an_object', $c$check (jsonb_typeof(outputs) = 'object')$c$),
      ('templates', 'steps_are_a_list_with_something_in_it',
        $c$check (jsonb_typeof(steps) = 'array' and steps <> '[]')$c$),
      ('templates', 'timeout_is_positive', 'check (timeout_minutes > 0)'),
      ('templates', 'max_retries_is_not_negative', 'check (max_retries >= 0)'),
      ('templates', 'limit_is_positive', 'check (max_concurrent_executions > 0)'),
      ('templates', 'on_limit_is_known', $c$check (on_limit in ('queue', 'reject', 'cancel_oldest'))$c$),
      ('templates', 'priority_is_small', 'check (priority between -100 and 100)'),

      ('template_versions', 'one_row_per_version_number', 'unique (workflow_template_id, version_number)'),
      ('template_versions', 'a_version_has_one_template', 'unique (id, workflow_template_id)'),
      ('template_versions', 'version_of_a_template',
        'foreign key (workflow_template_id) references public.archon_workflow_templates on delete cascade'),
      ('template_versions', 'version_number_starts_at_1', 'check (version_number >= 1)'),
      ('template_versions', 'change_type_is_known',
        $c$check (change_type in ('create', 'update', 'major', 'minor', 'patch'))$c$),
      ('template_versions', 'snapshot_is_an_object',
        $c$check (jsonb_typeof(template_snapshot) = 'object')$c$),
      ('template_versions', 'tool_fingerprints_are_an_object',
        $c$check (jsonb_typeof(tool_fingerprints) = 'object')$c$),

      ('executions', 'template_with_executions_stays',
        'foreign key (workflow_template_id) references public.archon_workflow_templates on delete restrict'),
      ('executions', 'runs_a_version_of_its_template',
        'foreign key (workflow_version_id, workflow_template_id) '
        'references public.archon_workflow_template_versions (id, workflow_template_id) on delete restrict'),
      ('executions', 'child_goes_with_its_parent',
        'foreign key (parent_execution_id) references public.archon_workflow_executions on delete cascade'),
      ('executions', 'tree_goes_with_its_root',
        'foreign key (root_execution_id) references public.archon_workflow_executions on delete cascade'),
      ('executions', 'row_is_sound',
        $c$check (public.archon_workflow_execution_is_sound(
          id, status, priority, place, pause_reason, current_step_index, total_steps,
          progress_percentage, parent_execution_id, parent_step_path, root_execution_id,
          link_depth, error_message, log_dropped_count, owner_id, fencing_token,
          lease_expires_at, journal_sequence, timeout_seconds, wake_at, started_at,
          completed_at, paused_at
        ))$c$),

      ('step_executions', 'one_row_per_step_path', 'unique (workflow_execution_id, step_path)'),
      ('step_executions', 'steps_go_with_their_execution',
        'foreign key (workflow_execution_id) references public.archon_workflow_executions on delete cascade'),
      ('step_executions', 'row_is_sound',
        $c$check (public.archon_workflow_step_is_sound(
          step_index, step_type, status, attempt_number, max_attempts, run_number, poll_number,
          interruptions, generation, awaiting, failure_handled, error_message, started_at,
          completed_at
        ))$c$),

      ('workers', 'one_row_per_owner', 'unique (owner_id)'),
      ('workers', 'kind_is_known', $c$check (kind in ('server', 'worker'))$c$),
      ('workers', 'max_executions_is_positive', 'check (max_executions > 0)'),

      ('schedules', 'one_schedule_per_callers_name', 'unique nulls not distinct (name, caller)'),
      ('schedules', 'schedule_of_a_template',
        'foreign key (workflow_template_id) references public.archon_workflow_templates on delete cascade'),
      ('schedules', 'name_is_snake_case', $c$check (name ~ '^[a-z][a-z0-9_]{0,62}$')$c$),
      ('schedules', 'parameters_are_an_object', $c$check (jsonb_typeof(parameters) = 'object')$c$),
      ('schedules', 'priority_is_small', 'check (priority between -100 and 100)'),
      ('schedules', 'on_missed_is_known', $c$check (on_missed in ('skip', 'run_once', 'run_all'))$c$),
      ('schedules', 'on_overlap_is_known',
        $c$check (on_overlap in ('skip', 'allow', 'cancel_previous'))$c$),
      ('schedules', 'last_outcome_is_known',
        $c$check (last_outcome in ('started', 'missed', 'overlapped', 'refused'))$c$),
      ('schedules', 'refused_says_why', $c$check ((last_outcome = 'refused') = (last_error is not null))$c$)
    ) as sentence (table_suffix, name, definition)
    where not exists (
      select from pg_constraint
      where conrelid = ('public.archon_workflow_' || table_suffix)::regclass and conname = sentence.name
    )
    order by definition like 'foreign key%'  -- what they refer to comes first
  loop
    execute format(
      'alter table public.%I add constraint %I %s',
      'archon_workflow_' || missing.table_suffix, missing.name, missing.definition
    );
  end loop;
end
$constraints$;


-- Unique constraints above already index: templates by name, versions by template and number, steps by
-- execution and path. Nothing that changes with every write is indexed (progress, lease, sequence), so that
-- the writes of a running execution stay inside their page.

create index if not exists archon_workflow_templates_by_status
  on public.archon_workflow_templates (status);
create index if not exists archon_workflow_templates_by_category
  on public.archon_workflow_templates (category);
create index if not exists archon_workflow_templates_by_tag
  on public.archon_workflow_templates using gin (tags);

create index if not exists archon_workflow_executions_by_template
  on public.archon_workflow_executions (workflow_template_id, created_at desc);
create index if not exists archon_workflow_executions_by_version
  on public.archon_workflow_executions (workflow_version_id, workflow_template_id);
create index if not exists archon_workflow_executions_by_status
  on public.archon_workflow_executions (status, created_at desc);
create index if not exists archon_workflow_executions_by_triggered_by
  on public.archon_workflow_executions (triggered_by, created_at desc);
create index if not exists archon_workflow_executions_by_caller
  on public.archon_workflow_executions (caller, created_at desc) where caller is not null;
create index if not exists archon_workflow_executions_by_started_at
  on public.archon_workflow_executions (started_at);
create index if not exists archon_workflow_executions_by_created_at
  on public.archon_workflow_executions (created_at desc, id desc);
create index if not exists archon_workflow_executions_by_root
  on public.archon_workflow_executions (root_execution_id);
create index if not exists archon_workflow_executions_by_parent
  on public.archon_workflow_executions (parent_execution_id) where parent_execution_id is not null;
create unique index if not exists archon_workflow_executions_one_per_callers_key
  on public.archon_workflow_executions (idempotency_key, caller) nulls not distinct
  where idempotency_key is not null;
create index if not exists archon_workflow_executions_to_take
  on public.archon_workflow_executions (priority desc, created_at)
  where status in ('pending', 'running') and wake_at is null and place is distinct from 'awaited';
create index if not exists archon_workflow_executions_by_place
  on public.archon_workflow_executions (place, workflow_template_id, priority desc, created_at, id)
  where place is not null;
create index if not exists archon_workflow_executions_to_wake
  on public.archon_workflow_executions (wake_at) where wake_at is not null;

create index if not exists archon_workflow_step_executions_by_step_index
  on public.archon_workflow_step_executions (workflow_execution_id, step_index);
do $by_status$
begin
  -- Until schema version 4 this was a B-tree.
  if exists (
    select from pg_class as c join pg_am as m on m.oid = c.relam
    where c.oid = to_regclass('public.archon_workflow_step_executions_by_status') and m.amname = 'btree'
  ) then
    drop index public.archon_workflow_step_executions_by_status;
  end if;
end
$by_status$;

-- Every step changes its status. With a BRIN index the new version of its row stays inside its page all the
-- same (since Postgres 16), and no other index is written.
create index if not exists archon_workflow_step_executions_by_status
  on public.archon_workflow_step_executions using brin (status text_bloom_ops);
create index if not exists archon_workflow_step_executions_by_tool_name
  on public.archon_workflow_step_executions (tool_name) where tool_name is not null;

create index if not exists archon_workflow_schedules_by_template
  on public.archon_workflow_schedules (workflow_template_id);
create index if not exists archon_workflow_schedules_to_fire
  on public.archon_workflow_schedules (next_due_at) where not is_paused;


create or replace function public.archon_workflow_schema_version() returns integer
language sql immutable security invoker set search_path = ''
as $$ select 5 $$;

comment on function public.archon_workflow_schema_version() is
  'The version of this schema; the program refuses a database that is newer than itself.';


create or replace function public.archon_workflow_touch() returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  new.updated_at := clock_timestamp();
  return new;
end
$$;

create or replace trigger archon_workflow_templates_updated_at
  before update on public.archon_workflow_templates
  for each row execute function public.archon_workflow_touch();

-- The journal sets updated_at itself, and a lease that is taken or renewed is no news of the execution.
create or replace trigger archon_workflow_executions_updated_at
  before update on public.archon_workflow_executions
  for each row when (
    old.updated_at = new.updated_at and old.lease_expires_at is not distinct from new.lease_expires_at
  )
  execute function public.archon_workflow_touch();

create or replace trigger archon_workflow_step_executions_updated_at
  before update on public.archon_workflow_step_executions
  for each row when (old.updated_at = new.updated_at)
  execute function public.archon_workflow_touch();


create or replace function public.archon_workflow_refuse_change() returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  raise exception using
    errcode = 'AW108',
    message = format('version %s of template %s never changes', old.version_number, old.workflow_template_id),
    hint = 'Save the template: every save is a new version.';
end
$$;

create or replace trigger archon_workflow_template_versions_never_change
  before update on public.archon_workflow_template_versions
  for each row execute function public.archon_workflow_refuse_change();


create or replace function public.archon_workflow_enter_status() returns trigger
language plpgsql security invoker set search_path = ''
as $$
declare
  moment timestamptz := clock_timestamp();
  old_is_final boolean := old.status in ('completed', 'failed', 'cancelled');
begin
  if old.status = 'completed' or (old_is_final and new.status <> 'pending') then
    raise exception using
      errcode = 'AW104',
      message = format('execution %s is %s and cannot become %s', old.id, old.status, new.status),
      hint = 'Only a retry reopens an execution, and only a failed or cancelled one.';
  end if;

  if old.status = 'paused' then
    new.deadline_at := old.deadline_at + (moment - old.paused_at);
    new.paused_at := null;
    new.pause_reason := null;
  end if;

  if old_is_final then
    new.completed_at := null;
    new.deadline_at := null;
    new.output_data := null;
    new.error_message := null;
    new.error_details := null;
  end if;

  if new.status = 'running' then
    new.started_at := coalesce(new.started_at, moment);
    new.deadline_at := coalesce(new.deadline_at, moment + make_interval(secs => new.timeout_seconds));
  elsif new.status = 'paused' then
    new.paused_at := moment;
  elsif new.status in ('completed', 'failed', 'cancelled') then
    new.completed_at := moment;
    new.owner_id := null;
    new.lease_expires_at := null;
    new.wake_at := null;
    new.place := null;
    new.control_requests := '[]';
    if new.status = 'completed' then
      new.progress_percentage := 100;
    end if;
  end if;
  return new;
end
$$;

comment on function public.archon_workflow_enter_status() is
  'What a change of an execution''s status brings with it, whoever makes it.';

create or replace trigger archon_workflow_executions_enter_status
  before update of status on public.archon_workflow_executions
  for each row when (old.status is distinct from new.status)
  execute function public.archon_workflow_enter_status();


create or replace function public.archon_workflow_announce() returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  perform pg_notify('archon_workflows', new.id || case
    when new.completed_at is null and new.owner_id is null
      and coalesce(new.wake_at <= clock_timestamp(), new.status in ('pending', 'running')) then ' free'
    when old.place = 'taken' and new.place is null then ' free'  -- its place is
    else ' changed'
  end);
  if new.completed_at is not null and new.parent_execution_id is not null then
    perform pg_notify('archon_workflows', new.parent_execution_id || ' changed');
  end if;
  return null;
end
$$;

-- Only a new status or a lease that was given back is announced: a notification with every write would halve
-- the throughput. It says whether someone may take something now (free), whether there is a request to act on
-- (asked), or no more than that somebody may want to look (changed).
create or replace trigger archon_workflow_executions_announce
  after update on public.archon_workflow_executions
  for each row when (
    old.status is distinct from new.status or (old.owner_id is not null and new.owner_id is null)
  )
  execute function public.archon_workflow_announce();


create or replace function public.archon_workflow_apply_limit() returns trigger
language plpgsql security invoker set search_path = ''
as $$
declare
  live uuid[];
begin
  if (old.max_concurrent_executions is null) <> (new.max_concurrent_executions is null) then
    live := array(
      select x.id from public.archon_workflow_executions as x
      where x.workflow_template_id = new.id and x.status in ('pending', 'running', 'paused')
    );
    perform public.archon_workflow_lock_executions(live);
    update public.archon_workflow_executions as x
    set place = case
      when new.max_concurrent_executions is null then null
      when x.status = 'pending' and x.owner_id is null then 'awaited'
      else 'taken'
    end
    where x.id = any (live) and x.completed_at is null;
  end if;
  -- Whoever claims next lets in those for whom there is room now.
  perform pg_notify('archon_workflows', new.id || ' free');
  return null;
end
$$;

comment on function public.archon_workflow_apply_limit() is
  'What a new limit of a template means for its executions that have not ended.';

create or replace trigger archon_workflow_templates_limit
  after update of max_concurrent_executions on public.archon_workflow_templates
  for each row when (old.max_concurrent_executions is distinct from new.max_concurrent_executions)
  execute function public.archon_workflow_apply_limit();


create or replace function public.archon_workflow_template_record(template_id uuid) returns jsonb
language sql stable security invoker set search_path = ''
as $$
  select jsonb_build_object(
    'id', t.id, 'name', t.name, 'title', t.title, 'description', t.description, 'version', t.version,
    'status', t.status, 'category', t.category, 'tags', t.tags, 'is_public', t.is_public,
    'created_by', t.created_by, 'document', v.template_snapshot, 'version_id', v.id,
    'version_number', v.version_number, 'created_at', t.created_at, 'updated_at', t.updated_at
  )
  from public.archon_workflow_templates as t
  join public.archon_workflow_template_versions as v
    on v.workflow_template_id = t.id and v.version_number = t.version_number
  where t.id = template_id
$$;

comment on function public.archon_workflow_template_record(uuid) is
  'A template with the document and number of its newest version; null where there is none.';


create or replace function public.archon_workflow_execution_record(execution_id uuid) returns jsonb
language sql stable security invoker set search_path = ''
as $$
  select to_jsonb(x) || jsonb_build_object(
    'workflow_name', t.name, 'version_number', v.version_number, 'version_tag', v.version_tag
  )
  from public.archon_workflow_executions as x
  join public.archon_workflow_templates as t on t.id = x.workflow_template_id
  join public.archon_workflow_template_versions as v on v.id = x.workflow_version_id
  where x.id = execution_id
$$;

comment on function public.archon_workflow_execution_record(uuid) is
  'An execution with the name and number of its pinned version; null where there is none.';


-- The form of schema version 1, which knew no fingerprints.
drop function if exists public.archon_workflow_save_template(
  uuid, uuid, jsonb, text, text, text, boolean, text, integer
);

create or replace function public.archon_workflow_save_template(
  version_id uuid,
  template_id uuid,
  document jsonb,
  version_tag text,
  change_type text,
  change_summary text default null,
  breaking_changes boolean default false,
  created_by text default null,
  expected_version_number integer default null,
  tool_fingerprints jsonb default null
) returns jsonb
language plpgsql volatile security invoker set search_path = ''
as $$
#variable_conflict use_variable
declare
  target uuid := template_id;
  saved_before uuid;
  newest integer;
begin
  if target is not null then
    select t.version_number into newest
    from public.archon_workflow_templates as t where t.id = target for update;
    if not found then
      raise exception using
        errcode = 'AW001',
        message = format('there is no template with the id %s', target),
        hint = 'Save it without template_id to create it.';
    end if;
  end if;

  select v.workflow_template_id into saved_before
  from public.archon_workflow_template_versions as v where v.id = version_id;
  if found then
    return public.archon_workflow_template_record(saved_before);
  end if;

  if expected_version_number is not null and expected_version_number <> coalesce(newest, 0) then
    raise exception using
      errcode = 'AW102',
      message = format(
        'version %s was expected to be the newest, but it is %s', expected_version_number, coalesce(newest, 0)
      ),
      hint = 'Read the template again, apply the change to it, and save with its version number.';
  end if;

  if target is null then
    target := gen_random_uuid();
    insert into public.archon_workflow_templates (
      id, name, title, description, version, version_number, status, category, tags, parameters, outputs,
      steps, timeout_minutes, max_retries, max_concurrent_executions, on_limit, priority, created_by, is_public
    )
    select
      target, d.name, coalesce(d.title, d.name), d.description, version_tag, 1, coalesce(d.status, 'active'),
      d.category, coalesce(d.tags, '[]'), coalesce(d.parameters, '{}'), coalesce(d.outputs, '{}'), d.steps,
      coalesce(d.timeout_minutes, 60), coalesce(d.max_retries, 3), d.max_concurrent_executions,
      coalesce(d.on_limit, 'queue'), coalesce(d.priority, 0), coalesce(created_by, d.created_by),
      coalesce(d.is_public, true)
    from jsonb_populate_record(null::public.archon_workflow_templates, document) as d;
  else
    update public.archon_workflow_templates as t
    set name = d.name,
        title = coalesce(d.title, d.name),
        description = d.description,
        version = version_tag,
        version_number = newest + 1,
        status = coalesce(d.status, 'active'),
        category = d.category,
        tags = coalesce(d.tags, '[]'),
        parameters = coalesce(d.parameters, '{}'),
        outputs = coalesce(d.outputs, '{}'),
        steps = d.steps,
        timeout_minutes = coalesce(d.timeout_minutes, 60),
        max_retries = coalesce(d.max_retries, 3),
        max_concurrent_executions = d.max_concurrent_executions,
        on_limit = coalesce(d.on_limit, 'queue'),
        priority = coalesce(d.priority, 0),
        created_by = coalesce(t.created_by, created_by, d.created_by),
        is_public = coalesce(d.is_public, true)
    from jsonb_populate_record(null::public.archon_workflow_templates, document) as d
    where t.id = target;
  end if;

  insert into public.archon_workflow_template_versions (
    id, workflow_template_id, version_number, version_tag, template_snapshot, change_type, change_summary,
    breaking_changes, created_by, tool_fingerprints
  )
  values (
    version_id, target, coalesce(newest, 0) + 1, version_tag, document, change_type, change_summary,
    coalesce(breaking_changes, false), created_by, coalesce(tool_fingerprints, '{}')
  );
  return public.archon_workflow_template_record(target);
exception when unique_violation then
  -- The same save may have been sent twice at once: then the first one wrote this version.
  select v.workflow_template_id into saved_before
  from public.archon_workflow_template_versions as v where v.id = version_id;
  if found then
    return public.archon_workflow_template_record(saved_before);
  end if;
  raise exception using
    errcode = 'AW101',
    message = format('there is already a template named %L', document ->> 'name'),
    hint = 'Update that template, or choose another name.';
end
$$;

comment on function public.archon_workflow_save_template(
  uuid, uuid, jsonb, text, text, text, boolean, text, integer, jsonb
) is 'Writes a template and its next version; repeating it with the same version_id changes nothing.';


create or replace function public.archon_workflow_delete_template(template_id uuid) returns void
language plpgsql volatile security invoker set search_path = ''
as $$
begin
  delete from public.archon_workflow_templates as t where t.id = template_id;
  if not found then
    raise exception using
      errcode = 'AW001',
      message = format('there is no template with the id %s', template_id),
      hint = 'It may have been deleted before.';
  end if;
exception when foreign_key_violation or restrict_violation then  -- the latter since Postgres 18
  raise exception using
    errcode = 'AW103',
    message = format('template %s has executions', template_id),
    hint = 'Archive it instead: history is never deleted with a template.';
end
$$;

comment on function public.archon_workflow_delete_template(uuid) is
  'Removes a template and its versions, unless it has executions.';


create or replace function public.archon_workflow_lock_template(template_id uuid) returns boolean
language plpgsql volatile security invoker set search_path = ''
as $$
declare
  limit_now integer;
begin
  -- The first lock is what the foreign key takes anyhow. A save, which may bring a limit, waits for either.
  select t.max_concurrent_executions into limit_now
  from public.archon_workflow_templates as t where t.id = template_id for key share;
  if limit_now is not null then
    select t.max_concurrent_executions into limit_now
    from public.archon_workflow_templates as t where t.id = template_id for no key update;
  end if;
  return limit_now is not null;
end
$$;

comment on function public.archon_workflow_lock_template(uuid) is
  'Holds a template''s limit still and says whether there is one; those that create executions of a limited '
  'template wait for each other.';


drop function if exists public.archon_workflow_make_room(uuid, uuid, boolean);

create or replace function public.archon_workflow_make_room(
  template_id uuid,
  may_be_refused boolean
) returns void
language plpgsql volatile security invoker set search_path = ''
as $$
declare
  template record;
  live uuid[];
  oldest uuid;
begin
  select t.name, t.max_concurrent_executions as allowed, t.on_limit into template
  from public.archon_workflow_templates as t where t.id = template_id;
  if template.on_limit = 'queue' then
    return;
  end if;

  live := array(
    select x.id from public.archon_workflow_executions as x
    where x.place is not null and x.workflow_template_id = template_id
      and (template.on_limit = 'reject' or not x.control_requests @> '[{"action": "cancel"}]')
    order by x.created_at desc, x.id desc
  );
  if cardinality(live) < template.allowed then
    return;
  end if;

  if template.on_limit = 'cancel_oldest' then
    live := live[template.allowed:];
    perform public.archon_workflow_lock_executions(live);
    for oldest in
      select x.id from public.archon_workflow_executions as x
      where x.id = any (live) and x.completed_at is null
    loop
      perform public.archon_workflow_request_control(oldest, jsonb_build_object(
        'id', gen_random_uuid(), 'action', 'cancel', 'requested_by', format('limit of %s', template.name),
        'reason', 'a newer execution takes its place'  -- which may be somebody else's
      ));
    end loop;
  elsif may_be_refused then
    raise exception using
      errcode = 'AW109',
      message = format(
        'template %L lets at most %s of its executions run at a time, and %s have not ended: %s%s',
        template.name, template.allowed, cardinality(live), array_to_string(live[:5], ', '),
        case when cardinality(live) > 5 then ', ...' else '' end
      ),
      hint = 'Try again when one of them has ended, or cancel one of them; with on_limit queue an execution '
        'waits for its turn.';
  end if;
end
$$;

comment on function public.archon_workflow_make_room(uuid, boolean) is
  'What a limited, locked template does for an execution more: nothing, refuse it, or cancel the oldest.';


create or replace function public.archon_workflow_admit(template_id uuid) returns void
language plpgsql volatile security invoker set search_path = ''
as $$
declare
  room bigint;
  admitted uuid;
begin
  -- Looked at twice: a template without room, the usual case, is not locked.
  for look in 1..2 loop
    select coalesce(t.max_concurrent_executions, 2147483647) - (
      select count(*) from public.archon_workflow_executions as x
      where x.place = 'taken' and x.workflow_template_id = template_id
    ) into room
    from public.archon_workflow_templates as t where t.id = template_id;
    if coalesce(room, 0) <= 0 then
      return;
    end if;
    if look = 1 then
      perform from public.archon_workflow_templates as t where t.id = template_id for no key update;
    end if;
  end loop;

  for admitted in
    update public.archon_workflow_executions as x
    set place = 'taken'
    where x.id in (
      select w.id from public.archon_workflow_executions as w
      where w.place = 'awaited' and w.workflow_template_id = template_id
        and w.owner_id is null and (w.status = 'pending' or w.wake_at <= clock_timestamp())
      order by w.priority desc, w.created_at, w.id limit room
      for no key update skip locked
    )
    returning x.id
  loop
    perform pg_notify('archon_workflows', admitted || ' free');
  end loop;
end
$$;

comment on function public.archon_workflow_admit(uuid) is
  'Gives the free places of a template to those that await one: by priority, then by age.';


create or replace function public.archon_workflow_queue(execution_id uuid) returns jsonb
language sql stable security invoker set search_path = ''
as $$
  select jsonb_build_object(
    'allowed', t.max_concurrent_executions,
    'ahead', (
      select count(*) from public.archon_workflow_executions as w
      where w.place = 'awaited' and w.workflow_template_id = x.workflow_template_id
        and (-w.priority, w.created_at, w.id) < (-x.priority, x.created_at, x.id)
    ),
    'taken_by', array(
      select h.id from public.archon_workflow_executions as h
      where h.place = 'taken' and h.workflow_template_id = x.workflow_template_id
      order by h.created_at, h.id limit 5
    )
  )
  from public.archon_workflow_executions as x
  join public.archon_workflow_templates as t on t.id = x.workflow_template_id
  where x.id = execution_id and x.place = 'awaited'
$$;

comment on function public.archon_workflow_queue(uuid) is
  'How many executions come before one that awaits a place, and which have the places; null when it awaits none.';


drop function if exists public.archon_workflow_create_execution(jsonb);

create or replace function public.archon_workflow_create_execution(
  execution jsonb,
  taker jsonb default null
) returns jsonb
language plpgsql volatile security invoker set search_path = ''
as $$
declare
  given public.archon_workflow_executions :=
    jsonb_populate_record(null::public.archon_workflow_executions, execution);
  is_limited boolean := public.archon_workflow_lock_template(given.workflow_template_id);
  parent public.archon_workflow_executions;
  template record;
  requests jsonb := '[]';
  known record;
  moment timestamptz;
  row_made jsonb;
  claim jsonb;
begin
  if given.parent_execution_id is not null then
    select * into parent
    from public.archon_workflow_executions as x where x.id = given.parent_execution_id for share;
    if not found then
      raise exception using
        errcode = 'AW003',
        message = format('there is no parent execution with the id %s', given.parent_execution_id),
        hint = 'Create the parent first.';
    end if;
    given.caller := parent.caller;
    -- A child made while its parent is being paused or cancelled is told so too.
    requests := jsonb_path_query_array(
      parent.control_requests,
      '$[*] ? (@.action == "pause" || @.action == "resume" || @.action == "cancel")'
    );
  end if;

  loop
    select x.id, x.workflow_template_id into known
    from public.archon_workflow_executions as x where x.id = given.id;
    if not found and given.idempotency_key is not null then
      select x.id, x.workflow_template_id into known
      from public.archon_workflow_executions as x
      where x.idempotency_key = given.idempotency_key and x.caller is not distinct from given.caller;
    end if;
    if known.workflow_template_id <> given.workflow_template_id then
      raise exception using
        errcode = 'AW105',
        message = format(
          'the idempotency key %L names execution %s of another template', given.idempotency_key, known.id
        ),
        hint = 'Use a new key for each run that is meant to be a new one.';
    elsif known.id is not null then
      if known.id = given.id and taker is not null then
        -- Whoever made it asks again because the answer was lost: what it was given then is given anew.
        update public.archon_workflow_executions as x
        set owner_id = null, lease_expires_at = null
        where x.id = given.id and x.owner_id = taker ->> 'owner_id' and x.journal_sequence = 0;
        claim := public.archon_workflow_claim_for(taker, given.id);
      end if;
      return jsonb_build_object('id', known.id, 'existed', true, 'claim', claim);
    end if;

    if parent.status in ('completed', 'failed', 'cancelled') then
      raise exception using
        errcode = 'AW106',
        message = format('parent execution %s is %s', given.parent_execution_id, parent.status),
        hint = 'An execution that has ended starts no children.';
    end if;
    if given.parent_execution_id is not null and exists (
      select from public.archon_workflow_step_executions as s
      where s.workflow_execution_id = given.parent_execution_id and s.step_path = given.parent_step_path
        and (s.completed_at is not null or s.sub_workflow_execution_id is distinct from given.id)
    ) then
      raise exception using
        errcode = 'AW106',
        message = format(
          'step %s of parent execution %s does not wait for this child',
          given.parent_step_path, given.parent_execution_id
        ),
        hint = 'A step that has ended, or that waits for another child, starts none.';
    end if;
    select t.name as workflow_name, t.priority, t.updated_at, v.version_number, v.version_tag into template
    from public.archon_workflow_template_versions as v
    join public.archon_workflow_templates as t on t.id = v.workflow_template_id
    where v.id = given.workflow_version_id and t.id = given.workflow_template_id;
    if not found then
      raise exception using
        errcode = 'AW002',
        message = format(
          'template %s has no version with the id %s', given.workflow_template_id, given.workflow_version_id
        ),
        hint = 'Read the template again; it may have been deleted.';
    elsif template.updated_at <> (execution ->> 'template_updated_at')::timestamptz then
      raise exception using
        errcode = 'AW110',
        message = format('template %L has changed since it was read', template.workflow_name),
        hint = 'Read the template again and create the execution from that.';
    end if;

    if is_limited then
      perform public.archon_workflow_make_room(given.workflow_template_id, may_be_refused => true);
    end if;

    -- Whoever is to advance it owns it from its first version on, unless it has to wait for a place or has
    -- something to do with its parent first: then it is taken like any other.
    moment := case
      when taker is not null and not is_limited and requests = '[]'
        and not (taker ? 'offered_tools' and exists (
          select from unnest(given.required_tools) as tool where not taker -> 'offered_tools' ? tool
        ))
      then clock_timestamp()
    end;
    insert into public.archon_workflow_executions as x (
      id, workflow_template_id, workflow_version_id, triggered_by, trigger_context, input_parameters,
      execution_context, total_steps, timeout_seconds, idempotency_key, parent_execution_id, parent_step_path,
      root_execution_id, link_depth, caller, control_requests, priority, place, wake_at, required_tools,
      owner_id, lease_expires_at, fencing_token
    )
    values (
      given.id, given.workflow_template_id, given.workflow_version_id, given.triggered_by,
      coalesce(given.trigger_context, '{}'), coalesce(given.input_parameters, '{}'),
      coalesce(given.trigger_context, '{}'), given.total_steps, given.timeout_seconds, given.idempotency_key,
      given.parent_execution_id, given.parent_step_path,
      coalesce(parent.root_execution_id, given.id), coalesce(parent.link_depth + 1, 0), given.caller, requests,
      coalesce(given.priority, greatest(parent.priority, template.priority)),
      case when is_limited then 'awaited' end,
      case when is_limited and requests <> '[]' then clock_timestamp() end,
      coalesce(given.required_tools, '{}'),
      case when moment is not null then taker ->> 'owner_id' end,
      moment + make_interval(secs => (taker ->> 'lease_seconds')::double precision),
      case when moment is null then 0 else 1 end
    )
    on conflict do nothing
    returning case when moment is not null then to_jsonb(x) end into row_made;
    if found then
      if moment is not null then
        claim := jsonb_build_object(
          'execution', row_made || jsonb_build_object(
            'workflow_name', template.workflow_name, 'version_number', template.version_number,
            'version_tag', template.version_tag
          ),
          'fencing_token', 1, 'taken_over', false, 'now', moment
        );
      elsif is_limited then
        perform public.archon_workflow_admit(given.workflow_template_id);
      end if;
      if claim is null and taker is not null then
        claim := public.archon_workflow_claim_for(taker, given.id);
      end if;
      if claim is null then
        perform pg_notify('archon_workflows', given.id || ' free');
      end if;
      return jsonb_build_object('id', given.id, 'existed', false, 'claim', claim);
    end if;
  end loop;
end
$$;

comment on function public.archon_workflow_create_execution(jsonb, jsonb) is
  'Creates a pending execution, or finds the one with its id or its caller''s idempotency key; whoever is to '
  'advance it gets its lease with it.';


create or replace function public.archon_workflow_lock_executions(execution_ids uuid[]) returns void
language sql volatile security invoker set search_path = ''
as $$
  select from public.archon_workflow_executions as x
  where x.id = any (execution_ids)
  order by x.link_depth, x.id
  for no key update
$$;

comment on function public.archon_workflow_lock_executions(uuid[]) is
  'The order in which executions are locked: parents before children, those of one depth by id.';


drop function if exists public.archon_workflow_claim(text, double precision, integer, uuid);

create or replace function public.archon_workflow_claim(
  owner_id text,
  lease_seconds double precision,
  max_count integer default 1,
  execution_id uuid default null,
  offered_tools text[] default null
) returns jsonb
language plpgsql volatile security invoker set search_path = ''
-- Plans are kept for the session: they must not be those that were good while nothing waited.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
#variable_conflict use_variable
declare
  moment timestamptz := clock_timestamp();
  free_ids uuid[];
  claims jsonb;
begin
  -- Ending an execution needs none of its tools: being cancelled, or having run for too long.
  -- An execution that awaits a place is taken only to be cancelled, or to be paused before it starts.
  if execution_id is not null then
    perform public.archon_workflow_admit(x.workflow_template_id)
    from public.archon_workflow_executions as x where x.id = execution_id and x.place = 'awaited';
    free_ids := array(
      select x.id from public.archon_workflow_executions as x
      where x.id = execution_id and x.completed_at is null
        and (x.wake_at <= moment or (x.wake_at is null and x.status <> 'paused'))
        and (x.lease_expires_at is null or x.lease_expires_at <= moment)
        and (x.place is distinct from 'awaited' or x.control_requests @> '[{"action": "cancel"}]'
          or x.control_requests -> -1 ->> 'action' = 'pause')
        and (offered_tools is null or x.required_tools <@ offered_tools
          or x.control_requests @> '[{"action": "cancel"}]' or x.deadline_at <= moment)
      for no key update skip locked
    );
  else
    perform public.archon_workflow_admit(limited.id)
    from (
      -- The templates that some execution waits for, one step in the index for each.
      with recursive awaited as (
        (
          select x.workflow_template_id as id from public.archon_workflow_executions as x
          where x.place = 'awaited' order by x.workflow_template_id limit 1
        )
        union all
        select (
          select x.workflow_template_id from public.archon_workflow_executions as x
          where x.place = 'awaited' and x.workflow_template_id > a.id order by x.workflow_template_id limit 1
        )
        from awaited as a where a.id is not null
      )
      select a.id from awaited as a where a.id is not null
    ) as limited;
    free_ids := array(
      select x.id from public.archon_workflow_executions as x
      where x.wake_at <= moment and (x.lease_expires_at is null or x.lease_expires_at <= moment)
        and (x.place is distinct from 'awaited' or x.control_requests @> '[{"action": "cancel"}]'
          or x.control_requests -> -1 ->> 'action' = 'pause')
        and (offered_tools is null or x.required_tools <@ offered_tools
          or x.control_requests @> '[{"action": "cancel"}]' or x.deadline_at <= moment)
      order by x.wake_at limit max_count
      for no key update skip locked
    );
    free_ids := free_ids || array(
      select x.id from public.archon_workflow_executions as x
      where x.status in ('pending', 'running') and x.wake_at is null and x.place is distinct from 'awaited'
        and (x.lease_expires_at is null or x.lease_expires_at <= moment)
        and (offered_tools is null or x.required_tools <@ offered_tools
          or x.control_requests @> '[{"action": "cancel"}]' or x.deadline_at <= moment)
      order by x.priority desc, x.created_at limit max_count - cardinality(free_ids)
      for no key update skip locked
    );
  end if;

  if free_ids = '{}' then
    return '[]';
  end if;
  with taken as (
    update public.archon_workflow_executions as x
    set owner_id = owner_id,
        lease_expires_at = moment + make_interval(secs => lease_seconds),
        fencing_token = x.fencing_token + 1
    where x.id = any (free_ids)
    returning x.*
  )
  select jsonb_agg(
    jsonb_build_object(
      'execution', to_jsonb(x) || jsonb_build_object(
        'workflow_name', t.name, 'version_number', v.version_number, 'version_tag', v.version_tag
      ),
      'fencing_token', x.fencing_token, 'taken_over', x.status = 'running', 'now', moment
    )
    order by array_position(free_ids, x.id)
  ) into claims
  from taken as x
  join public.archon_workflow_templates as t on t.id = x.workflow_template_id
  join public.archon_workflow_template_versions as v on v.id = x.workflow_version_id;
  return claims;
end
$$;

comment on function public.archon_workflow_claim(text, double precision, integer, uuid, text[]) is
  'Takes executions that nobody owns and that have something to do, for as long as the lease runs.';


create or replace function public.archon_workflow_claim_for(taker jsonb, execution_id uuid) returns jsonb
language sql volatile security invoker set search_path = ''
as $$
  select public.archon_workflow_claim(
    taker ->> 'owner_id', (taker ->> 'lease_seconds')::double precision, 1, execution_id,
    case
      when taker ? 'offered_tools' then array(select jsonb_array_elements_text(taker -> 'offered_tools'))
    end
  ) -> 0
$$;

comment on function public.archon_workflow_claim_for(jsonb, uuid) is
  'Takes one execution for whoever is to advance it; null where that is not possible.';


create or replace function public.archon_workflow_report_worker(
  worker jsonb,
  lifetime_seconds double precision
) returns jsonb
language plpgsql volatile security invoker set search_path = ''
as $$
declare
  moment timestamptz := clock_timestamp();
  given public.archon_workflow_workers := jsonb_populate_record(null::public.archon_workflow_workers, worker);
begin
  insert into public.archon_workflow_workers as old (
    owner_id, kind, offered_tools, has_listed_all, max_executions, created_at, seen_at, expires_at
  )
  values (
    given.owner_id, given.kind, given.offered_tools, given.has_listed_all, given.max_executions, moment, moment,
    moment + make_interval(secs => lifetime_seconds)
  )
  on conflict (owner_id) do update
  set offered_tools = excluded.offered_tools, has_listed_all = excluded.has_listed_all,
      seen_at = excluded.seen_at, expires_at = excluded.expires_at;
  delete from public.archon_workflow_workers as w
  where w.id in (
    select d.id from public.archon_workflow_workers as d
    where d.expires_at < moment - interval '1 hour' for update skip locked
  );
  return coalesce((
    select jsonb_agg(distinct tool)
    from (
      select x.required_tools from public.archon_workflow_executions as x
      where (x.wake_at <= moment or (x.wake_at is null and x.status in ('pending', 'running')))
        and (x.lease_expires_at is null or x.lease_expires_at <= moment)
        and not x.required_tools <@ given.offered_tools
      limit 1000
    ) as free
    cross join unnest(free.required_tools) as tool
    where tool <> all (given.offered_tools)
  ), '[]');
end
$$;

comment on function public.archon_workflow_report_worker(jsonb, double precision) is
  'Notes that a worker lives and what it offers; answers the tools that free executions miss in it.';


create or replace function public.archon_workflow_remove_worker(owner_id text) returns void
language sql volatile security invoker set search_path = ''
as $$
  delete from public.archon_workflow_workers as w where w.owner_id = archon_workflow_remove_worker.owner_id
$$;

comment on function public.archon_workflow_remove_worker(text) is 'Forgets a worker that stops.';


create or replace function public.archon_workflow_prospect(execution_id uuid) returns jsonb
language sql stable security invoker set search_path = ''
as $$
  with execution as (
    select x.required_tools from public.archon_workflow_executions as x where x.id = execution_id
  ), living as (
    select w.offered_tools, w.has_listed_all from public.archon_workflow_workers as w
    where w.expires_at > clock_timestamp()
  )
  select jsonb_build_object(
    'is_free', exists (
      select from public.archon_workflow_executions as x
      where x.id = execution_id and (x.lease_expires_at is null or x.lease_expires_at <= clock_timestamp())
        and x.place is distinct from 'awaited'
        and (x.wake_at <= clock_timestamp() or (x.wake_at is null and x.status in ('pending', 'running')))
    ),
    'workers', (select count(*) from living),
    'fitting', (select count(*) from living as l, execution as e where e.required_tools <@ l.offered_tools),
    'listing', (select count(*) from living as l where not l.has_listed_all),
    'missing_tools', coalesce((
      select jsonb_agg(tool order by tool) from execution as e cross join unnest(e.required_tools) as tool
      where not exists (select from living as l where tool = any (l.offered_tools))
    ), '[]')
  )
$$;

comment on function public.archon_workflow_prospect(uuid) is
  'Whether a living worker offers every tool that an execution needs, and which tools none of them offers.';


create or replace function public.archon_workflow_record(entries jsonb) returns jsonb
language plpgsql volatile security invoker set search_path = ''
-- The plan is kept for the session: it must not be one that was good for a small table.
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
declare
  moment timestamptz := clock_timestamp();
  entry_count integer := jsonb_array_length(entries);
  rounds jsonb[] := array[entries];
  round jsonb;
  answers jsonb := '[]';
  answered jsonb;
  children uuid[];
begin
  if jsonb_path_exists(entries, '$[*].cancelled_children') then
    children := array(
      select c::uuid
      from jsonb_array_elements(entries) as e
      cross join jsonb_array_elements_text(e -> 'cancelled_children') as c
    );
    children := children || array(
      select d from unnest(children) as c cross join unnest(public.archon_workflow_descendants(c)) as d
    );
  end if;
  if entry_count > 1 or children is not null then
    perform public.archon_workflow_lock_executions(
      children || array(select (e ->> 'execution_id')::uuid from jsonb_array_elements(entries) as e)
    );
  end if;
  if entry_count > 1 then
    -- Entries of one execution are written one after the other, those of different ones together.
    if entry_count > (select count(distinct e -> 'execution_id') from jsonb_array_elements(entries) as e) then
      rounds := array(
        select jsonb_agg(numbered.entry)
        from (
          select e.entry, row_number() over (partition by e.entry -> 'execution_id' order by e.place) as turn
          from jsonb_array_elements(entries) with ordinality as e (entry, place)
        ) as numbered
        group by numbered.turn order by numbered.turn
      );
    end if;
  end if;

  foreach round in array rounds loop
    with written_entry as (
      update public.archon_workflow_executions as x
      set status = coalesce(e.status, x.status),
          pause_reason = coalesce(e.pause_reason, x.pause_reason),
          current_step_index = least(
            coalesce(e.current_step_index, x.current_step_index), coalesce(e.total_steps, x.total_steps)
          ),
          total_steps = coalesce(e.total_steps, x.total_steps),
          progress_percentage = least(greatest(x.progress_percentage, e.progress_percentage), 99.99),
          execution_context = coalesce(e.execution_context, x.execution_context),
          output_data = coalesce(e.output_data, x.output_data),
          error_message = coalesce(e.error_message, x.error_message),
          error_details = coalesce(e.error_details, x.error_details),
          workflow_version_id = coalesce(e.workflow_version_id, x.workflow_version_id),
          execution_log = case when e.log is null then x.execution_log else x.execution_log || e.log end,
          log_dropped_count = x.log_dropped_count + coalesce(e.log_dropped, 0),
          control_requests = case
            when e.acknowledged is null then x.control_requests
            else jsonb_path_query_array(
              x.control_requests, '$[*] ? (!(@.id == $done[*]))', jsonb_build_object('done', e.acknowledged)
            )
          end,
          wake_at = case
            -- A request that came while the owner was letting go is for the next owner, at once.
            when e.release is true and x.control_requests <> '[]' and jsonb_path_exists(
              x.control_requests, '$[*] ? (!(@.id == $done[*]))',
              jsonb_build_object('done', coalesce(e.acknowledged, '[]'))
            ) then moment
            when e.release is true or e.status is not null then e.wake_at
            else coalesce(e.wake_at, x.wake_at)
          end,
          owner_id = case when e.release is true then null else x.owner_id end,
          lease_expires_at = case when e.release is true then null else x.lease_expires_at end,
          journal_sequence = e.sequence,
          updated_at = moment
      from jsonb_to_recordset(round) as e (
        execution_id uuid, fencing_token bigint, sequence bigint, release boolean, status text,
        pause_reason text, current_step_index integer, total_steps integer,
        progress_percentage double precision, execution_context jsonb, output_data jsonb, error_message text,
        error_details jsonb, workflow_version_id uuid, wake_at timestamptz, steps jsonb, log jsonb,
        log_dropped integer, acknowledged jsonb, read_back boolean
      )
      where x.id = e.execution_id
        and x.fencing_token = e.fencing_token
        and x.owner_id is not null
        and x.journal_sequence + 1 = e.sequence
      returning x.id, e.sequence, e.steps, x.control_requests, case when e.read_back then (
        select to_jsonb(x) || jsonb_build_object(
          'workflow_name', t.name, 'version_number', v.version_number, 'version_tag', v.version_tag
        )
        from public.archon_workflow_templates as t
        join public.archon_workflow_template_versions as v on v.id = x.workflow_version_id
        where t.id = x.workflow_template_id
      ) end as execution
    ), written_step as (
      insert into public.archon_workflow_step_executions as old (
        id, workflow_execution_id, position, step_path, step_index, step_name, step_type, step_config, status,
        attempt_number, max_attempts, run_number, poll_number, interruptions, generation, wake_at, awaiting,
        input_data, output_data, output_truncated, tool_name, tool_parameters, tool_result,
        sub_workflow_execution_id, context_updates, failure_handled, error_message, error_details, progress,
        updated_at, started_at, completed_at
      )
      select
        -- A hash, not gen_random_uuid(): where Postgres is built without OpenSSL that one opens a file.
        encode(substr(sha256(convert_to(w.id || '/' || s.step_path, 'UTF8')), 1, 16), 'hex')::uuid,
        w.id, w.sequence * 1000000 + s.place, s.step_path, s.step_index, s.step_name, s.step_type,
        s.step_config, s.status, coalesce(s.attempt_number, 1), coalesce(s.max_attempts, 1),
        coalesce(s.run_number, 1), coalesce(s.poll_number, 1), coalesce(s.interruptions, 0),
        coalesce(s.generation, 1), s.wake_at, s.awaiting, s.input_data, s.output_data,
        coalesce(s.output_truncated, false), s.tool_name, s.tool_parameters, s.tool_result,
        s.sub_workflow_execution_id, s.context_updates, coalesce(s.failure_handled, false), s.error_message,
        s.error_details, s.progress, moment,
        case when s.status = 'running' then coalesce(s.started_at, moment) else s.started_at end,
        case when s.status in ('completed', 'failed', 'skipped') then coalesce(s.completed_at, moment) end
      from written_entry as w
      cross join lateral rows from (
        jsonb_to_recordset(w.steps) as (
          step_path text, step_index integer, step_name text, step_type text, step_config jsonb, status text,
          attempt_number integer, max_attempts integer, run_number integer, poll_number integer,
          interruptions integer, generation integer, wake_at timestamptz, awaiting text, input_data jsonb,
          output_data jsonb, output_truncated boolean, tool_name text, tool_parameters jsonb,
          tool_result jsonb, sub_workflow_execution_id uuid, context_updates jsonb, failure_handled boolean,
          error_message text, error_details jsonb, progress jsonb, started_at timestamptz,
          completed_at timestamptz
        )
      ) with ordinality as s (
        step_path, step_index, step_name, step_type, step_config, status, attempt_number, max_attempts,
        run_number, poll_number, interruptions, generation, wake_at, awaiting, input_data, output_data,
        output_truncated, tool_name, tool_parameters, tool_result, sub_workflow_execution_id, context_updates,
        failure_handled, error_message, error_details, progress, started_at, completed_at, place
      )
      on conflict (workflow_execution_id, step_path) do update
      set step_index = excluded.step_index,
          step_name = excluded.step_name,
          step_type = excluded.step_type,
          step_config = excluded.step_config,
          status = excluded.status,
          attempt_number = excluded.attempt_number,
          max_attempts = excluded.max_attempts,
          run_number = excluded.run_number,
          poll_number = excluded.poll_number,
          interruptions = excluded.interruptions,
          generation = excluded.generation,
          wake_at = excluded.wake_at,
          awaiting = excluded.awaiting,
          input_data = excluded.input_data,
          output_data = excluded.output_data,
          output_truncated = excluded.output_truncated,
          tool_name = excluded.tool_name,
          tool_parameters = excluded.tool_parameters,
          tool_result = excluded.tool_result,
          sub_workflow_execution_id = excluded.sub_workflow_execution_id,
          context_updates = excluded.context_updates,
          failure_handled = excluded.failure_handled,
          error_message = excluded.error_message,
          error_details = excluded.error_details,
          progress = excluded.progress,
          updated_at = excluded.updated_at,
          started_at = excluded.started_at,
          completed_at = excluded.completed_at
    )
    select jsonb_agg(jsonb_build_object(
      'execution_id', w.id, 'sequence', w.sequence, 'accepted', true,
      'control_requests', w.control_requests, 'execution', w.execution
    ))
    into answered from written_entry as w;
    if children is not null then
      perform public.archon_workflow_request_control(x.id, jsonb_build_object(
        'id', gen_random_uuid(), 'action', 'cancel', 'requested_by', 'parent execution',
        'reason', 'its step was cancelled'
      ))
      from jsonb_to_recordset(answered) as a (execution_id uuid)
      join jsonb_to_recordset(round) as e (execution_id uuid, cancelled_children jsonb) using (execution_id)
      cross join jsonb_array_elements_text(e.cancelled_children) as c
      join public.archon_workflow_executions as x on x.id = c::uuid
      where x.completed_at is null;
    end if;

    if answered is null or jsonb_array_length(answered) < jsonb_array_length(round) then
      answered := public.archon_workflow_answer(round);
    end if;
    answers := answers || answered;
  end loop;
  return jsonb_build_object('now', clock_timestamp(), 'answers', answers);
end
$$;

comment on function public.archon_workflow_record(jsonb) is
  'Writes journal entries of any number of executions; refuses stale owners, skips what is written already.';


create or replace function public.archon_workflow_answer(entries jsonb) returns jsonb
language plpgsql stable security invoker set search_path = ''
as $$
declare
  gap record;
begin
  select e.execution_id, e.sequence, x.journal_sequence into gap
  from jsonb_to_recordset(entries) as e (execution_id uuid, fencing_token bigint, sequence bigint)
  join public.archon_workflow_executions as x on x.id = e.execution_id
  where x.fencing_token = e.fencing_token and x.owner_id is not null and e.sequence > x.journal_sequence
  limit 1;
  if found then
    raise exception using
      errcode = 'AW107',
      message = format(
        'entry %s of execution %s does not follow entry %s', gap.sequence, gap.execution_id,
        gap.journal_sequence
      ),
      hint = 'Write the entries of an execution in order and without gaps.';
  end if;

  return (
    select jsonb_agg(jsonb_build_object(
      'execution_id', e.execution_id, 'sequence', e.sequence,
      'accepted', coalesce(x.fencing_token = e.fencing_token and e.sequence <= x.journal_sequence, false),
      'control_requests', coalesce(x.control_requests, '[]')
    ))
    from jsonb_to_recordset(entries) as e (execution_id uuid, fencing_token bigint, sequence bigint)
    left join public.archon_workflow_executions as x on x.id = e.execution_id
  );
end
$$;

comment on function public.archon_workflow_answer(jsonb) is
  'What archon_workflow_record answers when not every entry was written just now.';


create or replace function public.archon_workflow_renew(
  held jsonb,
  lease_seconds double precision
) returns jsonb
language plpgsql volatile security invoker set search_path = ''
as $$
declare
  moment timestamptz;
  answers jsonb;
begin
  perform public.archon_workflow_lock_executions(
    array(select (h ->> 'execution_id')::uuid from jsonb_array_elements(held) as h)
  );
  moment := clock_timestamp();
  with renewed as (
    update public.archon_workflow_executions as x
    set lease_expires_at = moment + make_interval(secs => lease_seconds)
    from jsonb_to_recordset(held) as h (execution_id uuid, fencing_token bigint)
    where x.id = h.execution_id and x.fencing_token = h.fencing_token and x.owner_id is not null
    returning x.id, x.fencing_token, x.control_requests
  )
  select jsonb_agg(jsonb_build_object(
    'execution_id', h.execution_id, 'fencing_token', h.fencing_token, 'accepted', r.id is not null,
    'control_requests', coalesce(r.control_requests, '[]')
  ))
  into answers
  from jsonb_to_recordset(held) as h (execution_id uuid, fencing_token bigint)
  left join renewed as r on r.id = h.execution_id and r.fencing_token = h.fencing_token;
  return jsonb_build_object('now', clock_timestamp(), 'answers', coalesce(answers, '[]'));
end
$$;

comment on function public.archon_workflow_renew(jsonb, double precision) is
  'Extends leases that still belong to the caller, even when they ran out and nobody took them.';


create or replace function public.archon_workflow_release(held jsonb) returns void
language plpgsql volatile security invoker set search_path = ''
as $$
begin
  perform public.archon_workflow_lock_executions(
    array(select (h ->> 'execution_id')::uuid from jsonb_array_elements(held) as h)
  );
  update public.archon_workflow_executions as x
  set owner_id = null, lease_expires_at = null
  from jsonb_to_recordset(held) as h (execution_id uuid, fencing_token bigint)
  where x.id = h.execution_id and x.fencing_token = h.fencing_token and x.owner_id is not null;
end
$$;

comment on function public.archon_workflow_release(jsonb) is
  'Gives leases back, so that others take over at once; stale ones are ignored.';


create or replace function public.archon_workflow_descendants(execution_id uuid) returns uuid[]
language sql stable security invoker set search_path = ''
as $$
  with recursive descendant as (
    select x.id from public.archon_workflow_executions as x where x.parent_execution_id = execution_id
    union all
    select x.id from public.archon_workflow_executions as x
    join descendant as d on x.parent_execution_id = d.id
  )
  select coalesce(array_agg(d.id), '{}') from descendant as d
$$;

comment on function public.archon_workflow_descendants(uuid) is 'The children of an execution, and theirs.';


create or replace function public.archon_workflow_count_tree(root_id uuid) returns jsonb
language sql stable security invoker set search_path = ''
as $$
  select jsonb_build_object(
    'steps', count(s.id),
    'calls', coalesce(sum(s.run_number) filter (where s.step_type = 'action' and s.started_at is not null), 0),
    'output_bytes', coalesce(sum(coalesce(pg_column_size(s.tool_result), 0)), 0)
  )
  from public.archon_workflow_executions as x
  join public.archon_workflow_step_executions as s on s.workflow_execution_id = x.id
  where x.root_execution_id = root_id
$$;

comment on function public.archon_workflow_count_tree(uuid) is
  'What the rows of an execution and its descendants add up to.';


create or replace function public.archon_workflow_request_control(
  execution_id uuid,
  request jsonb
) returns jsonb
language plpgsql volatile security invoker set search_path = ''
as $$
#variable_conflict use_variable
declare
  action text := request ->> 'action';
  request_id uuid := (request ->> 'id')::uuid;
  moment timestamptz := clock_timestamp();
  stamped jsonb := jsonb_build_object('requested_at', moment) || request;
  targets uuid[] := array[execution_id];
  found_targets uuid[];
  current record;
  template_id uuid;
  is_limited boolean := false;
  allowed text[] := case action
    when 'pause' then array['pending', 'running']
    when 'resume' then array['paused']
    when 'retry' then array['failed', 'cancelled']
    when 'cancel' then array['pending', 'running', 'paused']
    when 'approve' then array['pending', 'running', 'paused']
    when 'reject' then array['pending', 'running', 'paused']
    when 'resolve' then array['pending', 'running', 'paused']
    else array[]::text[]
  end;
begin
  if action = 'retry' then
    select x.workflow_template_id into template_id
    from public.archon_workflow_executions as x where x.id = execution_id;
    is_limited := public.archon_workflow_lock_template(template_id);
  end if;
  -- A child that appears before the lock is held is found in the next turn; after it none can appear.
  loop
    perform public.archon_workflow_lock_executions(targets);
    exit when execution_id is null or coalesce(action, '') not in ('pause', 'resume', 'cancel');
    found_targets := array[execution_id] || public.archon_workflow_descendants(execution_id);
    exit when found_targets <@ targets;
    targets := found_targets;
  end loop;

  select x.status, x.seen_request_ids, x.error_message, x.parent_execution_id into current
  from public.archon_workflow_executions as x where x.id = execution_id;
  if not found then
    raise exception using
      errcode = 'AW003',
      message = format('there is no execution with the id %s', execution_id),
      hint = 'List the executions to find the one that is meant.';
  end if;
  if request_id = any (current.seen_request_ids) then
    return public.archon_workflow_execution_record(execution_id);
  end if;
  if current.status <> all (allowed) then
    raise exception using
      errcode = 'AW104',
      message = format('execution %s is %s; %s is not possible', execution_id, current.status, action),
      hint = format('%s needs an execution that is %s.', initcap(action), array_to_string(allowed, ' or '));
  end if;

  -- A child is never refused: its parent is retried already and waits for it.
  if is_limited then
    perform public.archon_workflow_make_room(
      template_id, may_be_refused => current.parent_execution_id is null
    );
  end if;

  update public.archon_workflow_executions as x
  set status = case when action = 'retry' then 'pending' else x.status end,
      place = case when is_limited then 'awaited' else x.place end,
      execution_log = case
        when action = 'retry' then x.execution_log || jsonb_build_array(jsonb_build_object(
          'timestamp', moment, 'level', 'warning', 'step_index', null, 'step_name', null,
          'message', format('Reopened by a retry; it was %s', x.status),
          'details', jsonb_strip_nulls(jsonb_build_object(
            'error_message', x.error_message, 'error_details', x.error_details
          ))
        ))
        else x.execution_log
      end,
      control_requests = x.control_requests || stamped,
      seen_request_ids = (array_prepend(request_id, x.seen_request_ids))[:100],
      required_tools = case
        when x.id = execution_id and request ? 'required_tools'
          then array(select jsonb_array_elements_text(request -> 'required_tools'))
        else x.required_tools
      end,
      wake_at = case
        when x.status = 'paused' or x.place = 'awaited' or x.wake_at is not null then moment else x.wake_at
      end
  where x.id = any (targets)
    and (x.id = execution_id or x.completed_at is null)
    and request_id <> all (x.seen_request_ids);

  if is_limited then
    perform public.archon_workflow_admit(template_id);
  end if;
  perform pg_notify('archon_workflows', target || ' asked') from unnest(targets) as target;
  return public.archon_workflow_execution_record(execution_id);
end
$$;

comment on function public.archon_workflow_request_control(uuid, jsonb) is
  'Puts a control request into an execution and, for pause, resume and cancel, into its descendants.';


create or replace function public.archon_workflow_schedule_record(schedule_id uuid) returns jsonb
language sql stable security invoker set search_path = ''
as $$
  select to_jsonb(s) || jsonb_build_object('workflow_name', t.name)
  from public.archon_workflow_schedules as s
  join public.archon_workflow_templates as t on t.id = s.workflow_template_id
  where s.id = schedule_id
$$;

comment on function public.archon_workflow_schedule_record(uuid) is
  'A schedule with the name of its template; null where there is none.';


create or replace function public.archon_workflow_save_schedule(schedule jsonb) returns jsonb
language plpgsql volatile security invoker set search_path = ''
as $$
declare
  given public.archon_workflow_schedules :=
    jsonb_populate_record(null::public.archon_workflow_schedules, schedule);
  saved uuid;
begin
  perform from public.archon_workflow_templates as t where t.id = given.workflow_template_id for key share;
  if not found then
    raise exception using
      errcode = 'AW001',
      message = format('there is no template with the id %s', given.workflow_template_id),
      hint = 'It may have been deleted meanwhile.';
  end if;
  insert into public.archon_workflow_schedules as old (
    name, workflow_template_id, version_tag, cron, time_zone, parameters, priority, on_missed, on_overlap,
    is_paused, created_by, caller, next_due_at
  )
  values (
    given.name, given.workflow_template_id, given.version_tag, given.cron, given.time_zone,
    coalesce(given.parameters, '{}'), given.priority, given.on_missed, given.on_overlap, given.is_paused,
    given.created_by, given.caller, given.next_due_at
  )
  on conflict (name, caller) do update
  set workflow_template_id = excluded.workflow_template_id, version_tag = excluded.version_tag,
      cron = excluded.cron, time_zone = excluded.time_zone, parameters = excluded.parameters,
      priority = excluded.priority, on_missed = excluded.on_missed, on_overlap = excluded.on_overlap,
      is_paused = excluded.is_paused, next_due_at = excluded.next_due_at, updated_at = clock_timestamp()
  returning old.id into saved;
  return public.archon_workflow_schedule_record(saved);
end
$$;

comment on function public.archon_workflow_save_schedule(jsonb) is
  'Writes a schedule, or changes the one that has its name and belongs to its caller.';


create or replace function public.archon_workflow_delete_schedule(schedule_id uuid) returns void
language plpgsql volatile security invoker set search_path = ''
as $$
begin
  delete from public.archon_workflow_schedules as s where s.id = schedule_id;
  if not found then
    raise exception using
      errcode = 'AW004',
      message = format('there is no schedule with the id %s', schedule_id),
      hint = 'It may have been removed before.';
  end if;
end
$$;

comment on function public.archon_workflow_delete_schedule(uuid) is
  'Removes a schedule; the executions that it started stay.';


create or replace function public.archon_workflow_due_schedules(max_count integer) returns jsonb
language sql stable security invoker set search_path = ''
as $$
  select jsonb_build_object(
    'now', clock_timestamp(),
    'due', coalesce((
      select jsonb_agg(public.archon_workflow_schedule_record(d.id) order by d.next_due_at)
      from (
        select s.id, s.next_due_at from public.archon_workflow_schedules as s
        where not s.is_paused and s.next_due_at <= clock_timestamp()
        order by s.next_due_at limit max_count
      ) as d
    ), '[]'),
    'next_due_at', (
      select min(s.next_due_at) from public.archon_workflow_schedules as s
      where not s.is_paused and s.next_due_at > clock_timestamp()
    )
  )
$$;

comment on function public.archon_workflow_due_schedules(integer) is
  'The schedules whose time has come, the time of the next one after them, and the database''s clock.';


create or replace function public.archon_workflow_fire_schedule(firing jsonb) returns jsonb
language plpgsql volatile security invoker set search_path = ''
as $$
declare
  schedule_id uuid := (firing ->> 'schedule_id')::uuid;
  outcome text := firing ->> 'outcome';
  created uuid;
  previous uuid;
  schedule public.archon_workflow_schedules;
begin
  perform public.archon_workflow_lock_template(s.workflow_template_id)
  from public.archon_workflow_schedules as s where s.id = schedule_id;
  select * into schedule
  from public.archon_workflow_schedules as s where s.id = schedule_id for no key update;
  -- Another process was first, or somebody has changed, paused or removed it meanwhile.
  if not found or schedule.is_paused or schedule.next_due_at <> (firing ->> 'expected_due_at')::timestamptz then
    return null;
  end if;

  if outcome = 'started' then
    if schedule.on_overlap <> 'allow' then
      previous := (
        select x.id from public.archon_workflow_executions as x
        where x.id = schedule.last_execution_id and x.completed_at is null
      );
    end if;
    if previous is not null and schedule.on_overlap = 'skip' then
      outcome := 'overlapped';
    else
      created := (public.archon_workflow_create_execution(firing -> 'execution') ->> 'id')::uuid;
    end if;
    if created is not null and previous is not null then
      perform public.archon_workflow_request_control(previous, jsonb_build_object(
        'id', gen_random_uuid(), 'action', 'cancel', 'requested_by', format('schedule:%s', schedule.name),
        'reason', format('the next execution of the schedule takes its place: %s', created)
      ));
    end if;
  end if;

  update public.archon_workflow_schedules as s
  set next_due_at = (firing ->> 'next_due_at')::timestamptz,
      last_due_at = (firing ->> 'due_at')::timestamptz,
      last_outcome = outcome,
      last_execution_id = coalesce(created, s.last_execution_id),
      last_error = case when outcome = 'refused' then firing -> 'error' end,
      started_count = s.started_count + (outcome = 'started')::integer,
      overlapped_count = s.overlapped_count + (outcome = 'overlapped')::integer,
      refused_count = s.refused_count + (outcome = 'refused')::integer,
      missed_count = s.missed_count + (firing ->> 'missed')::integer
  where s.id = schedule_id;
  return jsonb_build_object('outcome', outcome, 'execution_id', created);
end
$$;

comment on function public.archon_workflow_fire_schedule(jsonb) is
  'Starts the execution of a schedule that is due, or notes why not, and sets when it is due next; once only.';


create or replace function public.archon_workflow_vital_signs() returns jsonb
language sql stable security invoker set search_path = ''
as $$
  with tables as (
    select c.relname as name, c.relrowsecurity as is_secured
    from pg_catalog.pg_class as c
    where c.relnamespace = 'public'::regnamespace and c.relname in (
      'archon_workflow_templates', 'archon_workflow_executions',
      'archon_workflow_step_executions', 'archon_workflow_template_versions', 'archon_workflow_workers',
      'archon_workflow_schedules'
    )
  ), functions as (
    select p.oid as id, p.oid::regprocedure::text as signature
    from pg_catalog.pg_proc as p
    where p.pronamespace = 'public'::regnamespace and p.proname like 'archon\_workflow\_%'
      and p.prorettype <> 'trigger'::regtype
  ), policies as (
    select p.policyname as name
    from pg_catalog.pg_policies as p join tables as t on p.schemaname = 'public' and p.tablename = t.name
  )
  select jsonb_build_object(
    'now', clock_timestamp(),
    'server_version', current_setting('server_version'),
    'schema_version', public.archon_workflow_schema_version(),
    'role', current_user,
    'readers', case
      when exists (select from policies where name = 'everyone_reads') then 'everyone'
      when exists (select from policies where name = 'users_read_their_executions') then 'creators'
      else 'nobody'
    end,
    'unsecured_tables', coalesce((select jsonb_agg(name order by name) from tables where not is_secured), '[]'),
    'uncallable_functions', coalesce((
      select jsonb_agg(signature order by signature) from functions
      where not has_function_privilege(id, 'execute')
    ), '[]'),
    'exposed_functions', coalesce((
      select jsonb_agg(signature order by signature) from functions
      where exists (
        select from pg_catalog.pg_roles as r
        where r.rolname in ('anon', 'authenticated') and has_function_privilege(r.oid, id, 'execute')
      )
    ), '[]')
  )
$$;

comment on function public.archon_workflow_vital_signs() is
  'What an operator can learn of the database from outside: clock, versions, role, who reads, what is open.';


do $security$
declare
  table_name text;
  called text;
  called_functions text[] := array[
    'archon_workflow_schema_version()',
    'archon_workflow_template_record(uuid)',
    'archon_workflow_execution_record(uuid)',
    'archon_workflow_save_template(uuid, uuid, jsonb, text, text, text, boolean, text, integer, jsonb)',
    'archon_workflow_delete_template(uuid)',
    'archon_workflow_lock_template(uuid)',
    'archon_workflow_make_room(uuid, boolean)',
    'archon_workflow_admit(uuid)',
    'archon_workflow_queue(uuid)',
    'archon_workflow_create_execution(jsonb, jsonb)',
    'archon_workflow_claim_for(jsonb, uuid)',
    'archon_workflow_lock_executions(uuid[])',
    'archon_workflow_claim(text, double precision, integer, uuid, text[])',
    'archon_workflow_report_worker(jsonb, double precision)',
    'archon_workflow_remove_worker(text)',
    'archon_workflow_prospect(uuid)',
    'archon_workflow_record(jsonb)',
    'archon_workflow_answer(jsonb)',
    'archon_workflow_renew(jsonb, double precision)',
    'archon_workflow_release(jsonb)',
    'archon_workflow_descendants(uuid)',
    'archon_workflow_count_tree(uuid)',
    'archon_workflow_request_control(uuid, jsonb)',
    'archon_workflow_schedule_record(uuid)',
    'archon_workflow_save_schedule(jsonb)',
    'archon_workflow_delete_schedule(uuid)',
    'archon_workflow_due_schedules(integer)',
    'archon_workflow_fire_schedule(jsonb)',
    'archon_workflow_vital_signs()',
    -- By those whose writes the constraints look at.
    'archon_workflow_execution_is_sound(uuid, text, integer, text, text, integer, integer, double '
    'precision, uuid, text, uuid, integer, text, integer, text, bigint, timestamptz, bigint, double '
    'precision, timestamptz, timestamptz, timestamptz, timestamptz)',
    'archon_workflow_step_is_sound(integer, text, text, integer, integer, integer, integer, integer, '
    'integer, text, boolean, text, timestamptz, timestamptz)'
  ];
  trigger_functions text[] := array[
    'archon_workflow_touch()',
    'archon_workflow_refuse_change()',
    'archon_workflow_enter_status()',
    'archon_workflow_announce()',
    'archon_workflow_apply_limit()'
  ];
  -- Supabase's roles, where they exist. Default privileges may have granted them anything, or nothing.
  readers text := (
    select string_agg(quote_ident(rolname), ', ' order by rolname)
    from pg_roles where rolname in ('anon', 'authenticated')
  );
  writer text := (select quote_ident(rolname) from pg_roles where rolname = 'service_role');
  everyone text := concat_ws(', ', 'public', readers, writer);
  -- While add_private_workflows.sql is in force, public read stays closed; its rollback opens it again.
  is_private boolean := exists (
    select from pg_policies
    where schemaname = 'public' and tablename like 'archon\_workflow\_%' and policyname in (
      'anon_reads_public_templates', 'users_read_public_templates_and_their_own',
      'versions_are_read_with_their_template', 'users_read_their_executions',
      'steps_are_read_with_their_execution', 'users_read_their_schedules'
    )
  );
begin
  if concat_ws('', readers, writer) <> '' then
    execute format('grant usage on schema public to %s', concat_ws(', ', readers, writer));
  end if;

  foreach table_name in array array[
    'archon_workflow_templates', 'archon_workflow_executions',
    'archon_workflow_step_executions', 'archon_workflow_template_versions', 'archon_workflow_workers',
    'archon_workflow_schedules'
  ] loop
    execute format('alter table public.%I enable row level security', table_name);
    execute format('alter table public.%I enable trigger user', table_name);
    execute format('revoke all on table public.%I from %s', table_name, everyone);
    execute format('drop policy if exists everyone_reads on public.%I', table_name);
    execute format('drop policy if exists service_role_does_everything on public.%I', table_name);
    if readers is not null then
      execute format('grant select on table public.%I to %s', table_name, readers);
    end if;
    if readers is not null and not is_private then
      execute format(
        'create policy everyone_reads on public.%I for select to %s using (true)', table_name, readers
      );
    end if;
    if writer is not null then
      execute format('grant select, insert, update, delete on table public.%I to %s', table_name, writer);
      execute format(
        'create policy service_role_does_everything on public.%I '
        'for all to %s using (true) with check (true)',
        table_name, writer
      );
    end if;
  end loop;

  foreach called in array called_functions || trigger_functions loop
    execute format('revoke all on function public.%s from %s', called, everyone);
    if writer is not null and called <> all (trigger_functions) then
      execute format('grant execute on function public.%s to %s', called, writer);
    end if;
  end loop;
end
$security$;

notify pgrst, 'reload schema';

commit;
