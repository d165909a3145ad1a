-- What people do with jobs: submit, move, ask, hand out, name, put away, count, delete.

-- Part 1: submit -------------------------------------------------------------------------------------------------------

-- A job of the person who asks, with its row locked.
create function private.own_job(p_job uuid) returns public.training_jobs
    language plpgsql security definer set search_path = '' as $$
declare
    v_job public.training_jobs;
begin
    select j.* into v_job from public.training_jobs j where j.id = p_job and j.user_id = private.person() for update;
    if not found then
        raise sqlstate 'PT404' using message = 'There is no such job (any more).';
    end if;
    return v_job;
end $$;

-- The name of a data set of the person who asks; it cannot be deleted until the end of the transaction.
create function private.own_dataset_name(p_dataset uuid) returns text
    language plpgsql security definer set search_path = '' as $$
declare
    v_name text;
begin
    select d.name into v_name from public.datasets d
    where d.id = p_dataset and d.user_id = private.person() for key share;
    if not found then
        raise sqlstate 'PT404' using message = 'There is no such data set (any more).';
    end if;
    return v_name;
end $$;

-- The checkpoint that a new job is to start from, pinned from now on; its job's row is locked.
create function private.fork_from(p_artifact uuid) returns public.model_artifacts
    language plpgsql security definer set search_path = '' as $$
declare
    v_artifact public.model_artifacts := private.own_artifact(p_artifact);
begin
    if v_artifact.kind <> 'checkpoint' then
        raise sqlstate 'PT422' using message = 'A job starts from a checkpoint.';
    end if;
    update public.model_artifacts a set pinned = true where a.id = p_artifact;
    return v_artifact;
end $$;

-- Inserts a queued job; the same id again gives the stored one.
create function public.submit_job(p_job jsonb) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_person uuid := private.person();
    v_asked record;
    v_dataset_name text;
    v_parent public.model_artifacts;
    v_origin text := '';
    v_job public.training_jobs;
begin
    select * into v_asked from jsonb_to_record(p_job) as asked (
        id uuid, name text, dataset_id uuid, dataset_name text, validation_dataset_id uuid, config jsonb, target text,
        gpus integer, gpu_memory_gb double precision, priority integer, total_steps bigint, created_at timestamptz,
        not_before timestamptz, parent_artifact_id uuid, estimated_seconds double precision
    );
    if v_asked.id is null then
        raise sqlstate 'PT422' using message = 'A job has an id.';
    end if;
    select j.* into v_job from public.training_jobs j where j.id = v_asked.id;
    if not found then
        perform private.check_text(v_asked.name, 'The name', 1, 120);
        perform private.check_text(coalesce(v_asked.dataset_name, ''), 'The data set''s name', 0, 120);
        perform private.check_text(coalesce(v_asked.target, 'local'), 'The target', 1, 100);
        if v_asked.config is null or jsonb_typeof(v_asked.config) <> 'object' then
            raise sqlstate 'PT422' using message = 'A job has a config.';
        end if;
        perform private.check_text(v_asked.config::text, 'The config', 0, 100000);
        if coalesce(v_asked.gpus, 0) not between 0 and 64 or coalesce(v_asked.gpu_memory_gb, 0) not between 0 and 1e6 then
            raise sqlstate 'PT422' using message = 'A job needs 0 to 64 GPUs, and no less than 0 GB of memory on each.';
        end if;
        perform private.check_made_at(v_asked.created_at);
        perform private.check_made_at(v_asked.not_before);
        if v_asked.estimated_seconds not between 0 and 1e9 then
            raise sqlstate 'PT422' using message = 'A job is expected to take some seconds, and no longer than a billion.';
        end if;
        if v_asked.parent_artifact_id is not null then
            v_parent := private.fork_from(v_asked.parent_artifact_id);
            select format('forked from step %s of “%s”', v_parent.step, j.name) into strict v_origin
            from public.training_jobs j where j.id = v_parent.job_id;
        end if;
        v_dataset_name := private.own_dataset_name(v_asked.dataset_id);
        if v_asked.validation_dataset_id is not null then
            perform private.own_dataset_name(v_asked.validation_dataset_id);
        end if;
        perform private.check_quota(v_person, v_asked.id);
        insert into public.training_jobs (
            id, user_id, name, dataset_id, dataset_name, validation_dataset_id, config, target, gpus, gpu_memory_gb,
            priority, total_steps, created_at, not_before, parent_job_id, parent_artifact_id, estimated_seconds
        ) values (
            v_asked.id, v_person, v_asked.name, v_asked.dataset_id,
            coalesce(nullif(v_asked.dataset_name, ''), v_dataset_name), v_asked.validation_dataset_id, v_asked.config,
            coalesce(v_asked.target, 'local'), coalesce(v_asked.gpus, 0), coalesce(v_asked.gpu_memory_gb, 0),
            private.priority_of(v_asked.priority), greatest(coalesce(v_asked.total_steps, 0), 0),
            coalesce(v_asked.created_at, now()), v_asked.not_before, v_parent.job_id, v_parent.id,
            v_asked.estimated_seconds
        )
        on conflict (id) do nothing
        returning * into v_job;
        if found then
            perform private.record_event(v_job, v_person::text, 'submitted', 'queued', v_origin);
        else  -- somebody was faster with this id
            select j.* into strict v_job from public.training_jobs j where j.id = v_asked.id;
        end if;
    end if;
    if v_job.user_id <> v_person then
        raise sqlstate 'PT409' using message = 'There is another job with this id.';
    end if;
    return to_jsonb(v_job);
end $$;

-- Part 2: move and ask -------------------------------------------------------------------------------------------------

-- Makes a transition that needs no runner. The caller holds the row of a job of this person.
create function private.move_own_job(p_job public.training_jobs, p_to text, p_reason text) returns public.training_jobs
    language plpgsql security definer set search_path = '' as $$
begin
    if p_job.status in ('initializing', 'running') then
        raise sqlstate 'PT422' using
            message = format('The job is %s: a runner holds it and has to be asked.', p_job.status);
    elsif p_to is null or p_to not in ('queued', 'paused', 'cancelled') then
        raise sqlstate 'PT422' using message = format('Only a runner can make a job %s.', left(p_to, 20));
    end if;
    perform private.check_text(coalesce(p_reason, ''), 'The reason', 0, 1000);
    perform private.check_move(p_job.status, p_to);
    if p_to = 'queued' then
        perform private.check_quota(p_job.user_id, p_job.id);
        update public.training_jobs set error = '', lost_attempts = 0 where id = p_job.id;
    end if;
    return private.set_status(
        p_job, p_to, p_job.user_id::text, case p_to when 'paused' then 'held' else p_to end, p_reason, ''
    );
end $$;

-- Makes a transition that needs no runner. On the way to queued a checkpoint of the job may be chosen to go on from.
create function public.move_job(p_job uuid, p_to text, p_reason text default '', p_checkpoint uuid default null)
    returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_job public.training_jobs := private.own_job(p_job);
    v_reason text := coalesce(p_reason, '');
    v_step bigint;
begin
    if p_to = 'queued' and v_job.status in ('paused', 'failed', 'cancelled') then
        if p_checkpoint is not null then
            select coalesce(a.step, 0) into v_step from public.model_artifacts a
            where a.id = p_checkpoint and a.job_id = p_job and a.kind = 'checkpoint';
            if not found then
                raise sqlstate 'PT404' using message = 'The job has no such checkpoint (any more).';
            end if;
            perform private.check_text(v_reason, 'The reason', 0, 900);
            v_reason := trim(format('%s (from step %s)', v_reason, v_step));
        end if;
        update public.training_jobs j set archived_at = null, resume_from = p_checkpoint where j.id = p_job
        returning j.* into strict v_job;
    end if;
    return to_jsonb(private.move_own_job(v_job, p_to, v_reason));
end $$;

-- A request may replace a weaker one only: a cancel is not turned into a pause, nor a pause into a checkpoint.
create function private.strength(p_action text) returns integer
    language sql immutable set search_path = '' as $$
    select case p_action when 'checkpoint' then 1 when 'pause' then 2 when 'cancel' then 3 else 0 end;
$$;

-- Asks the runner that holds the job; to cancel a queued job is a move at once.
create function public.request_job(p_job uuid, p_action text, p_request_id text, p_reason text default '') returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_job public.training_jobs := private.own_job(p_job);
begin
    if private.strength(p_action) = 0 then
        raise sqlstate 'PT422' using message = 'A runner can be asked to pause, to cancel or to save a checkpoint.';
    end if;
    if v_job.status = 'queued' and p_action = 'cancel' then
        return to_jsonb(private.move_own_job(v_job, 'cancelled', p_reason));
    elsif v_job.status <> 'running' and (v_job.status <> 'initializing' or p_action = 'checkpoint') then
        raise sqlstate 'PT422' using message = format('The job is %s: there is nothing to %s.', v_job.status, p_action);
    elsif v_job.requested_action = p_action then
        return to_jsonb(v_job);
    elsif private.strength(v_job.requested_action) > private.strength(p_action) then
        raise sqlstate 'PT422' using message = format('The job has already been asked to %s.', v_job.requested_action);
    end if;
    perform private.check_text(p_request_id, 'The id of the request', 1, 100);
    perform private.check_text(coalesce(p_reason, ''), 'The reason', 0, 1000);
    update public.training_jobs j set requested_action = p_action, request_id = p_request_id, updated_at = now()
    where j.id = p_job
    returning j.* into strict v_job;
    if p_action = 'cancel' then
        -- The token of a pod is not revoked with any runner: a pod that does not obey within the hour loses it.
        update private.job_tokens t set expires_at = least(t.expires_at, now() + interval '1 hour')
        where t.job_id = p_job and t.attempt = v_job.attempt and t.registration_id is null;
    end if;
    perform private.record_event(v_job, v_job.user_id::text, 'requested ' || p_action, null, p_reason);
    return to_jsonb(v_job);
end $$;

-- Hands a queued job to a machine that gets nothing but a job token. The attempt waits for the token's holder; the same
-- token again gives the same attempt. The token has an absolute end.
create function public.hand_out_job(p_job uuid, p_token_sha256 text, p_wait_seconds double precision) returns integer
    language plpgsql security definer set search_path = '' as $$
declare
    v_job public.training_jobs := private.own_job(p_job);
    v_token bytea := private.read_sha256(p_token_sha256);
    v_attempt integer;
begin
    select t.attempt into v_attempt from private.job_tokens t
    where t.token_sha256 = v_token and t.job_id = p_job and t.registration_id is null;
    if found then
        return v_attempt;
    elsif v_job.status <> 'queued' then
        raise sqlstate 'PT422' using message = format('The job is %s: only a queued job can be handed out.', v_job.status);
    elsif p_wait_seconds is null or p_wait_seconds not between 1 and 86400 then
        raise sqlstate 'PT422' using message = 'A machine may take between a second and a day to show up.';
    end if;
    perform private.own_dataset_name(v_job.dataset_id);
    if v_job.validation_dataset_id is not null then
        perform private.own_dataset_name(v_job.validation_dataset_id);
    end if;
    if not private.has_its_start(v_job) then
        raise sqlstate 'PT404' using message = 'The checkpoint that this job starts from has been deleted.';
    elsif not private.may_start_another(v_job.user_id) then
        raise sqlstate 'PT422' using
            message = format(
                'As many of your jobs are at work as you may have at the same time: %s.', private.count_at_work(v_job.user_id)
            ),
            hint = 'Wait until one is done, or ask the operator for a higher limit.';
    end if;
    v_job := private.begin_attempt(v_job, '', 'pod', null, p_wait_seconds, v_token, now() + interval '72 hours');
    return v_job.attempt;
end $$;

-- Part 3: name, put away, count, delete --------------------------------------------------------------------------------

create function public.rename_job(p_job uuid, p_name text) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_job public.training_jobs := private.own_job(p_job);
begin
    perform private.check_text(p_name, 'The name', 1, 120);
    perform private.record_event(v_job, v_job.user_id::text, 'renamed', null, format('was “%s”', v_job.name));
    update public.training_jobs j set name = p_name, updated_at = now() where j.id = p_job returning j.* into strict v_job;
    return to_jsonb(v_job);
end $$;

-- Puts an ended job away (lists leave it out), or takes it back.
create function public.archive_job(p_job uuid, p_archived boolean) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_job public.training_jobs := private.own_job(p_job);
begin
    if p_archived and v_job.status not in ('failed', 'cancelled', 'completed') then
        raise sqlstate 'PT422' using message = format('The job is %s: only an ended job can be archived.', v_job.status);
    end if;
    if p_archived <> (v_job.archived_at is not null) then
        perform private.record_event(
            v_job, v_job.user_id::text, case when p_archived then 'archived' else 'unarchived' end, null, ''
        );
        update public.training_jobs j set archived_at = case when p_archived then now() end, updated_at = now()
        where j.id = p_job
        returning j.* into strict v_job;
    end if;
    return to_jsonb(v_job);
end $$;

-- How many jobs are in each state; archived jobs, and states without jobs, are left out.
create function public.job_counts() returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_person uuid := private.person();
begin
    perform private.end_expired(v_person, private.online());
    return (
        select coalesce(jsonb_object_agg(counted.status, counted.jobs), '{}')
        from (
            select j.status, count(*) as jobs from public.training_jobs j
            where j.user_id = v_person and j.archived_at is null group by j.status
        ) counted
    );
end $$;

-- Removes an ended job with its points, logs, attempts and artifact rows; the caller removes the files. The audit trail
-- and the costs stay. A million points take some seconds: the API takes the longer time limit over from the function.
create function public.delete_job(p_job uuid) returns void
    language plpgsql security definer set search_path = '' set statement_timeout = '60s' as $$
declare
    v_job public.training_jobs := private.own_job(p_job);
    v_hours double precision;
begin
    if v_job.status not in ('failed', 'cancelled', 'completed') then
        raise sqlstate 'PT422' using message = format('The job is %s.', v_job.status), hint = 'Cancel it first.';
    end if;
    perform private.record_event(v_job, v_job.user_id::text, 'deleted', null, v_job.name);
    v_hours := private.gpu_hours_of_jobs(v_job.user_id, p_job);
    if v_hours > 0 then
        insert into private.deleted_gpu_hours as d (user_id, month, gpu_hours)
        values (v_job.user_id, private.month_start(), v_hours)
        on conflict (user_id, month) do update set gpu_hours = d.gpu_hours + excluded.gpu_hours;
    end if;
    delete from public.training_jobs where id = p_job;
end $$;

do $$
declare
    name text;
begin
    foreach name in array array[
        'submit_job', 'move_job', 'request_job', 'hand_out_job', 'rename_job', 'archive_job', 'job_counts', 'delete_job'
    ] loop
        perform private.grant_function(name, 'authenticated');
    end loop;
end $$;
