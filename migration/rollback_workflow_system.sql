-- Archon Workflows: removes exactly what add_workflow_system.sql made, WITH ALL WORKFLOW DATA.
--
-- Templates, versions, schedules, executions and steps are gone afterwards. One transaction, harmless to repeat.

begin;

set local client_min_messages = warning;
set local lock_timeout = '60s';

do $preflight$
declare
  found_version integer;
begin
  perform pg_advisory_xact_lock(7021783291);
  if to_regprocedure('public.archon_workflow_schema_version()') is not null then
    execute 'select public.archon_workflow_schema_version()' into found_version;
    if found_version > 5 then
      raise exception using
        errcode = 'AW201',
        message = format('the database has schema version %s, this file removes version 5', found_version),
        hint = 'Use the file of the newer program; nothing was changed.';
    end if;
  end if;
end
$preflight$;

drop table if exists
  public.archon_workflow_schedules,
  public.archon_workflow_workers,
  public.archon_workflow_step_executions,
  public.archon_workflow_executions,
  public.archon_workflow_template_versions,
  public.archon_workflow_templates;

-- PgQueuer's tables, which workers make.
drop schema if exists archon_workflow_dispatch cascade;

drop function if exists
  public.archon_workflow_schema_version(),
  public.archon_workflow_template_record(uuid),
  public.archon_workflow_execution_record(uuid),
  public.archon_workflow_save_template(uuid, uuid, jsonb, text, text, text, boolean, text, integer),
  public.archon_workflow_save_template(uuid, uuid, jsonb, text, text, text, boolean, text, integer, jsonb),
  public.archon_workflow_delete_template(uuid),
  public.archon_workflow_lock_template(uuid),
  public.archon_workflow_make_room(uuid, uuid, boolean),
  public.archon_workflow_make_room(uuid, boolean),
  public.archon_workflow_admit(uuid),
  public.archon_workflow_queue(uuid),
  public.archon_workflow_create_execution(jsonb),
  public.archon_workflow_create_execution(jsonb, jsonb),
  public.archon_workflow_claim_for(jsonb, uuid),
  public.archon_workflow_lock_executions(uuid[]),
  public.archon_workflow_claim(text, double precision, integer, uuid, text[]),
  public.archon_workflow_claim(text, double precision, integer, uuid),
  public.archon_workflow_report_worker(jsonb, double precision),
  public.archon_workflow_remove_worker(text),
  public.archon_workflow_prospect(uuid),
  public.archon_workflow_record(jsonb),
  public.archon_workflow_answer(jsonb),
  public.archon_workflow_renew(jsonb, double precision),
  public.archon_workflow_release(jsonb),
  public.archon_workflow_descendants(uuid),
  public.archon_workflow_count_tree(uuid),
  public.archon_workflow_request_control(uuid, jsonb),
  public.archon_workflow_schedule_record(uuid),
  public.archon_workflow_save_schedule(jsonb),
  public.archon_workflow_delete_schedule(uuid),
  public.archon_workflow_due_schedules(integer),
  public.archon_workflow_fire_schedule(jsonb),
  public.archon_workflow_vital_signs(),
  public.archon_workflow_touch(),
  public.archon_workflow_refuse_change(),
  public.archon_workflow_enter_status(),
  public.archon_workflow_announce(),
  public.archon_workflow_apply_limit(),
  public.archon_workflow_execution_is_sound(uuid, text, integer, text, text, integer, integer, double
    precision, uuid, text, uuid, integer, text, integer, text, bigint, timestamptz, bigint, double
    precision, timestamptz, timestamptz, timestamptz, timestamptz),
  public.archon_workflow_step_is_sound(integer, text, text, integer, integer, integer, integer, integer,
    integer, text, boolean, text, timestamptz, timestamptz);

notify pgrst, 'reload schema';

commit;
