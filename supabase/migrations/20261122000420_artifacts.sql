-- What an attempt reads and leaves behind: data sets of its job, checkpoints, the adapter. Rows only; the files lie in
-- Storage (its policies are in a later file), and are there before their row is, and gone after it is.

-- The row of a data set of the job.
create function public.job_dataset(p_token text, p_job uuid, p_attempt integer, p_dataset uuid) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_holder private.holder := private.hold_attempt(p_token, p_job, p_attempt);
    v_job public.training_jobs := v_holder.job;
    v_dataset public.datasets;
begin
    perform private.check_holder(v_holder, false);
    if p_dataset is null or not (p_dataset = v_job.dataset_id or p_dataset is not distinct from v_job.validation_dataset_id) then
        raise sqlstate 'PT404' using message = 'The job does not use that data set.';
    end if;
    select d.* into v_dataset from public.datasets d where d.id = p_dataset and d.user_id = v_job.user_id;
    if not found then
        raise sqlstate 'PT404' using message = 'There is no such data set (any more).';
    end if;
    return to_jsonb(v_dataset);
end $$;

-- The row of one of the job's artifacts, of whatever attempt, or of the checkpoint it was forked from. While the tail
-- arrives too: a runner asks whether what it stores is there already.
create function public.job_artifact(p_token text, p_job uuid, p_attempt integer, p_artifact uuid) returns jsonb
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

-- Files of an artifact as the runner lists them, read and checked: names are keys of Storage below the artifact's own.
create function private.read_files(p_files jsonb) returns jsonb
    language plpgsql stable set search_path = '' as $$
declare
    v_files jsonb;
    v_good boolean;
begin
    if p_files is null or jsonb_typeof(p_files) <> 'array' or jsonb_array_length(p_files) not between 1 and 1000 then
        raise sqlstate 'PT422' using message = 'An artifact has between 1 and 1000 files.';
    end if;
    select
        jsonb_agg(jsonb_build_object('name', f.name, 'bytes', f.bytes, 'sha256', f.sha256) order by f.place),
        coalesce(bool_and(
            length(f.name) <= 300 and f.name ~ '^[A-Za-z0-9._=@+-]+(/[A-Za-z0-9._=@+-]+)*$'
            and f.name !~ '(^|/)\.{1,2}(/|$)' and f.bytes is not null and f.sha256 ~ '^[0-9a-f]{64}$'
        ), false) and count(distinct f.name) = count(*)
    into v_files, v_good
    from (
        select e.value ->> 'name' as name, private.count_of(e.value -> 'bytes') as bytes, e.value ->> 'sha256' as sha256, e.place
        from jsonb_array_elements(p_files) with ordinality as e (value, place)
    ) f;
    -- bool_and passes over what is null, so names and hashes that are missing are counted.
    if not v_good or exists (
        select from jsonb_array_elements(v_files) f (value) where f.value ->> 'name' is null or f.value ->> 'sha256' is null
    ) then
        raise sqlstate 'PT422' using message = 'Each file of an artifact has a name of its own, its bytes and its sha256.';
    end if;
    return v_files;
end $$;

-- Refuses files that are not in Storage with the size they should have.
create function private.check_stored(p_bucket text, p_folder text, p_files jsonb) returns void
    language plpgsql stable security definer set search_path = '' as $$
declare
    v_name text;
begin
    select f.value ->> 'name' into v_name from jsonb_array_elements(p_files) f (value)
    where not exists (
        select from storage.objects o
        where o.bucket_id = p_bucket and o.name = p_folder || '/' || (f.value ->> 'name')
            and o.metadata ->> 'size' = f.value ->> 'bytes'
    )
    limit 1;
    if found then
        raise sqlstate 'PT409' using message = format('The file %s has not arrived as it was sent.', left(v_name, 300)),
            hint = 'Send it again.';
    end if;
end $$;

-- Enters an artifact whose files are uploaded. The same id again gives the stored row. Of the artifacts of a kind only
-- the newest best one is the best; a checkpoint ends the count of lost attempts.
create function public.job_put_artifact(p_token text, p_job uuid, p_attempt integer, p_artifact jsonb) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_holder private.holder := private.hold_attempt(p_token, p_job, p_attempt);
    v_job public.training_jobs := v_holder.job;
    v_asked record;
    v_artifact public.model_artifacts;
    v_path text;
    v_files jsonb;
begin
    perform private.check_holder(v_holder, true);
    if p_artifact is null or jsonb_typeof(p_artifact) <> 'object' then
        raise sqlstate 'PT422' using message = 'An artifact is a document.';
    end if;
    begin
        select * into v_asked from jsonb_to_record(p_artifact) as asked (
            id uuid, user_id uuid, job_id uuid, kind text, name text, version integer, step jsonb, bucket text, path text,
            files jsonb, best boolean, eval_loss double precision, pinned boolean, created_at timestamptz
        );
    exception when data_exception then
        raise sqlstate 'PT422' using message = format('The artifact cannot be read (%s).', left(sqlerrm, 300));
    end;
    if v_asked.user_id <> v_job.user_id then
        raise sqlstate 'PT403' using message = 'An artifact belongs to the person whose job made it.';
    end if;
    select a.* into v_artifact from public.model_artifacts a where a.id = v_asked.id;
    if found then
        if (v_artifact.job_id, v_artifact.attempt) <> (p_job, p_attempt) then
            raise sqlstate 'PT409' using message = 'There is another artifact with this id.';
        end if;
        return to_jsonb(v_artifact);
    end if;
    v_path := format('%s/jobs/%s/%s/%s', v_job.user_id, p_job, p_attempt, v_asked.id);
    if v_asked.id is null or v_asked.job_id <> p_job
        or v_asked.kind is null or v_asked.kind not in ('adapter', 'checkpoint', 'metrics', 'logs') then
        raise sqlstate 'PT422' using message = 'An artifact has an id, the id of its job, and a kind.';
    elsif coalesce(nullif(v_asked.path, ''), v_path) <> v_path
        or coalesce(nullif(v_asked.bucket, ''), 'model-artifacts') <> 'model-artifacts' then
        raise sqlstate 'PT403' using message = 'An artifact lies in the folder of its attempt.';
    end if;
    perform private.check_text(v_asked.name, 'The artifact''s name', 1, 200);
    v_files := private.read_files(v_asked.files);
    perform private.check_stored('model-artifacts', v_path, v_files);
    if v_asked.best then
        update public.model_artifacts a set best = false where a.job_id = p_job and a.kind = v_asked.kind and a.best;
    end if;
    insert into public.model_artifacts
        (id, user_id, job_id, attempt, kind, name, version, step, bucket, path, files, bytes, best, eval_loss, pinned,
        created_at)
    values (
        v_asked.id, v_job.user_id, p_job, p_attempt, v_asked.kind, v_asked.name, coalesce(v_asked.version, 1),
        private.count_of(v_asked.step), 'model-artifacts', v_path, v_files,
        (select sum((f.value ->> 'bytes')::bigint) from jsonb_array_elements(v_files) f (value)),
        coalesce(v_asked.best, false), case when v_asked.eval_loss - v_asked.eval_loss = 0 then v_asked.eval_loss end,
        coalesce(v_asked.pinned, false), case when isfinite(v_asked.created_at) then v_asked.created_at else now() end
    )
    on conflict (id) do nothing
    returning * into v_artifact;
    if not found then  -- another job was faster with this id
        raise sqlstate 'PT409' using message = 'There is another artifact with this id.';
    end if;
    if v_artifact.kind = 'checkpoint' then
        update public.training_jobs j set lost_attempts = 0, checkpoint_step = v_artifact.step, updated_at = now()
        where j.id = p_job;
    end if;
    return to_jsonb(v_artifact);
end $$;

-- Removes the row of a rotated checkpoint and returns it: the caller then removes the files. A pinned one stays, and a
-- missing one is no error: both answer null.
create function public.job_drop_artifact(p_token text, p_job uuid, p_attempt integer, p_artifact uuid) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_holder private.holder := private.hold_attempt(p_token, p_job, p_attempt);
    v_artifact public.model_artifacts;
begin
    perform private.check_holder(v_holder, true);
    select a.* into v_artifact from public.model_artifacts a where a.id = p_artifact and a.job_id = p_job;
    if not found or v_artifact.pinned then
        return null;
    elsif v_artifact.kind <> 'checkpoint' then
        raise sqlstate 'PT403' using message = 'A runner removes checkpoints only.';
    end if;
    delete from public.model_artifacts a where a.id = p_artifact;
    return to_jsonb(v_artifact);
end $$;

do $$
declare
    name text;
begin
    foreach name in array array['job_dataset', 'job_artifact', 'job_put_artifact', 'job_drop_artifact'] loop
        perform private.grant_function(name, 'anon');
    end loop;
end $$;
