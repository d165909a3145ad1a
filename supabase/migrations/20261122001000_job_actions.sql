-- Archive, earliest start, priority, a chosen checkpoint to go on from, jobs that start from another job's checkpoint, and
-- where a queued job stands. Functions that are replaced here are otherwise as they were.

alter table public.training_jobs
    add column archived_at timestamptz,
    add column not_before timestamptz check (not_before between '1970-01-01Z' and '9000-01-01Z'),
    add column resume_from uuid references public.model_artifacts (id) on delete set null,
    add column parent_job_id uuid,
    add column parent_artifact_id uuid;
create index training_jobs_shown on public.training_jobs (user_id, created_at desc, id desc) where archived_at is null;
create index training_jobs_away on public.training_jobs (user_id, created_at desc, id desc) where archived_at is not null;
create index training_jobs_counted on public.training_jobs (user_id, status) where archived_at is null;
create index training_jobs_resume_from on public.training_jobs (resume_from) where resume_from is not null;

-- Part 1: where an attempt begins ------------------------------------------------------------------------------------

-- The choice holds for as many attempts as it takes to get to a checkpoint: that one is the newest then.
create function private.end_choice() returns trigger
    language plpgsql security definer set search_path = '' as $$
begin
    update public.training_jobs j set resume_from = null
    where j.id = new.job_id and j.resume_from is not null and j.status in ('initializing', 'running');
    return null;
end $$;
create trigger model_artifacts_end_choice after insert on public.model_artifacts
    for each row when (new.kind = 'checkpoint') execute function private.end_choice();

-- The checkpoint of another job from which a fork starts, if it is still there.
create function private.parent_checkpoint(p_job public.training_jobs) returns setof public.model_artifacts
    language sql stable security definer set search_path = '' rows 1 as $$
    select a.* from public.model_artifacts a where a.id = p_job.parent_artifact_id and a.user_id = p_job.user_id;
$$;

-- The chosen checkpoint, else the job's newest, else that of the job it was forked from.
create function private.checkpoint_to_start(p_job public.training_jobs) returns setof public.model_artifacts
    language plpgsql stable security definer set search_path = '' rows 1 as $$
begin
    return query select a.* from public.model_artifacts a where a.id = p_job.resume_from and a.job_id = p_job.id;
    if not found then
        return query select * from private.newest_checkpoint(p_job.id);
        if not found then
            return query select * from private.parent_checkpoint(p_job);
        end if;
    end if;
end $$;

-- Whether a job can start as its person meant it: a fork without its checkpoint would begin from nothing.
create function private.has_its_start(p_job public.training_jobs) returns boolean
    language sql stable security definer set search_path = '' as $$
    select p_job.parent_artifact_id is null or exists (select from private.checkpoint_to_start(p_job));
$$;

create or replace function private.claim_answer(p_job public.training_jobs) returns jsonb
    language sql stable security definer set search_path = '' as $$
    select jsonb_build_object(
        'job', to_jsonb(p_job),
        'attempt', p_job.attempt,
        'dataset', (
            select to_jsonb(d) from public.datasets d where d.id = p_job.dataset_id and d.user_id = p_job.user_id
        ),
        'validation', (
            select to_jsonb(d) from public.datasets d
            where d.id = p_job.validation_dataset_id and d.user_id = p_job.user_id
        ),
        'checkpoint', (select to_jsonb(c) from private.checkpoint_to_start(p_job) c)
    );
$$;

-- Planned for the values at hand: a plan for any scope walks past everybody else's jobs.
create or replace function private.first_in_queue(p_registration public.runner_registrations, p_runner public.runners)
    returns public.training_jobs
    language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_custom_plan' as $$
declare
    v_job public.training_jobs;
begin
    select j.* into v_job from public.training_jobs j
    where j.status = 'queued' and (j.not_before is null or j.not_before <= now())
        and (p_registration.scope = 'team' or j.user_id = p_registration.user_id)
        and j.target in ('local', p_runner.id)
        and (j.gpus = 0 or (j.gpus <= jsonb_array_length(p_runner.gpus) and j.gpu_memory_gb <= p_runner.gpu_memory_gb))
    order by j.priority desc, j.created_at, j.id
    limit 1
    for update skip locked;
    return v_job;
end $$;

create or replace function public.runner_claim(
    p_token text, p_runner jsonb, p_lease_seconds double precision, p_job_token_sha256 text
) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_registration public.runner_registrations := private.registration_of(p_token);
    v_runner public.runners := private.read_runner(p_runner, v_registration);
    v_sha256 bytea := private.read_sha256(p_job_token_sha256);
    v_gone text;
    v_token private.job_tokens;
    v_job public.training_jobs;
begin
    if not v_runner.roles ? 'train' then
        return null;
    end if;
    -- Two calls with one token (the first still under way) come one after the other.
    perform pg_advisory_xact_lock(hashtextextended(encode(v_sha256, 'hex'), 0));
    select t.* into v_token from private.job_tokens t where t.token_sha256 = v_sha256;
    if found then
        return private.claimed_before(v_token, v_registration.id, v_runner.id, p_lease_seconds);
    end if;
    perform private.end_expired();
    for _ in 1 .. 50 loop
        v_job := private.first_in_queue(v_registration, v_runner);
        if v_job.id is null then
            return null;
        elsif not private.has_its_data(v_job) then
            v_gone := 'The data set of this job has been deleted.';
        elsif not private.has_its_start(v_job) then
            v_gone := 'The checkpoint that this job starts from has been deleted.';
        else
            return private.claim_answer(private.begin_attempt(
                v_job, v_runner.id, v_runner.name, v_registration.id, private.runner_lease(p_lease_seconds), v_sha256,
                now() + private.token_life()
            ));
        end if;
        perform private.set_status(v_job, 'failed', 'system', 'failed', v_gone, v_gone);
    end loop;
    return null;
end $$;

create or replace function public.hand_out_job(p_job uuid, p_token_sha256 text, p_wait_seconds double precision) returns integer
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
    end if;
    v_job := private.begin_attempt(v_job, '', 'pod', null, p_wait_seconds, v_token, now() + interval '72 hours');
    return v_job.attempt;
end $$;

-- The row of one of the job's artifacts, of whatever attempt, or of the checkpoint it was forked from.
create or replace function public.job_artifact(p_token text, p_job uuid, p_attempt integer, p_artifact uuid) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_holder private.holder := private.hold_attempt(p_token, p_job, p_attempt);
    v_job public.training_jobs := v_holder.job;
    v_artifact public.model_artifacts;
begin
    perform private.check_holder(v_holder, true);
    select a.* into v_artifact from public.model_artifacts a where a.id = p_artifact and a.job_id = p_job
    union all
    select p.* from private.parent_checkpoint(v_job) p where p.id = p_artifact;
    if not found then
        raise sqlstate 'PT404' using message = 'The job has no such artifact (any more).';
    end if;
    return to_jsonb(v_artifact);
end $$;

-- '<bucket>/<key>' of every file, outside of the job's own folder, that the token may read.
create or replace function file_access.readable_files() returns text[]
    language sql stable security definer set search_path = '' as $$
    select array(
        select d.storage_bucket || '/' || d.storage_path
        from private.job_of_header(false) j
        join public.datasets d on d.user_id = j.user_id and d.id in (j.dataset_id, j.validation_dataset_id)
        union all
        select d.storage_bucket || '/' || d.storage_path from private.task_dataset_of_header() d
        union all
        select file_access.issues_file()
        union all  -- of another job: exactly the files of the checkpoint that this one was forked from
        select a.bucket || '/' || a.path || '/' || (f.value ->> 'name')
        from private.job_of_header(false) j
        join public.model_artifacts a on a.id = j.parent_artifact_id and a.user_id = j.user_id
        cross join jsonb_array_elements(a.files) f (value)
    );
$$;

-- Part 2: what people do ---------------------------------------------------------------------------------------------

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
create or replace function public.submit_job(p_job jsonb) returns jsonb
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
        not_before timestamptz, parent_artifact_id uuid
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
            priority, total_steps, created_at, not_before, parent_job_id, parent_artifact_id
        ) values (
            v_asked.id, v_person, v_asked.name, v_asked.dataset_id,
            coalesce(nullif(v_asked.dataset_name, ''), v_dataset_name), v_asked.validation_dataset_id, v_asked.config,
            coalesce(v_asked.target, 'local'), coalesce(v_asked.gpus, 0), coalesce(v_asked.gpu_memory_gb, 0),
            private.priority_of(v_asked.priority), greatest(coalesce(v_asked.total_steps, 0), 0),
            coalesce(v_asked.created_at, now()), v_asked.not_before, v_parent.job_id, v_parent.id
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

drop function public.move_job(uuid, text, text);

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

-- A job of the person who asks that no runner has taken, with its row locked.
create function private.own_waiting_job(p_job uuid) returns public.training_jobs
    language plpgsql security definer set search_path = '' as $$
declare
    v_job public.training_jobs := private.own_job(p_job);
begin
    if v_job.status not in ('queued', 'paused') then
        raise sqlstate 'PT422' using
            message = format('The job is %s: it does not wait in the queue any more.', v_job.status);
    end if;
    return v_job;
end $$;

create function public.prioritise_job(p_job uuid, p_priority integer) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_job public.training_jobs;
begin
    if p_priority is null or p_priority not between -100 and 100 then
        raise sqlstate 'PT422' using message = 'A priority is between -100 and 100.';
    end if;
    v_job := private.own_waiting_job(p_job);
    if v_job.priority <> p_priority then
        perform private.record_event(
            v_job, v_job.user_id::text, 'priority changed', null, format('%s to %s', v_job.priority, p_priority)
        );
        update public.training_jobs j set priority = p_priority, updated_at = now() where j.id = p_job
        returning j.* into strict v_job;
    end if;
    return to_jsonb(v_job);
end $$;

-- Lets no runner take a waiting job before this time; null lets it start at once.
create function public.start_job_after(p_job uuid, p_moment timestamptz) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_job public.training_jobs;
begin
    perform private.check_made_at(p_moment);
    v_job := private.own_waiting_job(p_job);
    if v_job.not_before is distinct from p_moment then
        perform private.record_event(
            v_job, v_job.user_id::text, 'start changed', null, coalesce(
                'not before ' || to_char(p_moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'at once'
            )
        );
        update public.training_jobs j set not_before = p_moment, updated_at = now() where j.id = p_job
        returning j.* into strict v_job;
    end if;
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
create or replace function public.job_counts() returns jsonb
    language sql stable security definer set search_path = '' as $$
    select coalesce(jsonb_object_agg(counted.status, counted.jobs), '{}')
    from (
        select j.status, count(*) as jobs from public.training_jobs j
        where j.user_id = (select private.person()) and j.archived_at is null group by j.status  -- asked once a query, not once a row
    ) counted;
$$;

-- Where a queued job stands: how many go before it, and what it waits for. Null for a job that is not queued. Jobs of others
-- count where a shared runner may take them first; nothing of them is told but their number.
create function public.queue_place(p_job uuid) returns jsonb
    language plpgsql stable security definer set search_path = '' as $$
declare
    v_person uuid := private.person();
    v_job public.training_jobs;
    v_found record;
    v_waits boolean;
begin
    select j.* into v_job from public.training_jobs j where j.id = p_job and j.user_id = v_person;
    if not found then
        raise sqlstate 'PT404' using message = 'There is no such job (any more).';
    elsif v_job.status <> 'queued' then
        return null;
    end if;
    with online as materialized (
        select r.id, r.user_id, r.scope, r.state, jsonb_array_length(r.gpus) as gpus, r.gpu_memory_gb
        from public.runners r
        join public.runner_registrations g on g.id = r.registration_id and g.revoked_at is null
        where (r.user_id = v_person or r.scope = 'team') and r.seen_at > now() - interval '30 seconds'
            and r.roles ? 'train' and v_job.target in ('local', r.id)
    ), able as materialized (
        select o.* from online o
        where v_job.gpus = 0 or (o.gpus >= v_job.gpus and o.gpu_memory_gb >= v_job.gpu_memory_gb)
    )
    select
        (select count(*) from online) as online,
        (select count(*) from able) as able,
        (select count(*) from able b where b.state = 'idle') as idle,
        (
            select count(*) from public.training_jobs j
            where j.status = 'queued' and (j.not_before is null or j.not_before <= now())
                and (j.priority > v_job.priority
                    or (j.priority = v_job.priority and (j.created_at, j.id) < (v_job.created_at, v_job.id)))
                and exists (
                    select from able b
                    where j.target in ('local', b.id) and (b.scope = 'team' or j.user_id = b.user_id)
                        and (j.gpus = 0 or (j.gpus <= b.gpus and j.gpu_memory_gb <= b.gpu_memory_gb))
                )
        ) as ahead
    into v_found;
    v_waits := coalesce(v_job.not_before > now(), false);
    return jsonb_build_object(
        'position', v_found.ahead,
        'until', case when v_waits then v_job.not_before end,
        'reason', case
            when v_waits then 'not_before'
            when v_found.online = 0 then 'no_runner'
            when v_found.able = 0 then 'too_small'
            when v_found.idle > 0 and v_found.ahead = 0 then 'next'
            else 'busy'
        end
    );
end $$;

create or replace function public.studio_about() returns jsonb
    language sql stable security definer set search_path = '' as $$
    select jsonb_build_object(
        'version', '20261122001000',
        'now', now(),
        -- null: the bucket has no limit of its own, the project's holds.
        'max_object_bytes', (
            select coalesce(jsonb_object_agg(b.id, b.file_size_limit), '{}'::jsonb)
            from storage.buckets b
            where b.id in ('lora-datasets', 'training-files', 'model-artifacts')
        )
    )
$$;

do $$
declare
    name text;
begin
    foreach name in array array['move_job', 'prioritise_job', 'start_job_after', 'archive_job', 'queue_place'] loop
        perform private.grant_function(name, 'authenticated');
    end loop;
end $$;
revoke all on all functions in schema private from public, anon, authenticated;
