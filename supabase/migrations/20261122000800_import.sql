-- Brings a person's own jobs from an embedded studio: `python -m lora_core migrate-to-supabase` calls these, job by job.
--
-- What a person brings was recorded elsewhere, and nobody here can vouch for it. So the job and its attempts are marked as
-- imported, the actions of its events begin with 'imported: ', and no cost comes along. Rows are written only for the
-- person who asks, only while the job's import is open, and an import is closed for good by finish_import, or by the first
-- attempt that is made here (docs/decisions/0007-imported-history-is-marked.md). Every call may be repeated.

-- What a job becomes when its import is finished, and what finish_import found. `counts` is empty while it is open.
create table private.job_imports (
    job_id uuid primary key references public.training_jobs (id) on delete cascade,
    wanted jsonb not null,
    events integer not null default 0,
    counts jsonb,
    left_out jsonb not null default '[]',
    begun_at timestamptz not null default now(),
    finished_at timestamptz
);

create function private.import_conflict(p_message text) returns void
    language plpgsql immutable set search_path = '' as $$
begin
    raise sqlstate 'PT409' using message = p_message,
        hint = 'To import the job again, cancel and delete it here first.';
end $$;

create function private.check_import_rows(p_rows jsonb) returns void
    language plpgsql immutable set search_path = '' as $$
begin
    if p_rows is null or jsonb_typeof(p_rows) <> 'array' then
        raise sqlstate 'PT422' using message = 'Rows come as a list.';
    elsif jsonb_array_length(p_rows) > 1000 then
        raise sqlstate 'PT413' using
            message = format('At most 1,000 rows are imported at once; these are %s.', jsonb_array_length(p_rows));
    end if;
end $$;

-- Times of the past; a clock may be a little ahead.
create function private.is_past(variadic p_moments timestamptz[]) returns boolean
    language sql stable set search_path = '' as $$
    select not exists (
        select from unnest(p_moments) as given (moment)
        where not isfinite(given.moment) or given.moment > now() + interval '1 day' or given.moment < '1970-01-01Z'
    );
$$;

-- Says whether a document has texts under these keys alone. Where a number should be, a text could be NaN, which breaks
-- charts and sums.
create function private.texts_only_in(p_document jsonb, variadic p_keys text[]) returns boolean
    language sql immutable set search_path = '' as $$
    select not exists (
        select from jsonb_each(p_document) field where jsonb_typeof(field.value) = 'string' and field.key <> all (p_keys)
    );
$$;

-- The open import of a job of the person who asks; the job's row is locked.
create function private.open_import(p_job uuid) returns private.job_imports
    language plpgsql security definer set search_path = '' as $$
declare
    v_job public.training_jobs := private.own_job(p_job);
    v_import private.job_imports;
begin
    select i.* into v_import from private.job_imports i where i.job_id = p_job;
    if not found then
        perform private.import_conflict('The job was made here; nothing can be imported into it.');
    elsif v_import.finished_at is not null then
        perform private.import_conflict('The import of this job is finished.');
    elsif v_job.status <> 'paused'
        or exists (select from public.job_attempts a where a.job_id = p_job and not a.imported) then
        perform private.import_conflict('The job has been used here, so its import cannot go on.');
    end if;
    return v_import;
end $$;

create function private.count_imported(p_job uuid) returns jsonb
    language sql stable security definer set search_path = '' as $$
    select jsonb_build_object(
        'attempts', (select count(*) from public.job_attempts a where a.job_id = p_job and a.imported),
        'events', (select i.events from private.job_imports i where i.job_id = p_job),
        'points', (select count(*) from public.metrics_points p where p.job_id = p_job),
        'logs', (select count(*) from public.log_lines l where l.job_id = p_job),
        'samples', (select count(*) from public.samples s where s.job_id = p_job),
        'artifacts', (select count(*) from public.model_artifacts a where a.job_id = p_job)
    );
$$;

create function private.import_answer(p_job uuid) returns jsonb
    language sql stable security definer set search_path = '' as $$
    select jsonb_build_object(
        'finished', i.finished_at is not null, 'counts', i.counts, 'left_out', i.left_out, 'job', to_jsonb(j)
    )
    from private.job_imports i join public.training_jobs j on j.id = i.job_id
    where i.job_id = p_job;
$$;

-- What the job becomes, as it was given, refused unless it is of the kind that a finished or paused job has.
create function private.read_imported_job(p_job jsonb) returns public.training_jobs
    language plpgsql security definer set search_path = '' as $$
declare
    v_job public.training_jobs;
    v_unknown text;
begin
    if p_job is null or jsonb_typeof(p_job) <> 'object' then
        raise sqlstate 'PT422' using message = 'A job is a document.';
    end if;
    select given.key into v_unknown from jsonb_object_keys(p_job) as given (key)
    where given.key <> all (array[
        'id', 'name', 'dataset_id', 'dataset_name', 'validation_dataset_id', 'config', 'target', 'gpus', 'gpu_memory_gb',
        'priority', 'status', 'status_reason', 'progress', 'current_step', 'total_steps', 'epoch', 'train_loss',
        'eval_loss', 'best_eval_loss', 'best_step', 'checkpoint_step', 'tokens_per_second', 'elapsed_seconds', 'error',
        'lost_attempts', 'created_at', 'started_at', 'ended_at', 'updated_at', 'heartbeat_at', 'archived_at', 'not_before',
        'estimated_seconds', 'resume_from', 'parent_job_id', 'parent_artifact_id'
    ])
    limit 1;
    if found then
        raise sqlstate 'PT422' using message = format('%s is not imported.', left(v_unknown, 60));
    end if;
    v_job := jsonb_populate_record(null::public.training_jobs, p_job);
    if v_job.id is null or v_job.dataset_id is null or v_job.created_at is null or v_job.updated_at is null then
        raise sqlstate 'PT422' using message = 'A job has an id, a data set and its times.';
    elsif v_job.status is null or v_job.status not in ('paused', 'failed', 'cancelled', 'completed') then
        raise sqlstate 'PT422' using
            message = format('A job that is %s cannot be imported.', coalesce(left(v_job.status, 20), 'in no state')),
            hint = 'Pause it, or wait for its end.';
    elsif v_job.config is null or jsonb_typeof(v_job.config) <> 'object' then
        raise sqlstate 'PT422' using message = 'A job has a config.';
    elsif not private.texts_only_in(
        p_job, 'id', 'name', 'dataset_id', 'dataset_name', 'validation_dataset_id', 'target', 'status', 'status_reason',
        'error', 'created_at', 'started_at', 'ended_at', 'updated_at', 'heartbeat_at', 'archived_at', 'not_before',
        'resume_from', 'parent_job_id', 'parent_artifact_id'
    ) then
        raise sqlstate 'PT422' using message = 'The numbers of a job are numbers.';
    elsif not private.is_past(
        v_job.created_at, v_job.updated_at, coalesce(v_job.started_at, v_job.created_at),
        coalesce(v_job.ended_at, v_job.created_at), coalesce(v_job.heartbeat_at, v_job.created_at),
        coalesce(v_job.archived_at, v_job.created_at)
    ) then
        raise sqlstate 'PT422' using message = 'What is imported happened in the past.';
    end if;
    perform private.check_made_at(v_job.not_before);
    perform private.check_text(v_job.name, 'The name', 1, 120);
    perform private.check_text(coalesce(v_job.dataset_name, ''), 'The data set''s name', 0, 120);
    perform private.check_text(coalesce(v_job.target, 'local'), 'The target', 1, 100);
    perform private.check_text(v_job.config::text, 'The config', 0, 100000);
    perform private.check_text(coalesce(v_job.status_reason, ''), 'The reason', 0, 16000);
    perform private.check_text(coalesce(v_job.error, ''), 'The error', 0, 16000);
    if coalesce(v_job.gpus, 0) not between 0 and 64 or coalesce(v_job.gpu_memory_gb, 0) not between 0 and 1e6 then
        raise sqlstate 'PT422' using message = 'A job needs 0 to 64 GPUs, and no less than 0 GB of memory on each.';
    elsif coalesce(v_job.progress, 0) not between 0 and 1 then
        raise sqlstate 'PT422' using message = 'Progress is between 0 and 1.';
    elsif v_job.estimated_seconds not between 0 and 1e9 then
        raise sqlstate 'PT422' using message = 'A job is expected to take some seconds, and no longer than a billion.';
    end if;
    return v_job;
end $$;

-- Opens the import of a job, or tells how far it is. Until it is finished the job is paused.
create function public.import_job(p_job jsonb) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_person uuid := private.person();
    v_asked public.training_jobs := private.read_imported_job(p_job);
    v_job public.training_jobs;
begin
    if exists (
        select from public.datasets d
        where d.id in (v_asked.dataset_id, v_asked.validation_dataset_id) and d.user_id <> v_person
    ) then
        raise sqlstate 'PT409' using message = 'There is another data set with this id.';
    end if;
    insert into public.training_jobs (
        id, user_id, name, dataset_id, dataset_name, validation_dataset_id, config, target, gpus, gpu_memory_gb, priority,
        imported, created_at
    ) values (
        v_asked.id, v_person, v_asked.name, v_asked.dataset_id, coalesce(v_asked.dataset_name, ''),
        v_asked.validation_dataset_id, v_asked.config, coalesce(v_asked.target, 'local'), coalesce(v_asked.gpus, 0),
        coalesce(v_asked.gpu_memory_gb, 0), private.priority_of(v_asked.priority), true, v_asked.created_at
    )
    on conflict (id) do nothing
    returning * into v_job;
    if found then
        perform private.set_status(
            v_job, 'paused', v_person::text, 'import begun', 'It is being imported from an embedded studio.', ''
        );
        insert into private.job_imports (job_id, wanted) values (v_asked.id, p_job);
        return private.import_answer(v_asked.id);
    end if;
    select j.* into v_job from public.training_jobs j where j.id = v_asked.id for update;
    if v_job.user_id is distinct from v_person then
        raise sqlstate 'PT409' using message = 'There is another job with this id.';
    elsif not exists (select from private.job_imports i where i.job_id = v_asked.id and i.finished_at is not null) then
        perform private.open_import(v_asked.id);
        -- It may have changed since an earlier call, which did not get to the end.
        update private.job_imports i set wanted = p_job where i.job_id = v_asked.id;
    end if;
    return private.import_answer(v_asked.id);
end $$;

-- Attempts that have ended. The job's number of attempts follows at once, so that no attempt made here takes one of theirs.
create function public.import_attempts(p_job uuid, p_rows jsonb) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_fault text;
begin
    perform private.check_import_rows(p_rows);
    perform private.open_import(p_job);
    select case
        when not private.texts_only_in(
            given.value, 'runner_id', 'runner_name', 'phase', 'started_at', 'ended_at', 'outcome', 'reason'
        ) then 'its numbers'
        when a.number is null or a.number not between 1 and 100000 then 'its number'
        when a.ended_at is null or a.started_at is null or a.ended_at < a.started_at
            or not private.is_past(a.started_at, a.ended_at) then 'its times'
        when a.outcome is null then 'its outcome'
        when coalesce(length(a.runner_id), 0) > 100 or coalesce(length(a.runner_name), 0) > 200 then 'its runner'
        when coalesce(length(a.phase), 0) > 200 or coalesce(length(a.reason), 0) > 16000 then 'its words'
        when coalesce(pg_column_size(a.result), 0) > 1000000 then 'its result'
    end into v_fault
    from jsonb_array_elements(p_rows) as given (value), jsonb_populate_record(null::public.job_attempts, given.value) a
    order by 1 nulls last limit 1;
    if v_fault is not null then
        raise sqlstate 'PT422' using message = format('An attempt cannot be imported: %s.', v_fault);
    end if;
    insert into public.job_attempts (
        job_id, number, user_id, runner_id, runner_name, phase, start_step, last_seq, elapsed_before, started_at, ended_at,
        outcome, reason, result, imported
    )
    select
        p_job, a.number, private.person(), coalesce(a.runner_id, ''), coalesce(a.runner_name, ''), coalesce(a.phase, ''),
        coalesce(a.start_step, 0), coalesce(a.last_seq, 0), coalesce(a.elapsed_before, 0), a.started_at, a.ended_at,
        a.outcome, coalesce(a.reason, ''), coalesce(a.result, '{}'), true
    from jsonb_populate_recordset(null::public.job_attempts, p_rows) a
    on conflict (job_id, number) do nothing;
    update public.training_jobs j set attempt = (
        select coalesce(max(a.number), 0) from public.job_attempts a where a.job_id = p_job
    )
    where j.id = p_job;
end $$;

-- Lines of the audit trail, oldest first. `p_first` is the place of the first of these among all of them, from 0 on: what
-- an earlier call has written is passed over.
create function public.import_events(p_job uuid, p_first integer, p_rows jsonb) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_import private.job_imports;
    v_last integer;
begin
    perform private.check_import_rows(p_rows);
    v_import := private.open_import(p_job);
    if p_first is null or p_first not between 0 and v_import.events then
        perform private.import_conflict(format('The events before number %s are missing.', p_first));
    elsif exists (
        select from jsonb_populate_recordset(null::public.job_events, p_rows) e
        where e.at is null or not private.is_past(e.at) or e.actor is null or e.action is null
            or not coalesce(e.from_status in (
                'queued', 'initializing', 'running', 'paused', 'failed', 'cancelled', 'completed'), true)
            or not coalesce(e.to_status in (
                'queued', 'initializing', 'running', 'paused', 'failed', 'cancelled', 'completed'), true)
            or length(e.actor) > 300 or length(e.action) > 200 or length(e.reason) > 16000
    ) then
        raise sqlstate 'PT422' using message = 'An event has a time in the past, somebody who acted, and what was done.';
    end if;
    insert into public.job_events (job_id, user_id, at, actor, action, from_status, to_status, reason)
    select p_job, private.person(), e.at, e.actor, 'imported: ' || e.action, e.from_status, e.to_status, coalesce(e.reason, '')
    from jsonb_array_elements(p_rows) with ordinality as given (value, place),
        jsonb_populate_record(null::public.job_events, given.value) e
    where p_first + given.place > v_import.events
    order by given.place;
    v_last := p_first + jsonb_array_length(p_rows);
    update private.job_imports i set events = greatest(i.events, v_last) where i.job_id = p_job;
end $$;

-- Metric points; of a step that is there already the stored point stays.
create function public.import_points(p_job uuid, p_rows jsonb) returns void
    language plpgsql security definer set search_path = '' as $$
begin
    perform private.check_import_rows(p_rows);
    perform private.open_import(p_job);
    if exists (
        select from jsonb_populate_recordset(null::public.metrics_points, p_rows) p
        where p.recorded_at is null or not private.is_past(p.recorded_at) or p.step is null
            or p.attempt is null or p.attempt < 1 or p.seq is null
            or coalesce(pg_column_size(p.extra), 0) > 20000 or coalesce(pg_column_size(p.nonfinite), 0) > 20000
            or coalesce(jsonb_typeof(p.extra), 'object') <> 'object'
            or coalesce(jsonb_typeof(p.nonfinite), 'object') <> 'object'
    ) or jsonb_path_exists(  -- as texts_only_in says, for all of them at once
        p_rows, '$[*].keyvalue() ? (@.value.type() == "string" && !(@.key == "kind" || @.key == "recorded_at"))'
    ) then
        raise sqlstate 'PT422' using message = 'A point has a step, its attempt, a time in the past, and finite numbers.';
    end if;
    insert into public.metrics_points (
        job_id, user_id, kind, step, attempt, seq, hidden, recorded_at, epoch, tokens_seen, loss, eval_loss, learning_rate,
        grad_norm, tokens_per_second, samples_per_second, data_wait_fraction, elapsed_seconds, remaining_seconds,
        gpu_memory_allocated_gb, gpu_memory_reserved_gb, gpu_utilization, gpu_temperature_c, gpu_power_w, extra, nonfinite
    )
    select
        p_job, private.person(), p.kind, p.step, p.attempt, p.seq, coalesce(p.hidden, false), p.recorded_at, p.epoch,
        p.tokens_seen, p.loss, p.eval_loss, p.learning_rate, p.grad_norm, p.tokens_per_second, p.samples_per_second,
        p.data_wait_fraction, p.elapsed_seconds, p.remaining_seconds, p.gpu_memory_allocated_gb, p.gpu_memory_reserved_gb,
        p.gpu_utilization, p.gpu_temperature_c, p.gpu_power_w, p.extra, p.nonfinite
    from jsonb_populate_recordset(null::public.metrics_points, p_rows) p
    on conflict (job_id, kind, step) do nothing;
end $$;

create function public.import_logs(p_job uuid, p_rows jsonb) returns void
    language plpgsql security definer set search_path = '' as $$
begin
    perform private.check_import_rows(p_rows);
    perform private.open_import(p_job);
    if exists (
        select from jsonb_populate_recordset(null::public.log_lines, p_rows) l
        where l.at is null or not private.is_past(l.at) or l.attempt is null or l.attempt < 1 or l.seq is null
            or l.level is null or l.level not in ('debug', 'info', 'warning', 'error')
    ) then
        raise sqlstate 'PT422' using message = 'A log line has an attempt, a number, a level and a time in the past.';
    end if;
    insert into public.log_lines (job_id, user_id, attempt, seq, at, level, source, text)
    select p_job, private.person(), l.attempt, l.seq, l.at, l.level, left(coalesce(l.source, 'trainer'), 100),
        left(coalesce(l.text, ''), 16000)
    from jsonb_populate_recordset(null::public.log_lines, p_rows) l
    on conflict (job_id, attempt, seq) do nothing;
end $$;

create function public.import_samples(p_job uuid, p_rows jsonb) returns void
    language plpgsql security definer set search_path = '' as $$
begin
    perform private.check_import_rows(p_rows);
    perform private.open_import(p_job);
    if exists (
        select from jsonb_populate_recordset(null::public.samples, p_rows) s
        where s.at is null or not private.is_past(s.at) or s.attempt is null or s.attempt < 1 or s.seq is null
            or s.data is null or pg_column_size(s.data) > 1000000
    ) then
        raise sqlstate 'PT422' using message = 'A sample has an attempt, a number, a time in the past, and what was said.';
    end if;
    insert into public.samples (job_id, user_id, attempt, seq, at, step, data)
    select p_job, private.person(), s.attempt, s.seq, s.at, coalesce(s.step, 0), s.data
    from jsonb_populate_recordset(null::public.samples, p_rows) s
    on conflict (job_id, attempt, seq) do nothing;
end $$;

-- Enters an artifact whose files are uploaded. One that did not fit when the import was finished may follow later.
create function public.import_artifact(p_artifact jsonb) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_asked public.model_artifacts;
    v_artifact public.model_artifacts;
    v_import private.job_imports;
    v_files jsonb;
    v_path text;
begin
    if p_artifact is null or jsonb_typeof(p_artifact) <> 'object' then
        raise sqlstate 'PT422' using message = 'An artifact is a document.';
    end if;
    v_asked := jsonb_populate_record(null::public.model_artifacts, p_artifact);
    if v_asked.id is null or v_asked.kind is null or v_asked.created_at is null
        or not private.is_past(v_asked.created_at) then
        raise sqlstate 'PT422' using message = 'An artifact has an id, a kind, and a time in the past.';
    end if;
    perform private.own_job(v_asked.job_id);
    select a.* into v_artifact from public.model_artifacts a where a.id = v_asked.id;
    if found then
        if (v_artifact.job_id, v_artifact.user_id) is distinct from (v_asked.job_id, private.person()) then
            raise sqlstate 'PT409' using message = 'There is another artifact with this id.';
        end if;
        return to_jsonb(v_artifact);
    end if;
    select i.* into v_import from private.job_imports i where i.job_id = v_asked.job_id;
    if v_import.finished_at is null or not v_import.left_out ? v_asked.id::text then
        perform private.open_import(v_asked.job_id);
    end if;
    if not exists (
        select from public.job_attempts a
        where a.job_id = v_asked.job_id and a.number = v_asked.attempt and a.imported
    ) then
        raise sqlstate 'PT422' using message = 'An artifact belongs to an imported attempt.';
    end if;
    v_path := format('%s/jobs/%s/%s/%s', private.person(), v_asked.job_id, v_asked.attempt, v_asked.id);
    perform private.check_text(v_asked.name, 'The artifact''s name', 1, 200);
    v_files := private.read_files(v_asked.files);
    perform private.check_stored('model-artifacts', v_path, v_files);
    v_asked.bytes := (select sum((f.value ->> 'bytes')::bigint) from jsonb_array_elements(v_files) f (value));
    perform private.check_storage_quota(private.person(), v_asked.bytes);
    insert into public.model_artifacts (
        id, user_id, job_id, attempt, kind, name, version, step, bucket, path, files, bytes, best, eval_loss, pinned, created_at
    ) values (
        v_asked.id, private.person(), v_asked.job_id, v_asked.attempt, v_asked.kind, v_asked.name,
        coalesce(v_asked.version, 1), v_asked.step, 'model-artifacts', v_path, v_files, v_asked.bytes,
        coalesce(v_asked.best, false), case when v_asked.eval_loss - v_asked.eval_loss = 0 then v_asked.eval_loss end,
        coalesce(v_asked.pinned, false), v_asked.created_at
    )
    returning * into v_artifact;
    update private.job_imports i set
        left_out = i.left_out - v_asked.id::text,
        counts = jsonb_set(i.counts, '{artifacts}', to_jsonb((i.counts ->> 'artifacts')::integer + 1))
    where i.job_id = v_asked.job_id and i.finished_at is not null;
    return to_jsonb(v_artifact);
end $$;

-- What the bell showed. Of jobs that are somebody else's nothing is told.
create function public.import_notifications(p_rows jsonb) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_person uuid := private.person();
begin
    perform private.check_import_rows(p_rows);
    if exists (
        select from jsonb_populate_recordset(null::public.notifications, p_rows) n
        where n.id is null or n.kind is null or length(n.kind) not between 1 and 60
            or n.title is null or length(n.title) not between 1 and 300 or length(n.body) > 16000
            or n.created_at is null or not private.is_past(n.created_at, coalesce(n.read_at, n.created_at))
    ) then
        raise sqlstate 'PT422' using message = 'A notification has an id, a kind, a title and a time in the past.';
    elsif exists (
        select from jsonb_populate_recordset(null::public.notifications, p_rows) n
        join public.training_jobs j on j.id = n.job_id where j.user_id <> v_person
    ) then
        raise sqlstate 'PT409' using message = 'There is another job with this id.';
    end if;
    insert into public.notifications (id, user_id, job_id, kind, title, body, created_at, read_at, imported)
    select n.id, v_person, n.job_id, n.kind, n.title, coalesce(n.body, ''), n.created_at, n.read_at, true
    from jsonb_populate_recordset(null::public.notifications, p_rows) n
    on conflict (id) do nothing;
    if exists (
        select from jsonb_populate_recordset(null::public.notifications, p_rows) n
        join public.notifications known on known.id = n.id where known.user_id <> v_person
    ) then
        raise sqlstate 'PT409' using message = 'There is another notification with this id.';
    end if;
end $$;

-- Makes the job what it was, by transitions that the table has, and closes its import for good. What arrived must be what
-- was expected: {attempts, events, points, logs, samples, artifacts}. `p_left_out` are ids of artifacts that did not fit.
create function public.finish_import(p_job uuid, p_expected jsonb, p_left_out jsonb default '[]') returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_job public.training_jobs := private.own_job(p_job);
    v_import private.job_imports;
    v_wanted public.training_jobs;
    v_counts jsonb;
    v_differs text;
    v_status text;
begin
    if exists (select from private.job_imports i where i.job_id = p_job and i.finished_at is not null) then
        return private.import_answer(p_job);
    elsif p_left_out is null or jsonb_typeof(p_left_out) <> 'array' or jsonb_array_length(p_left_out) > 1000
        or length(p_left_out::text) > 50000 then
        raise sqlstate 'PT422' using message = 'What was left out is a list of ids.';
    end if;
    v_import := private.open_import(p_job);
    v_counts := private.count_imported(p_job);
    select format('%s of %s %s', have.value, coalesce(p_expected ->> have.key, 'no number of'), have.key) into v_differs
    from jsonb_each_text(v_counts) have where have.value is distinct from p_expected ->> have.key
    limit 1;
    if found then
        raise sqlstate 'PT409' using message = format('The import of the job is not whole: %s arrived.', v_differs),
            hint = 'Run the import again.';
    end if;
    v_wanted := jsonb_populate_record(null::public.training_jobs, v_import.wanted);
    foreach v_status in array case v_wanted.status
        when 'paused' then array[]::text[]
        when 'cancelled' then array['cancelled']
        when 'failed' then array['queued', 'failed']
        else array['queued', 'initializing', 'running', 'completed']
    end loop
        update public.training_jobs j set status = v_status where j.id = p_job;
    end loop;
    perform private.record_event(
        v_job, private.person()::text, 'import finished', nullif(v_wanted.status, 'paused'), ''
    );
    update public.training_jobs j set
        name = v_wanted.name,
        dataset_id = v_wanted.dataset_id,
        dataset_name = coalesce(v_wanted.dataset_name, ''),
        validation_dataset_id = v_wanted.validation_dataset_id,
        config = v_wanted.config,
        target = coalesce(v_wanted.target, 'local'),
        gpus = coalesce(v_wanted.gpus, 0),
        gpu_memory_gb = coalesce(v_wanted.gpu_memory_gb, 0),
        priority = private.priority_of(v_wanted.priority),
        status_reason = coalesce(v_wanted.status_reason, ''),
        progress = coalesce(v_wanted.progress, 0),
        current_step = coalesce(v_wanted.current_step, 0),
        total_steps = coalesce(v_wanted.total_steps, 0),
        epoch = coalesce(v_wanted.epoch, 0),
        train_loss = v_wanted.train_loss,
        eval_loss = v_wanted.eval_loss,
        best_eval_loss = v_wanted.best_eval_loss,
        best_step = v_wanted.best_step,
        checkpoint_step = v_wanted.checkpoint_step,
        tokens_per_second = v_wanted.tokens_per_second,
        elapsed_seconds = coalesce(v_wanted.elapsed_seconds, 0),
        error = coalesce(v_wanted.error, ''),
        lost_attempts = coalesce(v_wanted.lost_attempts, 0),
        created_at = v_wanted.created_at,
        started_at = v_wanted.started_at,
        ended_at = case when v_wanted.status = 'paused' then null else v_wanted.ended_at end,
        updated_at = v_wanted.updated_at,
        heartbeat_at = v_wanted.heartbeat_at,
        archived_at = case when v_wanted.status <> 'paused' then v_wanted.archived_at end,
        not_before = v_wanted.not_before,
        estimated_seconds = v_wanted.estimated_seconds,
        resume_from = (select a.id from public.model_artifacts a where a.id = v_wanted.resume_from and a.job_id = p_job),
        parent_job_id = v_wanted.parent_job_id,
        parent_artifact_id = v_wanted.parent_artifact_id
    where j.id = p_job;
    update private.job_imports i set counts = v_counts, left_out = p_left_out, finished_at = now() where i.job_id = p_job;
    return private.import_answer(p_job);
end $$;

do $$
declare
    name text;
begin
    foreach name in array array[
        'import_job', 'import_attempts', 'import_events', 'import_points', 'import_logs', 'import_samples',
        'import_artifact', 'import_notifications', 'finish_import'
    ] loop
        perform private.grant_function(name, 'authenticated');
    end loop;
end $$;
