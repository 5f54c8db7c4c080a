-- What happened, in order: every write to executions and steps, with the server's clock and the writer's name.
-- Only databases of chaos runs have it; the product knows nothing of it.

-- An API's sessions are everybody's; there a header says who writes.
create function chaos_writer() returns text language sql stable as $$
  select coalesce(
    nullif(current_setting('request.headers', true), '')::jsonb ->> 'x-chaos-writer',
    current_setting('application_name')
  )
$$;

create table chaos_execution_history (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  writer text not null default chaos_writer(),
  execution_id uuid not null,
  status text not null,
  old_status text,
  owner_id text,
  old_owner_id text,
  fencing_token bigint not null,
  old_fencing_token bigint,
  lease_expires_at timestamptz,
  old_lease_expires_at timestamptz,
  journal_sequence bigint not null,
  old_journal_sequence bigint,
  progress_percentage double precision not null,
  log_length integer not null,
  log_dropped_count integer not null,
  log_only_grew boolean not null,
  workflow_version_id uuid not null
);

create table chaos_step_history (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  writer text not null default chaos_writer(),
  execution_id uuid not null,
  step_path text not null,
  status text not null,
  old_status text,
  attempt_number integer not null,
  max_attempts integer not null,
  run_number integer not null,
  poll_number integer not null,
  interruptions integer not null,
  generation integer not null,
  has_error boolean not null,
  sub_workflow_execution_id uuid
);

create function chaos_note_execution() returns trigger language plpgsql security definer set search_path = public as $$
declare
  before public.archon_workflow_executions;
  kept integer := 0;
begin
  if tg_op = 'UPDATE' then
    before := old;
    kept := jsonb_array_length(old.execution_log);
  end if;
  insert into chaos_execution_history (
    execution_id, status, old_status, owner_id, old_owner_id, fencing_token, old_fencing_token,
    lease_expires_at, old_lease_expires_at, journal_sequence, old_journal_sequence, progress_percentage,
    log_length, log_dropped_count, log_only_grew, workflow_version_id
  )
  values (
    new.id, new.status, before.status, new.owner_id, before.owner_id, new.fencing_token,
    before.fencing_token, new.lease_expires_at, before.lease_expires_at, new.journal_sequence,
    before.journal_sequence, new.progress_percentage, jsonb_array_length(new.execution_log),
    new.log_dropped_count,
    kept = 0 or new.execution_log = old.execution_log
      or jsonb_path_query_array(new.execution_log, format('$[0 to %s]', kept - 1)::jsonpath) = old.execution_log,
    new.workflow_version_id
  );
  return null;
end
$$;

create function chaos_note_step() returns trigger language plpgsql security definer set search_path = public as $$
declare
  before public.archon_workflow_step_executions;
begin
  if tg_op = 'UPDATE' then
    before := old;
  end if;
  insert into chaos_step_history (
    execution_id, step_path, status, old_status, attempt_number, max_attempts, run_number, poll_number,
    interruptions, generation, has_error, sub_workflow_execution_id
  )
  values (
    new.workflow_execution_id, new.step_path, new.status, before.status, new.attempt_number,
    new.max_attempts, new.run_number, new.poll_number, new.interruptions, new.generation,
    new.error_message is not null, new.sub_workflow_execution_id
  );
  return null;
end
$$;

create trigger chaos_notes after insert or update on archon_workflow_executions
  for each row execute function chaos_note_execution();
create trigger chaos_notes after insert or update on archon_workflow_step_executions
  for each row execute function chaos_note_step();
