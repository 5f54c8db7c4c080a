-- Archon Workflows: takes add_private_workflows.sql back. ALL WORKFLOW DATA BECOMES READABLE FOR EVERYONE again.
--
-- It removes the policies of private workflows and restores those of add_workflow_system.sql; no data change.
-- One transaction, harmless to repeat.

begin;

set local client_min_messages = warning;
set local lock_timeout = '60s';

do $public$
declare
  table_name text;
  readers text := (
    select string_agg(quote_ident(rolname), ', ' order by rolname)
    from pg_roles where rolname in ('anon', 'authenticated')
  );
begin
  perform pg_advisory_xact_lock(7021783291);

  if to_regclass('public.archon_workflow_executions') is null then
    return;  -- the tables are gone, and their policies with them
  end if;

  drop policy if exists anon_reads_public_templates on public.archon_workflow_templates;
  drop policy if exists users_read_public_templates_and_their_own on public.archon_workflow_templates;
  drop policy if exists versions_are_read_with_their_template on public.archon_workflow_template_versions;
  drop policy if exists users_read_their_executions on public.archon_workflow_executions;
  drop policy if exists steps_are_read_with_their_execution on public.archon_workflow_step_executions;
  if to_regclass('public.archon_workflow_schedules') is not null then
    drop policy if exists users_read_their_schedules on public.archon_workflow_schedules;
  end if;

  foreach table_name in array array[
    'archon_workflow_templates', 'archon_workflow_executions',
    'archon_workflow_step_executions', 'archon_workflow_template_versions', 'archon_workflow_workers',
    'archon_workflow_schedules'
  ] loop
    continue when to_regclass('public.' || table_name) is null;  -- an older schema
    execute format('drop policy if exists everyone_reads on public.%I', table_name);
    if readers is not null then
      execute format(
        'create policy everyone_reads on public.%I for select to %s using (true)', table_name, readers
      );
    end if;
  end loop;
end
$public$;

commit;
