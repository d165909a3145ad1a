-- What people do with jobs, artifacts, tasks, data sets and runners, and the small parts that runners' functions share.
--
-- Every function here runs as the owner of the tables, so each one checks for itself whose row it is. Words of refusals are
-- those of lora_core/store/local: PT404 NotFound, PT409 Conflict, PT422 NotAllowed, PT403 Forbidden, PT401 SignedOut.
-- Whoever changes a job locks its row first (`for update`); of locks on several rows that of the job comes first.

-- Part 1: shared by people's and runners' functions ------------------------------------------------------------------

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

-- Moves a job, drops the open request, and writes the audit line. The caller holds the row's lock and has checked that it may.
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
        'checkpoint', (select to_jsonb(c) from private.newest_checkpoint(p_job.id) c)
    );
$$;

-- Part 2: people, the operator's role, and quotas -------------------------------------------------------------------

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

-- GPU hours of deleted jobs, which still count in their month.
create table private.deleted_gpu_hours (
    user_id uuid not null references auth.users (id) on delete cascade,
    month timestamptz not null,
    gpu_hours double precision not null,
    primary key (user_id, month)
);

create function private.month_start() returns timestamptz
    language sql stable set search_path = '' as $$
    select date_trunc('month', now(), 'UTC');
$$;

create function private.live_jobs(p_user uuid) returns bigint
    language sql stable security definer set search_path = '' as $$
    select count(*) from public.training_jobs j
    where j.user_id = p_user and j.status in ('queued', 'initializing', 'running');
$$;

-- Hours of attempts times GPUs of their jobs, in this calendar month (UTC). A lost attempt counts until its lease ran out.
create function private.gpu_hours_of_jobs(p_user uuid, p_job uuid default null) returns double precision
    language sql stable security definer set search_path = '' as $$
    select coalesce(sum(j.gpus * greatest(extract(epoch from
        coalesce(a.ended_at, least(now(), a.lease_until), now()) - greatest(a.started_at, private.month_start())
    ), 0)), 0)::double precision / 3600
    from public.job_attempts a join public.training_jobs j on j.id = a.job_id
    where a.user_id = p_user and (p_job is null or a.job_id = p_job)
        and (a.ended_at is null or a.ended_at > private.month_start()) and j.gpus > 0 and not a.imported;
$$;

create function private.gpu_hours(p_user uuid) returns double precision
    language sql stable security definer set search_path = '' as $$
    select private.gpu_hours_of_jobs(p_user) + coalesce((
        select d.gpu_hours from private.deleted_gpu_hours d where d.user_id = p_user and d.month = private.month_start()
    ), 0);
$$;

create function private.spent_usd(p_user uuid) returns double precision
    language sql stable security definer set search_path = '' as $$
    select coalesce(sum(c.usd), 0) from public.cost_records c
    where c.user_id = p_user and c.at >= private.month_start();
$$;

-- What the rows of a person say. People write the size of a data set themselves, so this alone decides nothing.
create function private.bytes_of_rows(p_user uuid) returns bigint
    language sql stable security definer set search_path = '' as $$
    select (coalesce((select sum(d.bytes) from public.datasets d where d.user_id = p_user), 0)
        + coalesce((select sum(a.bytes) from public.model_artifacts a where a.user_id = p_user), 0))::bigint;
$$;

-- What a person's files take, as Storage measured them, with a row or without. Names are compared byte by byte, which is what
-- Storage's index on them serves; the sign after '/' is '0'.
create function private.bytes_of_files(p_user uuid) returns bigint
    language sql stable security definer set search_path = '' as $$
    select coalesce(sum(
        case when o.metadata ->> 'size' ~ '^[0-9]{1,15}$' then (o.metadata ->> 'size')::bigint end
    ), 0)::bigint
    from storage.objects o
    where o.name ~>=~ (p_user::text || '/') and o.name ~<~ (p_user::text || '0')
        and o.bucket_id in ('lora-datasets', 'training-files', 'model-artifacts');
$$;

create function private.stored_bytes(p_user uuid) returns bigint
    language sql stable security definer set search_path = '' as $$
    select greatest(private.bytes_of_rows(p_user), private.bytes_of_files(p_user));
$$;

create function private.in_gigabytes(p_bytes bigint) returns text
    language sql immutable set search_path = '' as $$
    select case when p_bytes >= 100000000 then round(p_bytes / 1e9, 1) || ' GB' else round(p_bytes / 1e6, 1) || ' MB' end;
$$;

-- Refuses what would go beyond the storage that the operator allows; the quota's row is held until the end. A new row's file
-- is in Storage already, or still to come, so what is added counts with the rows and not with the files.
create function private.check_storage_quota(p_user uuid, p_more_bytes bigint) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_limit bigint;
    v_rows bigint;
    v_files bigint;
begin
    select q.storage_bytes into v_limit from public.quotas q where q.user_id = p_user for update;
    if v_limit is null then
        return;
    end if;
    v_rows := private.bytes_of_rows(p_user);
    v_files := private.bytes_of_files(p_user);
    if greatest(v_rows + p_more_bytes, v_files) > v_limit then
        raise sqlstate 'PT422' using
            message = format(
                'The storage limit is %s; %s are used.',
                private.in_gigabytes(v_limit), private.in_gigabytes(greatest(v_rows, v_files))
            ),
            hint = 'Delete data sets or artifacts, or ask the operator for more storage.';
    end if;
end $$;

-- Refuses one more live job where it would go beyond what the operator allows. `p_job` itself is not counted. The quota's
-- row is held until the end, so that two jobs at the same time do not both fit.
create function private.check_quota(p_user uuid, p_job uuid default null) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_quota public.quotas;
    v_used double precision;
    v_jobs bigint;
begin
    select q.* into v_quota from public.quotas q where q.user_id = p_user for update;
    if not found then
        return;
    end if;
    if v_quota.max_live_jobs is not null then
        select count(*) into v_jobs from public.training_jobs j
        where j.user_id = p_user and j.status in ('queued', 'initializing', 'running') and j.id is distinct from p_job;
        if v_jobs >= v_quota.max_live_jobs then
            raise sqlstate 'PT422' using
                message = format(
                    'The limit is %s queued or running jobs at the same time; there are %s.', v_quota.max_live_jobs, v_jobs
                ),
                hint = 'Wait for a job to end, or ask the operator for a higher limit.';
        end if;
    end if;
    if v_quota.gpu_hours_per_month is not null then
        v_used := private.gpu_hours(p_user);
        if v_used >= v_quota.gpu_hours_per_month then
            raise sqlstate 'PT422' using
                message = format(
                    'The limit is %s GPU hours a month; %s are used.',
                    round(v_quota.gpu_hours_per_month::numeric, 1), round(v_used::numeric, 1)
                ),
                hint = 'Wait for the next month, or ask the operator for more.';
        end if;
    end if;
    if v_quota.usd_per_month is not null then
        v_used := private.spent_usd(p_user);
        if v_used >= v_quota.usd_per_month then
            raise sqlstate 'PT422' using
                message = format(
                    'The limit is $%s a month; $%s are spent.',
                    round(v_quota.usd_per_month::numeric, 2), round(v_used::numeric, 2)
                ),
                hint = 'Wait for the next month, or ask the operator for more.';
        end if;
    end if;
    -- Training stores checkpoints: with no room left a job would only fail later.
    perform private.check_storage_quota(p_user, 1);
end $$;

-- Part 3: data sets (people insert, change and delete their rows themselves) -----------------------------------------

create function private.check_dataset_room() returns trigger
    language plpgsql security definer set search_path = '' as $$
declare
    v_more bigint := new.bytes;
begin
    if new.user_id <> auth.uid() then
        return new;  -- the policy refuses it, and nobody is told how much room somebody else has
    elsif tg_op = 'UPDATE' then
        v_more := new.bytes - old.bytes;
    elsif exists (select from public.datasets d where d.id = new.id) then
        return new;  -- a repeated insert: the key refuses it
    end if;
    if v_more > 0 then
        perform private.check_storage_quota(new.user_id, v_more);
    end if;
    return new;
end $$;
create trigger datasets_room before insert or update of bytes on public.datasets
    for each row execute function private.check_dataset_room();

-- The row is locked by now, and submit_job locks it too: no job slips in between.
create function private.keep_used_dataset() returns trigger
    language plpgsql security definer set search_path = '' as $$
declare
    v_name text;
begin
    select j.name into v_name from public.training_jobs j
    where j.user_id = old.user_id and j.status in ('queued', 'initializing', 'running', 'paused')
        and old.id in (j.dataset_id, j.validation_dataset_id)
    limit 1;
    if found and exists (select from auth.users u where u.id = old.user_id) then
        raise sqlstate 'PT409' using message = format('The job “%s” uses this data set.', v_name),
            hint = 'Cancel the job or wait for its end.';
    end if;
    return old;
end $$;
create trigger datasets_in_use before delete on public.datasets
    for each row execute function private.keep_used_dataset();

-- Part 4: jobs ------------------------------------------------------------------------------------------------------

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

-- Inserts a queued job; the same id again gives the stored one.
create function public.submit_job(p_job jsonb) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_person uuid := private.person();
    v_asked record;
    v_dataset_name text;
    v_job public.training_jobs;
begin
    select * into v_asked from jsonb_to_record(p_job) as asked (
        id uuid, name text, dataset_id uuid, dataset_name text, validation_dataset_id uuid, config jsonb, target text,
        gpus integer, gpu_memory_gb double precision, priority integer, total_steps bigint, created_at timestamptz
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
        v_dataset_name := private.own_dataset_name(v_asked.dataset_id);
        if v_asked.validation_dataset_id is not null then
            perform private.own_dataset_name(v_asked.validation_dataset_id);
        end if;
        perform private.check_quota(v_person, v_asked.id);
        insert into public.training_jobs (
            id, user_id, name, dataset_id, dataset_name, validation_dataset_id, config, target, gpus, gpu_memory_gb,
            priority, total_steps, created_at
        ) values (
            v_asked.id, v_person, v_asked.name, v_asked.dataset_id,
            coalesce(nullif(v_asked.dataset_name, ''), v_dataset_name), v_asked.validation_dataset_id, v_asked.config,
            coalesce(v_asked.target, 'local'), coalesce(v_asked.gpus, 0), coalesce(v_asked.gpu_memory_gb, 0),
            private.priority_of(v_asked.priority), greatest(coalesce(v_asked.total_steps, 0), 0),
            coalesce(v_asked.created_at, now())
        )
        on conflict (id) do nothing
        returning * into v_job;
        if found then
            perform private.record_event(v_job, v_person::text, 'submitted', 'queued', '');
        else  -- somebody was faster with this id
            select j.* into strict v_job from public.training_jobs j where j.id = v_asked.id;
        end if;
    end if;
    if v_job.user_id <> v_person then
        raise sqlstate 'PT409' using message = 'There is another job with this id.';
    end if;
    return to_jsonb(v_job);
end $$;

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

create function public.move_job(p_job uuid, p_to text, p_reason text default '') returns jsonb
    language plpgsql security definer set search_path = '' as $$
begin
    return to_jsonb(private.move_own_job(private.own_job(p_job), p_to, p_reason));
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

-- How many jobs are in each state; states without jobs are left out.
create function public.job_counts() returns jsonb
    language sql stable security definer set search_path = '' as $$
    select coalesce(jsonb_object_agg(counted.status, counted.jobs), '{}')
    from (
        select j.status, count(*) as jobs from public.training_jobs j
        where j.user_id = (select private.person()) group by j.status  -- asked once a query, not once a row
    ) counted;
$$;

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
    v_job := private.begin_attempt(v_job, '', 'pod', null, p_wait_seconds, v_token, now() + interval '72 hours');
    return v_job.attempt;
end $$;

-- Part 5: artifacts, tasks, runners ---------------------------------------------------------------------------------

-- An artifact of the person who asks; its job's row is locked.
create function private.own_artifact(p_artifact uuid) returns public.model_artifacts
    language plpgsql security definer set search_path = '' as $$
declare
    v_artifact public.model_artifacts;
begin
    perform from public.training_jobs j
    where j.user_id = private.person() and j.id = (select a.job_id from public.model_artifacts a where a.id = p_artifact)
    for update;
    if found then
        select a.* into v_artifact from public.model_artifacts a where a.id = p_artifact;
    end if;
    if not found then
        raise sqlstate 'PT404' using message = 'There is no such artifact (any more).';
    end if;
    return v_artifact;
end $$;

-- Protects a checkpoint from rotation, or gives it back to it.
create function public.pin_artifact(p_artifact uuid, p_pinned boolean) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_artifact public.model_artifacts := private.own_artifact(p_artifact);
begin
    update public.model_artifacts a set pinned = coalesce(p_pinned, false) where a.id = p_artifact
    returning a.* into strict v_artifact;
    return to_jsonb(v_artifact);
end $$;

-- Removes the row and returns it: the caller then removes the files.
create function public.delete_artifact(p_artifact uuid) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_artifact public.model_artifacts := private.own_artifact(p_artifact);
begin
    if p_artifact = (select c.id from private.newest_checkpoint(v_artifact.job_id) c) and exists (
        select from public.training_jobs j where j.id = v_artifact.job_id and j.status <> 'completed'
    ) then
        raise sqlstate 'PT422' using message = 'This is the newest checkpoint of a job that has not completed.',
            hint = 'Delete the job if you do not need it.';
    end if;
    delete from public.model_artifacts where id = p_artifact;
    return to_jsonb(v_artifact);
end $$;

-- Inserts a waiting task; if one of the same kind and subject is waiting or running, gives that one.
create function public.add_task(p_task jsonb) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_person uuid := private.person();
    v_asked record;
    v_task public.tasks;
begin
    select * into v_asked from jsonb_to_record(p_task) as asked (
        id uuid, kind text, subject_id text, arguments jsonb, created_at timestamptz
    );
    if v_asked.id is null then
        raise sqlstate 'PT422' using message = 'A task has an id.';
    end if;
    perform private.check_text(v_asked.kind, 'The kind of the task', 1, 60);
    perform private.check_text(v_asked.subject_id, 'What the task is about', 1, 300);
    perform private.check_text(coalesce(v_asked.arguments, '{}')::text, 'The task''s arguments', 2, 20000);
    if jsonb_typeof(v_asked.arguments) <> 'object' then
        raise sqlstate 'PT422' using message = 'The task''s arguments are a document.';
    end if;
    perform private.check_made_at(v_asked.created_at);
    for _ in 1 .. 5 loop  -- the open task in the way may end just now
        insert into public.tasks (id, user_id, kind, subject_id, arguments, created_at)
        values (
            v_asked.id, v_person, v_asked.kind, v_asked.subject_id, coalesce(v_asked.arguments, '{}'),
            coalesce(v_asked.created_at, now())
        )
        on conflict do nothing
        returning * into v_task;
        if not found then
            select t.* into v_task from public.tasks t where t.id = v_asked.id;
        end if;
        if found and v_task.user_id <> v_person then
            raise sqlstate 'PT409' using message = 'There is another task with this id.';
        elsif not found then
            select t.* into v_task from public.tasks t
            where t.user_id = v_person and t.kind = v_asked.kind and t.subject_id = v_asked.subject_id
                and t.status in ('waiting', 'running');
        end if;
        if found then
            return to_jsonb(v_task);
        end if;
    end loop;
    raise sqlstate 'PT409' using message = 'The task could not be added just now.', hint = 'Try again.';
end $$;

-- Lets a runner in: from now on the token with this sha256 stands for the person, or for the team.
create function public.register_runner(p_id uuid, p_name text, p_scope text, p_token_sha256 text) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_person uuid := private.person();
    v_token bytea := private.read_sha256(p_token_sha256);
begin
    if p_scope is null or p_scope not in ('mine', 'team') then
        raise sqlstate 'PT422' using message = 'A runner works for you or for the team.';
    elsif p_scope = 'team' and not private.is_operator() then
        raise sqlstate 'PT403' using message = 'Only the operator registers runners for the whole team.';
    elsif p_id is null then
        raise sqlstate 'PT422' using message = 'A registration has an id.';
    end if;
    perform private.check_text(p_name, 'The name', 1, 80);
    insert into public.runner_registrations (id, user_id, name, scope) values (p_id, v_person, p_name, p_scope)
    on conflict (id) do nothing;
    if not found then
        perform from public.runner_registrations r join private.runner_tokens t on t.registration_id = r.id
        where r.id = p_id and r.user_id = v_person and r.name = p_name and r.scope = p_scope and t.token_sha256 = v_token;
        if not found then
            raise sqlstate 'PT409' using message = 'There is another runner registration with this id.';
        end if;
        return;
    end if;
    insert into private.runner_tokens (token_sha256, registration_id) values (v_token, p_id)
    on conflict (token_sha256) do nothing;
    if not found then
        raise sqlstate 'PT409' using message = 'This runner token is in use already.';
    end if;
end $$;

-- Ends a registration: its token and those of its attempts and tasks are refused from now on, and its runners are gone.
create function public.revoke_runner(p_id uuid) returns void
    language plpgsql security definer set search_path = '' as $$
begin
    perform from public.runner_registrations r where r.id = p_id and r.user_id = private.person() for update;
    if not found then
        raise sqlstate 'PT404' using message = 'There is no such runner registration (any more).';
    end if;
    update public.runner_registrations set revoked_at = coalesce(revoked_at, now()) where id = p_id;
    delete from private.runner_tokens where registration_id = p_id;
    delete from private.job_tokens where registration_id = p_id;
    delete from private.task_tokens where registration_id = p_id;
    delete from public.runners where registration_id = p_id;
end $$;

do $$
declare
    name text;
begin
    foreach name in array array[
        'submit_job', 'request_job', 'move_job', 'rename_job', 'delete_job', 'job_counts', 'hand_out_job', 'pin_artifact',
        'delete_artifact', 'add_task', 'register_runner', 'revoke_runner'
    ] loop
        perform private.grant_function(name, 'authenticated');
    end loop;
end $$;
