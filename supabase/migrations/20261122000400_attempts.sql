-- Tokens, who may write about a job (its newest attempt, while that lasts), and how an attempt ends. A runner token stands
-- for a registration, a job token for one attempt. Semantics are those of lora_core/store/local/fencing.py and leases.py.

-- Part 1: tokens and fencing -------------------------------------------------------------------------------------------

-- Null for what cannot be a token: nothing is hashed then.
create function private.token_sha256(p_token text) returns bytea
    language sql stable set search_path = '' as $$
    select case when length(p_token) between 1 and 200 then sha256(convert_to(p_token, 'UTF8')) end;
$$;

-- The registration that a runner token stands for.
create function private.registration_of(p_token text) returns public.runner_registrations
    language plpgsql stable security definer set search_path = '' as $$
declare
    v_registration public.runner_registrations;
begin
    select r.* into v_registration
    from private.runner_tokens t join public.runner_registrations r on r.id = t.registration_id
    where t.token_sha256 = private.token_sha256(p_token) and r.revoked_at is null;
    if not found then
        raise sqlstate 'PT401' using message = 'This runner token is not valid (any more).',
            hint = 'Register the runner again on the Settings page.';
    end if;
    return v_registration;
end $$;

-- What a job token stands for, whether its attempt may still write or not.
create function private.job_token(p_token text) returns private.job_tokens
    language plpgsql stable security definer set search_path = '' as $$
declare
    v_token private.job_tokens;
begin
    select t.* into v_token from private.job_tokens t
    where t.token_sha256 = private.token_sha256(p_token) and t.expires_at > now();
    if not found then
        raise sqlstate 'PT401' using message = 'This job token is not valid (any more).';
    end if;
    return v_token;
end $$;

create type private.holder as (
    token private.job_tokens,
    job public.training_jobs,
    attempt public.job_attempts
);

-- Job and attempt that a token stands for, the job's row locked; whether the attempt may write is the next question.
create function private.hold_attempt(p_token text, p_job uuid, p_attempt integer) returns private.holder
    language plpgsql security definer set search_path = '' as $$
declare
    v_token private.job_tokens := private.job_token(p_token);
    v_job public.training_jobs;
    v_attempt public.job_attempts;
begin
    if (v_token.job_id, v_token.attempt) = (p_job, p_attempt) then
        select j.* into v_job from public.training_jobs j where j.id = p_job for update;
        select a.* into v_attempt from public.job_attempts a where a.job_id = p_job and a.number = p_attempt;
    end if;
    if v_job.id is null or v_attempt.job_id is null then
        raise sqlstate 'PT409' using message = 'There is no such attempt of this job (any more).';
    end if;
    return (v_token, v_job, v_attempt)::private.holder;
end $$;

-- How long an ended attempt may still deliver its tail, unless a newer attempt began.
create function private.drain() returns interval
    language sql immutable set search_path = '' as $$
    select interval '10 minutes';
$$;

-- Refuses an attempt that may not write: it is not the job's newest, or has ended (with `p_tail`: not just now).
create function private.check_holder(p_holder private.holder, p_tail boolean) returns void
    language plpgsql stable set search_path = '' as $$
declare
    v_job public.training_jobs := p_holder.job;
    v_attempt public.job_attempts := p_holder.attempt;
begin
    if v_job.attempt <> v_attempt.number then
        raise sqlstate 'PT409' using message = format(
            'Attempt %s owns the job now; attempt %s has to stop.', v_job.attempt, v_attempt.number
        );
    elsif v_attempt.ended_at is not null and not (p_tail and v_attempt.ended_at >= now() - private.drain()) then
        raise sqlstate 'PT409' using message = format(
            'Attempt %s of the job has ended (%s).', v_attempt.number, v_attempt.outcome
        );
    end if;
end $$;

-- Leases of runners: a minute or so is usual, and a lost machine must not keep a job for a day.
create function private.runner_lease(p_seconds double precision) returns double precision
    language sql immutable set search_path = '' as $$
    select least(greatest(coalesce(nullif(p_seconds, 'NaN'), 1), 1), 3600);
$$;

-- How long a token lasts from the claim on, and from every renewed lease.
create function private.token_life() returns interval
    language sql immutable set search_path = '' as $$
    select interval '72 hours';
$$;

-- Part 2: how an attempt ends ------------------------------------------------------------------------------------------

-- Failures in a row without a new checkpoint (the runner was lost, or what may pass by itself), after which a job has failed.
-- The numbers are those of lora_core/backoff.py; a test compares them.
create function private.max_failures() returns integer
    language sql immutable set search_path = '' as $$
    select 3;
$$;

-- Seconds until a job is tried again: they double from failure to failure, and differ so that not all come back at once.
-- `p_chance` is a random number from 0 up to, and without, 1.
create function private.retry_pause(p_failures integer, p_chance double precision) returns double precision
    language sql immutable set search_path = '' as $$
    select least(10 * power(2::double precision, least(greatest(p_failures, 1) - 1, 10)), 600) * (0.5 + p_chance);
$$;

-- What becomes of a job whose attempt has ended: `action` is what the audit trail calls it.
create type private.next_state as (
    status text,
    action text,
    reason text,
    error text,
    failures integer,
    retry_at timestamptz
);

-- A cancel that was asked for while the job was being paused holds.
create function private.what_becomes(
    p_job public.training_jobs, p_outcome text, p_transient boolean, p_reason text, p_error text
) returns private.next_state
    language plpgsql set search_path = '' as $$
declare
    v_lost boolean := p_outcome = 'lost';
    v_passing boolean := v_lost or (p_outcome = 'failed' and p_transient);
    v_next private.next_state;
begin
    v_next.action := case when v_lost then 'lease lost' else p_outcome end;
    v_next.failures := case when v_passing then p_job.lost_attempts + 1 else 0 end;
    v_next.reason := p_reason;
    v_next.error := p_error;
    if p_outcome = 'paused' and p_job.requested_action = 'cancel' then
        v_next.status := 'cancelled';
        v_next.action := 'cancelled';
        v_next.reason := 'Cancelled by request.';
    elsif not v_passing and p_outcome in ('completed', 'paused', 'cancelled', 'failed') then
        v_next.status := p_outcome;
        v_next.error := coalesce(nullif(p_error, ''), case p_outcome when 'failed' then p_reason else '' end);
    elsif p_job.requested_action in ('cancel', 'pause') then
        v_next.status := case p_job.requested_action when 'cancel' then 'cancelled' else 'paused' end;
    elsif v_next.failures >= private.max_failures() then
        v_next.status := 'failed';
        v_next.reason := format('It was tried %s times in a row without a new checkpoint.', private.max_failures());
        v_next.error := v_next.reason || ' The last time: ' || coalesce(nullif(p_error, ''), p_reason);
    else
        v_next.status := 'queued';
        if v_passing and not (v_lost and v_next.failures = 1) then
            v_next.retry_at := now() + make_interval(secs => private.retry_pause(v_next.failures, random()));
            v_next.reason := private.retry_words(coalesce(nullif(p_reason, ''), split_part(p_error, E'\n', 1)), v_next);
        end if;
        if v_passing and not v_lost then
            v_next.action := 'retrying';
            v_next.error := coalesce(nullif(p_error, ''), p_reason);
        end if;
    end if;
    return v_next;
end $$;

create function private.retry_words(p_why text, p_next private.next_state) returns text
    language sql stable set search_path = '' as $$
    select format(
        '%s It is tried again at %s UTC (failure %s of %s in a row).',
        regexp_replace(btrim(p_why, E' \t\r\n'), '([^.!?])$|^$', '\1.'),
        to_char(p_next.retry_at at time zone 'UTC', 'HH24:MI:SS'), p_next.failures, private.max_failures()
    );
$$;

-- Closes an attempt and moves its job. The attempt is the newest and open, and the caller holds the job's row.
create function private.end_attempt(
    p_job public.training_jobs, p_attempt integer, p_actor text,
    p_outcome text, p_transient boolean, p_reason text, p_error text, p_result jsonb
) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_job public.training_jobs := p_job;
    v_next private.next_state := private.what_becomes(p_job, p_outcome, p_transient, p_reason, p_error);
begin
    update public.job_attempts a set
        ended_at = now(), outcome = p_outcome, reason = coalesce(nullif(p_reason, ''), p_error), result = p_result,
        lease_until = null
    where a.job_id = p_job.id and a.number = p_attempt;
    if v_next.status = 'completed' and v_job.status = 'initializing' then
        v_job := private.set_status(v_job, 'running', p_actor, 'started', '', '');
    end if;
    perform private.set_status(v_job, v_next.status, p_actor, v_next.action, v_next.reason, v_next.error);
    update public.training_jobs j set
        lost_attempts = v_next.failures,
        retry_at = v_next.retry_at,
        progress = case v_next.status when 'completed' then 1 else j.progress end
    where j.id = p_job.id;
    perform private.notify(
        p_job.user_id, p_job.id, format('%s/%s', p_attempt, v_next.status),
        case v_next.status when 'queued' then 'job_queued_again' else 'job_' || v_next.status end,
        format('“%s” %s', p_job.name, case v_next.status
            when 'failed' then 'has failed' when 'queued' then 'is queued again' else 'is ' || v_next.status end),
        case when v_next.status <> 'queued' and v_next.error <> '' then v_next.error else v_next.reason end, now()
    );
end $$;

-- Ends attempts whose lease ran out as lost, and gives their jobs back: a bounded number, the longest lost first. What
-- somebody else works on just now is left to them. Says how many there were.
create function private.end_expired(p_user uuid default null, p_grace interval default '0') returns integer
    language plpgsql security definer set search_path = '' as $$
declare
    v_found record;
    v_job public.training_jobs;
    v_ended integer := 0;
begin
    for v_found in
        select a.job_id, a.number from public.job_attempts a
        where a.ended_at is null and a.lease_until < now() - p_grace and (p_user is null or a.user_id = p_user)
        order by a.lease_until limit 20
    loop
        select j.* into v_job from public.training_jobs j where j.id = v_found.job_id for update skip locked;
        continue when not found;
        perform from public.job_attempts a
        where a.job_id = v_found.job_id and a.number = v_found.number and a.ended_at is null
            and a.lease_until < now() - p_grace;
        continue when not found;
        if v_job.attempt = v_found.number and v_job.status in ('initializing', 'running') then
            perform private.end_attempt(
                v_job, v_found.number, 'system', 'lost', false, 'The runner was lost.', '', '{}'
            );
            v_ended := v_ended + 1;
        else  -- no attempt of ours; it must not hold up the queue for ever
            update public.job_attempts a set lease_until = null
            where a.job_id = v_found.job_id and a.number = v_found.number;
        end if;
    end loop;
    return v_ended;
end $$;
