-- Archon Workflows: private workflows. Each user reads public templates and what is their own.
--
-- add_workflow_system.sql lets everyone read all workflow data. This file, applied after it, replaces that:
--
--   anon           reads templates with is_public and their versions; no execution, no step
--   authenticated  also reads the templates whose created_by is the user's id, and their versions;
--                  executions (with their steps) of their own templates that are not public, whoever
--                  started them; executions of public templates that the user started (triggered_by
--                  or caller);
--                  schedules that the user made (created_by)
--   service_role   reads and writes everything, as before
--
-- A user's id is the text of auth.uid(). Nobody but service_role writes, as before.
--
-- Paste the whole file into the Supabase SQL editor. One transaction, harmless to repeat; running
-- add_workflow_system.sql again keeps it in force. Undo: rollback_private_workflows.sql. Which of the two is
-- in force: validate_workflow_system.sql, or `archon-workflows doctor`.
--
--   AW203 migration_missing       AW204 not_supabase

begin;

set local client_min_messages = warning;
set local lock_timeout = '60s';

do $private$
declare
  table_name text;
begin
  perform pg_advisory_xact_lock(7021783291);

  if to_regclass('public.archon_workflow_schedules') is null then
    raise exception using
      errcode = 'AW203',
      message = 'the workflow tables are missing, or older than this file',
      hint = 'Run add_workflow_system.sql first; nothing was changed.';
  end if;
  if to_regprocedure('auth.uid()') is null or to_regrole('anon') is null or to_regrole('authenticated') is null
  then
    raise exception using
      errcode = 'AW204',
      message = 'the function auth.uid() or the roles anon and authenticated are missing',
      hint = 'Private workflows need Supabase''s roles and users; nothing was changed.';
  end if;

  foreach table_name in array array[
    'archon_workflow_templates', 'archon_workflow_executions',
    'archon_workflow_step_executions', 'archon_workflow_template_versions', 'archon_workflow_workers',
    'archon_workflow_schedules'
  ] loop
    execute format('drop policy if exists everyone_reads on public.%I', table_name);
  end loop;
end
$private$;

drop policy if exists anon_reads_public_templates on public.archon_workflow_templates;
create policy anon_reads_public_templates on public.archon_workflow_templates
  for select to anon
  using (is_public);

drop policy if exists users_read_public_templates_and_their_own on public.archon_workflow_templates;
create policy users_read_public_templates_and_their_own on public.archon_workflow_templates
  for select to authenticated
  using (is_public or created_by = (select auth.uid())::text);

-- The template that is looked up is subject to the reader's own policy above; so is the execution below.
drop policy if exists versions_are_read_with_their_template on public.archon_workflow_template_versions;
create policy versions_are_read_with_their_template on public.archon_workflow_template_versions
  for select to anon, authenticated
  using (exists (
    select from public.archon_workflow_templates as t
    where t.id = archon_workflow_template_versions.workflow_template_id
  ));

drop policy if exists users_read_their_executions on public.archon_workflow_executions;
create policy users_read_their_executions on public.archon_workflow_executions
  for select to authenticated
  using (exists (
    select from public.archon_workflow_templates as t
    where t.id = archon_workflow_executions.workflow_template_id
      and (select auth.uid())::text = any (case
        when t.is_public then array[archon_workflow_executions.triggered_by, archon_workflow_executions.caller]
        else array[t.created_by]
      end)
  ));

drop policy if exists steps_are_read_with_their_execution on public.archon_workflow_step_executions;
create policy steps_are_read_with_their_execution on public.archon_workflow_step_executions
  for select to authenticated
  using (exists (
    select from public.archon_workflow_executions as x
    where x.id = archon_workflow_step_executions.workflow_execution_id
  ));

drop policy if exists users_read_their_schedules on public.archon_workflow_schedules;
create policy users_read_their_schedules on public.archon_workflow_schedules
  for select to authenticated
  using (created_by = (select auth.uid())::text);

commit;
