-- What a person may use of the team's studio: live jobs, GPU hours, storage, dollars. The operator sets the limits.

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

-- Whether one more job of a person may be at work. The quota's row is held until the end, so that of two claims at the same
-- time the second sees what the first has taken.
create function private.may_start_another(p_user uuid) returns boolean
    language plpgsql security definer set search_path = '' as $$
declare
    v_limit integer;
begin
    select q.running_jobs into v_limit from public.quotas q where q.user_id = p_user and q.running_jobs is not null for update;
    return not found or private.count_at_work(p_user) < v_limit;
end $$;

create function private.count_at_work(p_user uuid) returns bigint
    language sql stable security definer set search_path = '' as $$
    select count(*) from public.training_jobs j where j.user_id = p_user and j.status in ('initializing', 'running');
$$;

-- People who have as many jobs at work as they may: what they have in the queue is passed over.
create function private.at_their_limit() returns uuid[]
    language sql stable security definer set search_path = '' as $$
    select array(
        select q.user_id from public.quotas q
        where q.running_jobs is not null and private.count_at_work(q.user_id) >= q.running_jobs
    );
$$;

-- Data sets: people insert, change and delete their rows themselves ---------------------------------------------------

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
