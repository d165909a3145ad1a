-- What people do about the queue, and what they see of it: priority, earliest start, the place of a job, work in hand, and what
-- runners have left behind.

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

-- Lets no runner take a waiting job before this time; null lets it start at once, the next try included.
create function public.start_job_after(p_job uuid, p_moment timestamptz) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_job public.training_jobs;
begin
    perform private.check_made_at(p_moment);
    v_job := private.own_waiting_job(p_job);
    if v_job.not_before is distinct from p_moment or (p_moment is null and v_job.retry_at is not null) then
        perform private.record_event(
            v_job, v_job.user_id::text, 'start changed', null, coalesce(
                'not before ' || to_char(p_moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'at once'
            )
        );
        update public.training_jobs j set
            not_before = p_moment, retry_at = case when p_moment is not null then j.retry_at end, updated_at = now()
        where j.id = p_job
        returning j.* into strict v_job;
    end if;
    return to_jsonb(v_job);
end $$;

-- How long a job is likely to go on, or to take from its start on; null where nobody knows.
create function private.seconds_left(p_job public.training_jobs) returns double precision
    language sql immutable set search_path = '' as $$
    select coalesce(p_job.remaining_seconds, case
        when p_job.estimated_seconds > p_job.elapsed_seconds then p_job.estimated_seconds - p_job.elapsed_seconds
    end);
$$;

-- All that the place of a queued job follows from (lora_core/store/forecast.py): runners that are online with their slots, and
-- the jobs before it. Null for a job that is not queued. Jobs of others count where a shared runner takes them first; nothing
-- is told of them but how long they are likely to take.
create function public.queue_place(p_job uuid) returns jsonb
    language plpgsql stable security definer set search_path = '' as $$
declare
    v_person uuid := private.person();
    v_full uuid[] := array_remove(private.at_their_limit(), v_person);
    v_limit integer := (select q.running_jobs from public.quotas q where q.user_id = v_person);
    v_job public.training_jobs;
    v_found jsonb;
begin
    select j.* into v_job from public.training_jobs j where j.id = p_job and j.user_id = v_person;
    if not found then
        raise sqlstate 'PT404' using message = 'There is no such job (any more).';
    elsif v_job.status <> 'queued' then
        return null;
    end if;
    with online as materialized (
        select r.id, r.user_id, r.scope, r.slots, jsonb_array_length(r.gpus) as gpus, r.gpu_memory_gb,
            row_number() over (order by r.id) - 1 as place,
            v_job.target in ('local', r.id) as wanted,
            v_job.target in ('local', r.id) and (
                v_job.gpus = 0 or (v_job.gpus <= jsonb_array_length(r.gpus) and v_job.gpu_memory_gb <= r.gpu_memory_gb)
            ) as able
        from public.runners r
        join public.runner_registrations g on g.id = r.registration_id and g.revoked_at is null
        where (r.user_id = v_person or r.scope = 'team') and r.seen_at > now() - private.online() and r.roles ? 'train'
    ), ahead as materialized (
        select j.id, row_number() over (order by j.priority desc, j.created_at, j.id) as number
        from public.training_jobs j
        where j.status = 'queued' and coalesce(j.not_before <= now(), true) and coalesce(j.retry_at <= now(), true)
            and j.user_id <> all (v_full)
            and (j.priority > v_job.priority
                or (j.priority = v_job.priority and (j.created_at, j.id) < (v_job.created_at, v_job.id)))
            and exists (
                select from online o
                where o.able and (o.scope = 'team' or o.user_id = j.user_id) and j.target in ('local', o.id)
                    and (j.gpus = 0 or (j.gpus <= o.gpus and j.gpu_memory_gb <= o.gpu_memory_gb))
            )
    )
    select jsonb_build_object(
        'online', (
            select coalesce(jsonb_agg(jsonb_build_object('limit', o.slots, 'held', (
                select coalesce(jsonb_agg(private.seconds_left(j)), '[]')
                from public.job_attempts a join public.training_jobs j on j.id = a.job_id
                where a.runner_id = o.id and a.ended_at is null
            )) order by o.place), '[]')
            from online o
        ),
        'wanted', (select count(*) from online o where o.wanted),
        'runners', (select coalesce(jsonb_agg(o.place order by o.place), '[]') from online o where o.able),
        'position', (select count(*) from ahead),
        'ahead', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'seconds', private.seconds_left(j), 'mine', j.user_id = v_person, 'runners', (
                    select jsonb_agg(o.place order by o.place)
                    from online o
                    where (o.scope = 'team' or o.user_id = j.user_id) and j.target in ('local', o.id)
                        and (j.gpus = 0 or (j.gpus <= o.gpus and j.gpu_memory_gb <= o.gpu_memory_gb))
                )
            ) order by a.number), '[]')
            from ahead a join public.training_jobs j on j.id = a.id where a.number <= 300
        )
    ) into strict v_found;
    return v_found || jsonb_build_object(
        'now', now(), 'not_before', v_job.not_before, 'retry_at', v_job.retry_at,
        'quota', case when v_limit is not null then jsonb_build_object('limit', v_limit, 'held', (
            select coalesce(jsonb_agg(private.seconds_left(j)), '[]') from public.training_jobs j
            where j.user_id = v_person and j.status in ('initializing', 'running')
        )) end
    );
end $$;

-- What runners hold of the person's jobs now, the newest attempt first (at most 200).
create function public.jobs_at_work() returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_person uuid := private.person();
begin
    perform private.end_expired(v_person, private.online());
    return (
        select coalesce(jsonb_agg(held.work order by held.started_at desc, held.id), '[]')
        from (
            select j.id, a.started_at, jsonb_build_object(
                'job', to_jsonb(j), 'runner_id', a.runner_id, 'runner_name', a.runner_name, 'attempt', a.number,
                'since', a.started_at
            ) as work
            from public.training_jobs j join public.job_attempts a on a.job_id = j.id and a.number = j.attempt
            where j.user_id = v_person and j.status in ('initializing', 'running')
            order by a.started_at desc, j.id limit 200
        ) held
    );
end $$;

-- Ends the person's attempts whose runner is gone and that no claim of another runner has ended. Says how many there were.
create function public.end_lost_attempts() returns integer
    language plpgsql security definer set search_path = '' as $$
begin
    return private.end_expired(private.person(), private.online());
end $$;

do $$
declare
    name text;
begin
    foreach name in array array[
        'prioritise_job', 'start_job_after', 'queue_place', 'jobs_at_work', 'end_lost_attempts'
    ] loop
        perform private.grant_function(name, 'authenticated');
    end loop;
end $$;
