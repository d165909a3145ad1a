-- Who may read and write which files. Keys are '<user>/datasets/<id>/...' and '<user>/jobs/<job>/<attempt>/<artifact>/...':
-- people own what lies in their folder; a runner shows its job or task token in the header x-job-token and gets what that
-- attempt or try needs, and nothing else.
--
-- Policies ask the functions below with `(select ...)`, so that a token is looked up once a query, not once a row. These
-- functions lie in a schema of their own, which is not exposed: anon may call them in a policy, but not over HTTP.

insert into storage.buckets (id, name, public) values
    ('lora-datasets', 'lora-datasets', false),
    ('training-files', 'training-files', false),
    ('model-artifacts', 'model-artifacts', false)
on conflict (id) do nothing;

create schema if not exists file_access;
revoke all on schema file_access from public, anon, authenticated;
grant usage on schema file_access to anon;

-- Part 1: what a token stands for ------------------------------------------------------------------------------------

create function private.header_token_sha256() returns bytea
    language sql stable set search_path = '' as $$
    select private.token_sha256(nullif(current_setting('request.headers', true), '')::json ->> 'x-job-token');
$$;

-- The job whose newest attempt the header's token stands for, while that attempt may write (with `p_tail`: its tail too).
create function private.job_of_header(p_tail boolean) returns setof public.training_jobs
    language sql stable security definer set search_path = '' rows 1 as $$
    select j.*
    from private.job_tokens t
    join public.training_jobs j on j.id = t.job_id and j.attempt = t.attempt
    join public.job_attempts a on a.job_id = t.job_id and a.number = t.attempt
    where t.token_sha256 = private.header_token_sha256() and t.expires_at > now()
        and (a.ended_at is null or (p_tail and a.ended_at >= now() - private.drain()));
$$;

-- The data set of the task whose newest try the header's token stands for, while that is under way.
create function private.task_dataset_of_header() returns setof public.datasets
    language sql stable security definer set search_path = '' rows 1 as $$
    select d.*
    from private.task_tokens t
    join public.tasks k on k.id = t.task_id and k.tries = t.tries and k.status = 'running'
    join public.datasets d on d.id = private.uuid_of(k.subject_id) and d.user_id = k.user_id
    where t.token_sha256 = private.header_token_sha256() and t.expires_at > now();
$$;

-- The data set that this task compares with.
create function private.task_peer_of_header() returns setof public.datasets
    language sql stable security definer set search_path = '' rows 1 as $$
    select d.*
    from private.task_tokens t
    join public.tasks k on k.id = t.task_id and k.tries = t.tries and k.status = 'running'
    join public.datasets d on d.id = private.uuid_of(k.arguments ->> 'compare_with') and d.user_id = k.user_id
    where t.token_sha256 = private.header_token_sha256() and t.expires_at > now();
$$;

-- Part 2: what policies ask ------------------------------------------------------------------------------------------

-- '<bucket>/<key>' of the list of issues beside the task's data set.
create function file_access.issues_file() returns text
    language sql stable security definer set search_path = '' as $$
    select d.storage_bucket || '/' || regexp_replace(d.storage_path, '[^/]*$', '') || 'issues.jsonl'
    from private.task_dataset_of_header() d;
$$;

-- '<bucket>/<key>' of every file, outside of the job's own folder, that the token may read.
create function file_access.readable_files() returns text[]
    language sql stable security definer set search_path = '' as $$
    select array(
        select d.storage_bucket || '/' || d.storage_path
        from private.job_of_header(false) j
        join public.datasets d on d.user_id = j.user_id and d.id in (j.dataset_id, j.validation_dataset_id)
        union all
        select d.storage_bucket || '/' || d.storage_path from private.task_dataset_of_header() d
        union all
        select d.storage_bucket || '/' || d.storage_path from private.task_peer_of_header() d
        union all
        select file_access.issues_file()
        union all  -- of another job: exactly the files of the checkpoint that this one was forked from
        select a.bucket || '/' || a.path || '/' || (f.value ->> 'name')
        from private.job_of_header(false) j
        join public.model_artifacts a on a.id = j.parent_artifact_id and a.user_id = j.user_id
        cross join jsonb_array_elements(a.files) f (value)
    );
$$;

-- Folder of the job's artifacts, of all its attempts.
create function file_access.job_folder() returns text
    language sql stable security definer set search_path = '' as $$
    select format('%s/jobs/%s/', j.user_id, j.id) from private.job_of_header(true) j;
$$;

create function file_access.attempt_folder() returns text
    language sql stable security definer set search_path = '' as $$
    select format('%s/jobs/%s/%s/', j.user_id, j.id, j.attempt) from private.job_of_header(true) j;
$$;

-- '<bucket>/<folder>' below which the task may store a new version of its data set.
create function file_access.versions_folder() returns text
    language sql stable security definer set search_path = '' as $$
    select format('%s/%s/datasets/', d.storage_bucket, d.user_id) from private.task_dataset_of_header() d;
$$;

-- Whether a key is the file of a data set that has no row, or no content yet.
create function file_access.is_free(p_key text) returns boolean
    language sql stable security definer set search_path = '' as $$
    select p_key ~ '^[^/]+/datasets/[^/]+/data(\.[A-Za-z0-9]+){0,2}$'
        and private.uuid_of(split_part(p_key, '/', 3)) is not null
        and not exists (
            select from public.datasets d where d.id = private.uuid_of(split_part(p_key, '/', 3)) and d.bytes > 0
        );
$$;

-- Whether the folder of an artifact has its row.
create function file_access.has_owner(p_key text) returns boolean
    language sql stable security definer set search_path = '' as $$
    select exists (
        select from public.model_artifacts a where a.path = array_to_string((string_to_array(p_key, '/'))[1:5], '/')
    );
$$;

-- Whether the person who asks may store more. A file that goes beyond the limit is still taken, and its row then refused in
-- words; after that, and of files without a row, no more are taken.
create function file_access.has_room() returns boolean
    language sql stable security definer set search_path = '' as $$
    select not exists (
        select from public.quotas q
        where q.user_id = auth.uid() and q.storage_bytes < private.bytes_of_files(q.user_id)
    );
$$;

revoke all on all functions in schema file_access from public, anon, authenticated;
grant execute on all functions in schema file_access to anon;
-- A policy finds its function without the right to look into the schema.
revoke all on function file_access.has_room() from anon;
grant execute on function file_access.has_room() to authenticated;

-- Part 3: policies ---------------------------------------------------------------------------------------------------

create policy "Studio: people have their own folder" on storage.objects for all to authenticated
    using (
        bucket_id in ('lora-datasets', 'training-files', 'model-artifacts')
        and (storage.foldername(name))[1] = (select auth.uid())::text
    )
    with check (
        bucket_id in ('lora-datasets', 'training-files', 'model-artifacts')
        and (storage.foldername(name))[1] = (select auth.uid())::text and name !~ '(^|/)\.{0,2}(/|$)'
    );

create policy "Studio: people store no more than they may" on storage.objects as restrictive for insert to authenticated
    with check (bucket_id not in ('lora-datasets', 'training-files', 'model-artifacts') or (select file_access.has_room()));

create policy "Studio: a token reads" on storage.objects for select to anon
    using (
        bucket_id in ('lora-datasets', 'training-files', 'model-artifacts') and (
            bucket_id || '/' || name = any ((select file_access.readable_files())::text[])
            or (bucket_id = 'model-artifacts' and starts_with(name, (select file_access.job_folder())))
            or (starts_with(bucket_id || '/' || name, (select file_access.versions_folder())) and file_access.is_free(name))
        )
    );

-- Write-once: there is no policy for update of what an attempt has stored.
create policy "Studio: an attempt stores artifacts" on storage.objects for insert to anon
    with check (
        bucket_id = 'model-artifacts' and starts_with(name, (select file_access.attempt_folder()))
        and array_length(string_to_array(name, '/'), 1) >= 6 and name !~ '(^|/)\.{0,2}(/|$)'
    );

create policy "Studio: an attempt removes what has no row any more" on storage.objects for delete to anon
    using (
        bucket_id = 'model-artifacts' and starts_with(name, (select file_access.job_folder()))
        and not file_access.has_owner(name)
    );

-- A task that is tried again writes the same files again, so both may be replaced.
create policy "Studio: a task stores issues and new versions" on storage.objects for insert to anon
    with check (
        bucket_id in ('lora-datasets', 'training-files') and (
            bucket_id || '/' || name = (select file_access.issues_file())
            or (starts_with(bucket_id || '/' || name, (select file_access.versions_folder())) and file_access.is_free(name))
        )
    );
create policy "Studio: a task replaces issues and new versions" on storage.objects for update to anon
    using (
        bucket_id in ('lora-datasets', 'training-files') and (
            bucket_id || '/' || name = (select file_access.issues_file())
            or (starts_with(bucket_id || '/' || name, (select file_access.versions_folder())) and file_access.is_free(name))
        )
    )
    with check (
        bucket_id in ('lora-datasets', 'training-files') and (
            bucket_id || '/' || name = (select file_access.issues_file())
            or (starts_with(bucket_id || '/' || name, (select file_access.versions_folder())) and file_access.is_free(name))
        )
    );
