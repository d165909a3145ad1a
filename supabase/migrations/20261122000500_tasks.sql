-- The runner's side of tasks: claim, report, close, and the data set a task is about. A runner token claims; the task token
-- that the claim makes stands for one try of one task. Semantics are those of lora_core/store/local/task_port.py.

create function private.uuid_of(p_text text) returns uuid
    language sql immutable set search_path = '' as $$
    select case when p_text ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then p_text::uuid end;
$$;

-- Part 1: claim ------------------------------------------------------------------------------------------------------

-- A task whose runner was lost this often is given up: it may be what kills the runner.
create function private.max_task_tries() returns integer
    language sql immutable set search_path = '' as $$
    select 3;
$$;

-- Gives up tasks that lost every runner: a bounded number, whosever they are.
create function private.give_up_tasks() returns void
    language sql security definer set search_path = '' as $$
    update public.tasks t set
        status = 'failed', error = 'The runner was lost three times while it did this.', lease_until = null, updated_at = now()
    where t.id in (
        select lost.id from public.tasks lost
        where lost.status = 'running' and lost.lease_until < now() and lost.tries >= private.max_task_tries()
        limit 20 for update skip locked
    );
$$;

-- The try that an earlier call with the same token was given, if it still stands; the answer got lost.
create function private.task_claimed_before(
    p_token private.task_tokens, p_registration uuid, p_runner text, p_lease_seconds double precision
) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_task public.tasks;
begin
    if (p_token.registration_id, p_token.runner_id) <> (p_registration, p_runner) then
        raise sqlstate 'PT409' using message = 'This task token is in use already.';
    end if;
    update public.tasks t set lease_until = private.lease_end(private.runner_lease(p_lease_seconds))
    where t.id = p_token.task_id and t.status = 'running' and t.tries = p_token.tries
    returning t.* into v_task;
    return case when found then to_jsonb(v_task) end;
end $$;

-- Takes the oldest waiting task of those that the runner may do, or one whose lease ran out. The caller made the task
-- token; the same call again answers the same claim. Planned for the values at hand: a plan for any scope walks past
-- everybody else's tasks.
create function public.task_claim(
    p_token text, p_runner jsonb, p_lease_seconds double precision, p_task_token_sha256 text
) returns jsonb
    language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_custom_plan' as $$
declare
    v_registration public.runner_registrations := private.registration_of(p_token);
    v_runner public.runners := private.read_runner(p_runner, v_registration);
    v_sha256 bytea := private.read_sha256(p_task_token_sha256);
    v_token private.task_tokens;
    v_task public.tasks;
begin
    -- Two calls with one token (the first still under way) come one after the other.
    perform pg_advisory_xact_lock(hashtextextended(encode(v_sha256, 'hex'), 0));
    select t.* into v_token from private.task_tokens t where t.token_sha256 = v_sha256;
    if found then
        return private.task_claimed_before(v_token, v_registration.id, v_runner.id, p_lease_seconds);
    end if;
    perform private.give_up_tasks();
    select t.* into v_task from public.tasks t
    where (t.status = 'waiting' or (t.status = 'running' and t.lease_until < now()))
        and t.tries < private.max_task_tries()
        and (v_registration.scope = 'team' or t.user_id = v_registration.user_id)
    order by t.created_at, t.id
    limit 1
    for update skip locked;
    if not found then
        return null;
    end if;
    perform private.check_registration(v_registration.id);
    update public.tasks t set
        status = 'running', runner_id = v_runner.id, tries = t.tries + 1, progress = 0, message = '', updated_at = now(),
        lease_until = private.lease_end(private.runner_lease(p_lease_seconds))
    where t.id = v_task.id
    returning t.* into strict v_task;
    insert into private.task_tokens (token_sha256, task_id, registration_id, runner_id, tries, expires_at)
    values (v_sha256, v_task.id, v_registration.id, v_runner.id, v_task.tries, now() + private.token_life());
    return to_jsonb(v_task);
end $$;

-- Part 2: with a task token ------------------------------------------------------------------------------------------

-- The task that a token stands for, its row locked; `p_token` may be of an earlier try.
create function private.hold_task(p_token text, p_task uuid, out task public.tasks, out tries integer)
    language plpgsql security definer set search_path = '' as $$
declare
    v_token private.task_tokens;
begin
    select t.* into v_token from private.task_tokens t
    where t.token_sha256 = private.token_sha256(p_token) and t.expires_at > now();
    if not found then
        raise sqlstate 'PT401' using message = 'This task token is not valid (any more).';
    end if;
    if v_token.task_id = p_task then
        select t.* into task from public.tasks t where t.id = p_task for update;
    end if;
    if task.id is null then
        raise sqlstate 'PT404' using message = 'There is no such task (any more).';
    end if;
    tries := v_token.tries;
end $$;

-- The task that a token stands for, if it is under way and this is its newest try.
create function private.own_task(p_token text, p_task uuid) returns public.tasks
    language plpgsql security definer set search_path = '' as $$
declare
    v_held record := private.hold_task(p_token, p_task);
    v_task public.tasks := v_held.task;
begin
    if v_task.status <> 'running' or v_task.tries <> v_held.tries then
        raise sqlstate 'PT409' using message = 'The task has ended, or another runner has it.';
    end if;
    return v_task;
end $$;

-- Reports progress (0 to 1) and keeps the task.
create function public.task_progress(
    p_token text, p_task uuid, p_progress double precision, p_message text, p_lease_seconds double precision
) returns void
    language plpgsql security definer set search_path = '' as $$
begin
    perform private.own_task(p_token, p_task);
    update public.tasks t set
        progress = least(greatest(coalesce(nullif(p_progress, 'NaN'), 0), 0), 1), message = left(coalesce(p_message, ''), 1000),
        lease_until = private.lease_end(private.runner_lease(p_lease_seconds)), updated_at = now()
    where t.id = p_task;
end $$;

-- Closes the task: done, or failed with the reason. Closing it again in the same way changes nothing.
create function public.task_end(p_token text, p_task uuid, p_error text) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_held record := private.hold_task(p_token, p_task);
    v_task public.tasks := v_held.task;
    v_error text := left(coalesce(p_error, ''), 4000);
    v_status text := case v_error when '' then 'done' else 'failed' end;
begin
    if (v_task.status, v_task.error) = (v_status, v_error) then
        return;
    end if;
    perform private.own_task(p_token, p_task);
    update public.tasks t set
        status = v_status, error = v_error, progress = case v_status when 'done' then 1 else t.progress end,
        lease_until = null, updated_at = now()
    where t.id = p_task;
end $$;

-- Part 3: the data set a task is about -------------------------------------------------------------------------------

create function private.dataset_of_task(p_task public.tasks) returns public.datasets
    language plpgsql stable security definer set search_path = '' as $$
declare
    v_dataset public.datasets;
begin
    select d.* into v_dataset from public.datasets d
    where d.id = private.uuid_of(p_task.subject_id) and d.user_id = p_task.user_id;
    if not found then
        raise sqlstate 'PT404' using message = 'There is no such data set (any more).';
    end if;
    return v_dataset;
end $$;

-- The data set that a task compares its own with: the one its argument `compare_with` names, if it is the same person's.
create function private.peer_of_task(p_task public.tasks) returns public.datasets
    language sql stable security definer set search_path = '' as $$
    select d from public.datasets d
    where d.id = private.uuid_of(p_task.arguments ->> 'compare_with') and d.user_id = p_task.user_id;
$$;

-- A data set as a task reports it, read and checked; `created_at` is left to the caller.
create function private.read_dataset(p_dataset jsonb) returns public.datasets
    language plpgsql stable set search_path = '' as $$
declare
    v_dataset public.datasets;
begin
    if p_dataset is null or jsonb_typeof(p_dataset) <> 'object' then
        raise sqlstate 'PT422' using message = 'A data set is a document.';
    elsif length((p_dataset -> 'report')::text) > 2000000 then
        raise sqlstate 'PT413' using message = 'The report about a data set is longer than 2,000,000 characters.';
    end if;
    begin
        v_dataset := jsonb_populate_record(null::public.datasets, p_dataset);
    exception when data_exception then
        raise sqlstate 'PT422' using message = format('The data set cannot be read (%s).', left(sqlerrm, 300));
    end;
    perform private.check_text(v_dataset.name, 'The data set''s name', 1, 120);
    perform private.check_text(coalesce(v_dataset.file_name, ''), 'The file''s name', 0, 1000);
    perform private.check_text(coalesce(v_dataset.sha256, ''), 'The data set''s sha256', 0, 64);
    perform private.check_text(coalesce(v_dataset.format, ''), 'The data set''s format', 0, 40);
    perform private.check_text(coalesce(v_dataset.mapping, '{}')::text, 'The data set''s mapping', 0, 10000);
    if v_dataset.id is null or v_dataset.status is null or coalesce(v_dataset.rows, 0) < 0
        or v_dataset.status not in ('uploaded', 'checking', 'ready', 'needs_mapping', 'has_errors', 'unreadable') then
        raise sqlstate 'PT422' using message = 'A data set has an id, a status, and no fewer than 0 rows.';
    end if;
    v_dataset.file_name := coalesce(v_dataset.file_name, '');
    v_dataset.sha256 := coalesce(v_dataset.sha256, '');
    v_dataset.format := coalesce(v_dataset.format, 'unknown');
    v_dataset.mapping := coalesce(v_dataset.mapping, '{}');
    v_dataset.rows := coalesce(v_dataset.rows, 0);
    return v_dataset;
end $$;

create function public.task_dataset(p_token text, p_task uuid) returns jsonb
    language plpgsql security definer set search_path = '' as $$
begin
    return to_jsonb(private.dataset_of_task(private.own_task(p_token, p_task)));
end $$;

-- Null where the task compares with nothing.
create function public.task_peer(p_token text, p_task uuid) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_task public.tasks := private.own_task(p_token, p_task);
    v_peer public.datasets := private.peer_of_task(v_task);
begin
    if coalesce(v_task.arguments ->> 'compare_with', '') <> '' and v_peer.id is null then
        raise sqlstate 'PT404' using message = 'There is no such data set (any more).';
    end if;
    return case when v_peer.id is not null then to_jsonb(v_peer) end;
end $$;

-- Writes back what the task found out: name, status, format, mapping, rows, sha256 and report; content and owner never
-- change. A data set without content (an import) gets it here, once, after its file is stored.
create function public.task_save_dataset(p_token text, p_task uuid, p_dataset jsonb) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_task public.tasks := private.own_task(p_token, p_task);
    v_found public.datasets := private.read_dataset(p_dataset);
    v_dataset public.datasets;
    v_folder text := format('%s/datasets/%s', v_task.user_id, private.uuid_of(v_task.subject_id));
begin
    if v_found.id is distinct from private.uuid_of(v_task.subject_id) then
        raise sqlstate 'PT403' using message = 'A task writes back the data set it is about.';
    end if;
    v_dataset := private.dataset_of_task(v_task);
    if v_dataset.bytes = 0 and v_found.bytes > 0 then
        perform private.check_stored(v_dataset.storage_bucket, v_folder, jsonb_build_array(jsonb_build_object(
            'name', substr(v_dataset.storage_path, length(v_folder) + 2), 'bytes', v_found.bytes
        )));
    end if;
    update public.datasets d set
        bytes = case when d.bytes = 0 then coalesce(v_found.bytes, 0) else d.bytes end,
        name = v_found.name, status = v_found.status, format = v_found.format, mapping = v_found.mapping,
        rows = v_found.rows, sha256 = v_found.sha256, report = v_found.report
    where d.id = v_dataset.id
    returning d.* into v_dataset;
    if not found then
        raise sqlstate 'PT404' using message = 'There is no such data set (any more).';
    end if;
    return to_jsonb(v_dataset);
end $$;

-- Enters a new version of the data set the task is about; its file is uploaded already. The same version again gives the
-- stored row.
create function public.task_add_dataset(p_token text, p_task uuid, p_dataset jsonb) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_task public.tasks := private.own_task(p_token, p_task);
    v_new public.datasets := private.read_dataset(p_dataset);
    v_known public.datasets;
    v_folder text := format('%s/datasets/%s', v_task.user_id, v_new.id);
    v_subject uuid := private.uuid_of(v_task.subject_id);
begin
    if v_new.id = v_subject or v_new.parent_id is distinct from v_subject then
        raise sqlstate 'PT403' using
            message = 'The content of a data set never changes: store it as a new version of this one.';
    elsif v_new.user_id is distinct from v_task.user_id
        or v_new.storage_path is null or not starts_with(v_new.storage_path, v_folder || '/')
        or v_new.storage_path ~ '(^|/)\.{0,2}(/|$)'
        or v_new.storage_bucket is null or v_new.storage_bucket not in ('lora-datasets', 'training-files') then
        raise sqlstate 'PT403' using message = 'A new version lies in its own folder, under the person it belongs to.';
    end if;
    perform private.dataset_of_task(v_task);
    select d.* into v_known from public.datasets d where d.id = v_new.id;
    if found then
        if (v_known.user_id, v_known.storage_bucket, v_known.storage_path, v_known.bytes, v_known.parent_id)
            is distinct from (v_new.user_id, v_new.storage_bucket, v_new.storage_path, v_new.bytes, v_new.parent_id)
            or (v_known.sha256 <> '' and v_new.sha256 <> '' and v_known.sha256 <> v_new.sha256) then
            raise sqlstate 'PT409' using message = 'There is another data set with this id.';
        end if;
        return to_jsonb(v_known);
    end if;
    perform private.check_stored(v_new.storage_bucket, v_folder, jsonb_build_array(jsonb_build_object(
        'name', substr(v_new.storage_path, length(v_folder) + 2), 'bytes', v_new.bytes
    )));
    insert into public.datasets
        (id, user_id, name, file_name, storage_bucket, storage_path, bytes, sha256, rows, status, format, mapping, report,
        parent_id, created_at)
    values (
        v_new.id, v_new.user_id, v_new.name, v_new.file_name, v_new.storage_bucket, v_new.storage_path, v_new.bytes,
        v_new.sha256, v_new.rows, v_new.status, v_new.format, v_new.mapping, v_new.report, v_new.parent_id,
        case when isfinite(v_new.created_at) then v_new.created_at else now() end
    )
    on conflict (id) do nothing
    returning * into v_known;
    if not found then  -- somebody was faster with this id
        raise sqlstate 'PT409' using message = 'There is another data set with this id.';
    end if;
    return to_jsonb(v_known);
end $$;

do $$
declare
    name text;
begin
    foreach name in array array[
        'task_claim', 'task_progress', 'task_end', 'task_dataset', 'task_peer', 'task_save_dataset', 'task_add_dataset'
    ] loop
        perform private.grant_function(name, 'anon');
    end loop;
end $$;
