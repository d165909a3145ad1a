-- What runners do with jobs: announce themselves, claim, take, renew, end. The token is the credential, so all of it is for
-- anon. Semantics are those of lora_core/store/local/runner_port.py.
--
-- Every function finds its token by one unique index before it does anything else, and locks the job's row before it
-- decides: whatever else happens to the job waits, or came first.

-- Part 1: runners and claims -------------------------------------------------------------------------------------------

-- A runner as it describes itself, as a row of its registration (which is empty for a pod).
create function private.read_runner(p_runner jsonb, p_registration public.runner_registrations) returns public.runners
    language plpgsql stable security definer set search_path = '' as $$
declare
    v_runner public.runners;
    v_fault text;
begin
    if p_runner is null or jsonb_typeof(p_runner) <> 'object' or pg_column_size(p_runner) > 20000 then
        raise sqlstate 'PT422' using message = 'A runner describes itself in a short document.';
    end if;
    begin
        select asked.* into v_runner.id, v_runner.name, v_runner.version, v_runner.roles, v_runner.cpus,
            v_runner.memory_gb, v_runner.gpus, v_runner.gpu_memory_gb, v_runner.state, v_runner.slots, v_runner.started_at
        from jsonb_to_record(p_runner) as asked (
            id text, name text, version text, roles jsonb, cpus integer, memory_gb double precision, gpus jsonb,
            gpu_memory_gb double precision, state text, slots integer, started_at timestamptz
        );
    exception when data_exception then
        raise sqlstate 'PT422' using message = format('The runner''s description cannot be read (%s).', left(sqlerrm, 300));
    end;
    perform private.check_text(v_runner.id, 'The runner''s id', 1, 100);
    perform private.check_text(v_runner.name, 'The runner''s name', 1, 200);
    perform private.check_text(coalesce(v_runner.version, ''), 'The runner''s version', 0, 100);
    perform private.check_text(coalesce(v_runner.state, ''), 'The runner''s state', 0, 100);
    v_runner.version := coalesce(v_runner.version, '');
    v_runner.state := coalesce(v_runner.state, 'idle');
    v_runner.roles := coalesce(v_runner.roles, '["train"]');
    v_runner.gpus := coalesce(v_runner.gpus, '[]');
    v_runner.cpus := coalesce(v_runner.cpus, 1);
    v_runner.slots := coalesce(v_runner.slots, 1);
    v_runner.memory_gb := coalesce(v_runner.memory_gb, 0);
    v_runner.gpu_memory_gb := coalesce(v_runner.gpu_memory_gb, 0);
    v_runner.started_at := coalesce(v_runner.started_at, now());
    v_fault := case
        when not private.is_list_of_texts(v_runner.roles, 20) then 'roles'
        when not private.is_list_of_texts(v_runner.gpus, 64) then 'gpus'
        when v_runner.cpus not between 0 and 100000 then 'cpus'
        when v_runner.slots not between 1 and 1000 then 'slots'
        when v_runner.memory_gb not between 0 and 1e7 then 'memory_gb'
        when v_runner.gpu_memory_gb not between 0 and 1e7 then 'gpu_memory_gb'
        when not isfinite(v_runner.started_at) then 'started_at'
    end;
    if v_fault is not null then
        raise sqlstate 'PT422' using message = format('The runner''s description cannot be read (%s).', v_fault);
    end if;
    v_runner.registration_id := p_registration.id;
    v_runner.user_id := p_registration.user_id;
    v_runner.scope := p_registration.scope;
    v_runner.seen_at := now();
    return v_runner;
end $$;

create function private.is_list_of_texts(p_list jsonb, p_most integer) returns boolean
    language sql immutable set search_path = '' as $$
    select case when jsonb_typeof(p_list) = 'array' then
        jsonb_array_length(p_list) <= p_most and not exists (
            select from jsonb_array_elements(p_list) as item (value)
            where jsonb_typeof(item.value) <> 'string' or length(item.value #>> '{}') > 200
        )
    else false end;
$$;

-- A token may serve many machines, but not any number: those that were not seen for a month make room.
create function private.make_room_for_runner(p_registration uuid) returns void
    language plpgsql security definer set search_path = '' as $$
begin
    delete from public.runners r where r.registration_id = p_registration and r.seen_at < now() - interval '30 days';
    if (select count(*) from public.runners r where r.registration_id = p_registration) >= 200 then
        raise sqlstate 'PT422' using message = 'There are 200 machines with this runner token.',
            hint = 'Register another runner on the Settings page.';
    end if;
end $$;

-- Says that a runner is alive and what it has. The time it was seen is this database's.
create function public.runner_announce(p_token text, p_runner jsonb) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_registration public.runner_registrations := private.registration_of(p_token);
    v_runner public.runners := private.read_runner(p_runner, v_registration);
begin
    if not exists (select from public.runners r where r.id = v_runner.id) then
        perform private.make_room_for_runner(v_registration.id);
    end if;
    insert into public.runners as known
        (id, registration_id, user_id, scope, name, version, roles, cpus, memory_gb, gpus, gpu_memory_gb, state, slots,
        started_at, seen_at)
    values (
        v_runner.id, v_runner.registration_id, v_runner.user_id, v_runner.scope, v_runner.name, v_runner.version,
        v_runner.roles, v_runner.cpus, v_runner.memory_gb, v_runner.gpus, v_runner.gpu_memory_gb, v_runner.state,
        v_runner.slots, v_runner.started_at, v_runner.seen_at
    )
    on conflict (id) do update set
        name = excluded.name, version = excluded.version, roles = excluded.roles, cpus = excluded.cpus,
        memory_gb = excluded.memory_gb, gpus = excluded.gpus, gpu_memory_gb = excluded.gpu_memory_gb,
        state = excluded.state, slots = excluded.slots, started_at = excluded.started_at, seen_at = excluded.seen_at
    where known.registration_id = excluded.registration_id;
    if not found then
        raise sqlstate 'PT409' using message = 'A runner with this id runs under another registration.',
            hint = 'Revoke that registration on the Settings page, or give this runner a home folder of its own.';
    end if;
end $$;

-- Where the queue is for a runner: the first job that it may take and can run. Locks its row; locked ones are passed over.
-- Planned for the values at hand: a plan for any scope walks past everybody else's jobs.
create function private.first_in_queue(p_registration public.runner_registrations, p_runner public.runners)
    returns public.training_jobs
    language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_custom_plan' as $$
declare
    v_full uuid[] := private.at_their_limit();
    v_job public.training_jobs;
begin
    select j.* into v_job from public.training_jobs j
    where j.status = 'queued' and coalesce(j.not_before <= now(), true) and coalesce(j.retry_at <= now(), true)
        and j.user_id <> all (v_full)
        and (p_registration.scope = 'team' or j.user_id = p_registration.user_id)
        and j.target in ('local', p_runner.id)
        and (j.gpus = 0 or (j.gpus <= jsonb_array_length(p_runner.gpus) and j.gpu_memory_gb <= p_runner.gpu_memory_gb))
    order by j.priority desc, j.created_at, j.id
    limit 1
    for update skip locked;
    return v_job;
end $$;

create function private.has_its_data(p_job public.training_jobs) returns boolean
    language sql stable security definer set search_path = '' as $$
    select exists (select from public.datasets d where d.id = p_job.dataset_id and d.user_id = p_job.user_id)
        and (p_job.validation_dataset_id is null or exists (
            select from public.datasets d where d.id = p_job.validation_dataset_id and d.user_id = p_job.user_id
        ));
$$;

-- The claim that an earlier call with the same token was given, if its attempt still stands; the answer got lost.
create function private.claimed_before(
    p_token private.job_tokens, p_registration uuid, p_runner text, p_lease_seconds double precision
) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_job public.training_jobs;
begin
    if (p_token.registration_id, p_token.runner_id) is distinct from (p_registration, p_runner) then
        raise sqlstate 'PT409' using message = 'This job token is in use already.';
    end if;
    select j.* into v_job from public.training_jobs j where j.id = p_token.job_id and j.attempt = p_token.attempt for update;
    update public.job_attempts a set lease_until = private.lease_end(private.runner_lease(p_lease_seconds))
    where a.job_id = v_job.id and a.number = v_job.attempt and a.ended_at is null;
    return case when found then private.claim_answer(v_job) end;
end $$;

-- Takes the first queued job that this machine can run: highest priority, then oldest. Exactly one runner gets it. The
-- caller made the job token; the same call again answers the same claim.
create function public.runner_claim(
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
        elsif not private.may_start_another(v_job.user_id) then
            continue;  -- another claim was faster: the person is at the limit now
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

-- Part 2: with a job token ---------------------------------------------------------------------------------------------

-- Binds an attempt that was handed out to the machine that shows up with its token, or goes on with a claim: the same
-- machine may ask again.
create function public.job_take(p_token text, p_runner jsonb, p_lease_seconds double precision) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_token private.job_tokens := private.job_token(p_token);
    v_runner public.runners := private.read_runner(p_runner, null);
    v_holder private.holder := private.hold_attempt(p_token, v_token.job_id, v_token.attempt);
    v_job public.training_jobs := v_holder.job;
begin
    perform private.check_holder(v_holder, false);
    select t.* into v_token from private.job_tokens t where t.token_sha256 = v_token.token_sha256;  -- as it is with the lock
    if v_token.runner_id <> v_runner.id then
        raise sqlstate 'PT409' using message = 'Another machine has taken this attempt.';
    elsif v_token.runner_id is null then
        update private.job_tokens t set runner_id = v_runner.id where t.token_sha256 = v_token.token_sha256;
        update public.job_attempts a set runner_id = v_runner.id, runner_name = v_runner.name
        where a.job_id = v_job.id and a.number = v_job.attempt;
        perform private.record_event(v_job, 'runner ' || v_runner.name, 'taken', null, '');
    end if;
    update public.job_attempts a set lease_until = private.lease_end(private.runner_lease(p_lease_seconds))
    where a.job_id = v_job.id and a.number = v_job.attempt;
    update public.training_jobs j set heartbeat_at = now() where j.id = v_job.id returning j.* into strict v_job;
    return private.claim_answer(v_job);
end $$;

-- Keeps the job and tells what the person wants. A claimed attempt's token lives on with it; a pod's has an absolute end.
create function public.job_renew(p_token text, p_job uuid, p_attempt integer, p_lease_seconds double precision) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_holder private.holder := private.hold_attempt(p_token, p_job, p_attempt);
    v_token private.job_tokens := v_holder.token;
    v_job public.training_jobs := v_holder.job;
begin
    perform private.check_holder(v_holder, false);
    update public.job_attempts a set lease_until = private.lease_end(private.runner_lease(p_lease_seconds))
    where a.job_id = p_job and a.number = p_attempt;
    update public.training_jobs j set heartbeat_at = now() where j.id = p_job;
    -- Once an hour is enough.
    if v_token.registration_id is not null and v_token.expires_at < now() + private.token_life() - interval '1 hour' then
        update private.job_tokens t set expires_at = now() + private.token_life()
        where t.token_sha256 = v_token.token_sha256;
    end if;
    return jsonb_build_object('requested_action', v_job.requested_action, 'request_id', v_job.request_id);
end $$;

-- Closes the attempt and moves the job. The same end again changes nothing.
create function public.job_end(p_token text, p_job uuid, p_attempt integer, p_end jsonb) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_holder private.holder := private.hold_attempt(p_token, p_job, p_attempt);
    v_attempt public.job_attempts := v_holder.attempt;
    v_outcome text := p_end ->> 'outcome';
    v_result jsonb := p_end -> 'result';
begin
    if v_outcome is null
        or v_outcome not in ('completed', 'paused', 'released', 'cancelled', 'failed', 'lost') then
        raise sqlstate 'PT422' using message = 'An attempt does not end like that.';
    elsif v_attempt.outcome = v_outcome then
        return;
    end if;
    perform private.check_holder(v_holder, false);
    -- A result is a few numbers; one beyond all measure must not keep the job from its end.
    if v_result is null or jsonb_typeof(v_result) <> 'object' or pg_column_size(v_result) > 1000000 then
        v_result := '{}';
    end if;
    perform private.end_attempt(
        v_holder.job, p_attempt, 'runner ' || v_attempt.runner_name, v_outcome,
        coalesce(p_end -> 'transient' = 'true', false),
        left(coalesce(p_end ->> 'reason', ''), 1000), left(coalesce(p_end ->> 'error', ''), 16000), v_result
    );
end $$;

do $$
declare
    name text;
begin
    foreach name in array array['runner_announce', 'runner_claim', 'job_take', 'job_renew', 'job_end'] loop
        perform private.grant_function(name, 'anon');
    end loop;
end $$;
