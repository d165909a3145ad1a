-- What people's and runners' functions share: the audit trail, transitions, notifications, the start of an attempt.
--
-- Every function here and in the files that follow runs as the owner of the tables, so each one checks for itself whose row
-- it is. Words of refusals are those of lora_core/store/local: PT404 NotFound, PT409 Conflict, PT422 NotAllowed, PT403
-- Forbidden, PT401 SignedOut. Whoever changes a job locks its row first (`for update`); of locks on several rows that of the
-- job comes first, then that of a quota.

-- Lets exactly these roles call a function of schema public; names are not overloaded.
create function private.grant_function(p_name text, variadic p_roles text[]) returns void
    language plpgsql set search_path = '' as $$
declare
    v_function regprocedure;
    v_role text;
begin
    select p.oid::regprocedure into strict v_function
    from pg_catalog.pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname = p_name;
    execute format('revoke all on function %s from public, anon, authenticated, service_role', v_function);
    foreach v_role in array p_roles loop
        execute format('grant execute on function %s to %I', v_function, v_role);
    end loop;
end $$;

create function private.read_sha256(p_hex text) returns bytea
    language plpgsql immutable set search_path = '' as $$
begin
    if p_hex is null or p_hex !~ '^[0-9A-Fa-f]{64}$' then
        raise sqlstate 'PT422' using message = 'A sha256 is written as 64 hexadecimal digits.';
    end if;
    return decode(p_hex, 'hex');
end $$;

-- Refuses a text that is missing, too short or too long. `p_what` begins the sentence: 'The name'.
create function private.check_text(p_value text, p_what text, p_least integer, p_most integer) returns void
    language plpgsql immutable set search_path = '' as $$
begin
    if p_value is null or length(p_value) < p_least then
        raise sqlstate 'PT422' using message = format('%s is empty.', p_what);
    elsif length(p_value) > p_most then
        raise sqlstate 'PT422' using message = format('%s is longer than %s characters.', p_what, p_most);
    end if;
end $$;

-- When a lease of so many seconds from now ends; never more than a day ahead.
create function private.lease_end(p_seconds double precision) returns timestamptz
    language sql stable set search_path = '' as $$
    select now() + make_interval(secs => least(greatest(coalesce(p_seconds, 0), 0), 86400));
$$;

-- A runner that was not heard of for so long counts as offline.
create function private.online() returns interval
    language sql immutable set search_path = '' as $$
    select interval '30 seconds';
$$;

-- Writes one line of the audit trail; `from` is filled in when there is a transition.
create function private.record_event(
    p_job public.training_jobs, p_actor text, p_action text, p_to text, p_reason text
) returns void
    language sql security definer set search_path = '' as $$
    insert into public.job_events (job_id, user_id, actor, action, from_status, to_status, reason)
    values (
        p_job.id, p_job.user_id, p_actor, p_action,
        case when p_to is not null and p_action <> 'submitted' then p_job.status end, p_to, coalesce(p_reason, '')
    );
$$;

create function private.check_move(p_from text, p_to text) returns void
    language plpgsql security definer set search_path = '' as $$
begin
    if not exists (select from private.job_transitions t where t.from_status = p_from and t.to_status = p_to) then
        raise sqlstate 'PT422' using message = format('A job that is %s cannot become %s.', p_from, p_to);
    end if;
end $$;

-- Moves a job, drops the open request and the next try, and writes the audit line. The caller holds the row's lock and has checked that it may.
create function private.set_status(
    p_job public.training_jobs, p_to text, p_actor text, p_action text, p_reason text, p_error text
) returns public.training_jobs
    language plpgsql security definer set search_path = '' as $$
declare
    v_owned boolean := p_to in ('initializing', 'running');
    v_ended boolean := p_to in ('failed', 'cancelled', 'completed');
    v_job public.training_jobs;
begin
    perform private.check_move(p_job.status, p_to);
    update public.training_jobs j set
        status = p_to,
        status_reason = coalesce(p_reason, ''),
        retry_at = null,
        updated_at = now(),
        requested_action = case when v_owned then j.requested_action end,
        request_id = case when v_owned then j.request_id else '' end,
        phase = case when v_owned then j.phase else '' end,
        remaining_seconds = case when v_owned then j.remaining_seconds end,
        ended_at = case when v_owned then j.ended_at when v_ended then now() end,
        error = case when coalesce(p_error, '') <> '' then p_error else j.error end
    where j.id = p_job.id
    returning j.* into strict v_job;
    perform private.record_event(p_job, p_actor, p_action, p_to, coalesce(nullif(p_reason, ''), p_error, ''));
    return v_job;
end $$;

-- Tells a person something once: the same job and key again add nothing.
create function private.notify(
    p_user uuid, p_job uuid, p_key text, p_kind text, p_title text, p_body text, p_at timestamptz
) returns void
    language sql security definer set search_path = '' as $$
    insert into public.notifications (id, user_id, job_id, kind, title, body, created_at)
    values (
        md5(p_job::text || '/' || p_key)::uuid, p_user, p_job, p_kind, p_title, coalesce(p_body, ''), coalesce(p_at, now())
    )
    on conflict (id) do nothing;
$$;

-- Refuses a registration that was revoked, and holds it, so that a revocation at the same time sees what the caller makes
-- of it or comes first.
create function private.check_registration(p_registration uuid) returns void
    language plpgsql security definer set search_path = '' as $$
begin
    perform from public.runner_registrations r where r.id = p_registration and r.revoked_at is null for key share;
    if not found then
        raise sqlstate 'PT401' using message = 'This runner token is not known, or was revoked.',
            hint = 'Register the runner again and give it the new token.';
    end if;
end $$;

-- Starts an attempt of a queued job whose row the caller holds. Without a registration a person hands the job out: the
-- machine that shows up with the token takes it.
create function private.begin_attempt(
    p_job public.training_jobs, p_runner_id text, p_runner_name text, p_registration uuid,
    p_lease_seconds double precision, p_token_sha256 bytea, p_token_until timestamptz
) returns public.training_jobs
    language plpgsql security definer set search_path = '' as $$
declare
    v_job public.training_jobs;
begin
    if p_registration is not null then
        perform private.check_registration(p_registration);
    end if;
    insert into public.job_attempts
        (job_id, number, user_id, runner_id, runner_name, registration_id, elapsed_before, lease_until)
    values (
        p_job.id, p_job.attempt + 1, p_job.user_id, p_runner_id, p_runner_name, p_registration, p_job.elapsed_seconds,
        private.lease_end(p_lease_seconds)
    );
    insert into private.job_tokens (token_sha256, job_id, attempt, registration_id, runner_id, expires_at)
    values (p_token_sha256, p_job.id, p_job.attempt + 1, p_registration, nullif(p_runner_id, ''), p_token_until)
    on conflict (token_sha256) do nothing;
    if not found then
        raise sqlstate 'PT409' using message = 'This job token is in use already.';
    end if;
    update public.training_jobs j set
        attempt = p_job.attempt + 1, heartbeat_at = now(), error = '', tokens_per_second = null,
        started_at = coalesce(j.started_at, now())
    where j.id = p_job.id
    returning j.* into strict v_job;
    if p_registration is null then
        return private.set_status(v_job, 'initializing', v_job.user_id::text, 'handed out', '', '');
    end if;
    return private.set_status(v_job, 'initializing', 'runner ' || p_runner_name, 'claimed', '', '');
end $$;

-- The checkpoint from which a job would go on.
create function private.newest_checkpoint(p_job uuid) returns setof public.model_artifacts
    language sql stable security definer set search_path = '' rows 1 as $$
    select a.* from public.model_artifacts a where a.job_id = p_job and a.kind = 'checkpoint'
    order by a.attempt desc, a.step desc nulls last, a.created_at desc, a.id limit 1;
$$;

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

-- All that a runner needs to know to start the newest attempt of a job.
create function private.claim_answer(p_job public.training_jobs) returns jsonb
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

-- Who asks. Refused without a session.
create function private.person() returns uuid
    language plpgsql stable security definer set search_path = '' as $$
begin
    if auth.uid() is null then
        raise sqlstate 'PT401' using message = 'You are signed out.', hint = 'Sign in again.';
    end if;
    return auth.uid();
end $$;

-- app_metadata is written by the operator's set-up script alone; a person's own metadata does not count.
create function private.is_operator() returns boolean
    language sql stable security definer set search_path = '' as $$
    select coalesce((select u.raw_app_meta_data ->> 'role' = 'operator' from auth.users u where u.id = auth.uid()), false);
$$;

-- Priorities order the queue of a machine; beyond these bounds nobody could get past anybody any more.
create function private.priority_of(p_asked integer) returns integer
    language sql immutable set search_path = '' as $$
    select least(greatest(coalesce(p_asked, 0), -100), 100);
$$;

-- Refuses a time that a client in Python cannot read: a job waits in one queue with everybody's, and must not stop a machine.
create function private.check_made_at(p_moment timestamptz) returns void
    language plpgsql immutable set search_path = '' as $$
begin
    if p_moment not between '1970-01-01Z' and '9000-01-01Z' then
        raise sqlstate 'PT422' using message = 'It was made at a time that does not exist.';
    end if;
end $$;
