-- Tables of the studio with their keys, row-level security and grants. What changes them is in the files that follow.
--
-- Who may write: people insert and change their own data sets, configs, routes and secrets, and mark notifications as read.
-- Everything else (status, attempts, events, costs, points) changes only through SECURITY DEFINER functions.
-- Names and meaning are those of lora_core/store/local; ids are UUIDs made by the client.

-- A project's default grants may be the old ones (everything to the API roles) or the new ones (nothing): take both away,
-- then grant one by one.
alter default privileges revoke execute on functions from public;
alter default privileges in schema public revoke all on tables from anon, authenticated;
alter default privileges in schema public revoke all on sequences from anon, authenticated;
alter default privileges in schema public revoke execute on functions from anon, authenticated;

create schema if not exists private;
revoke all on schema private from public, anon, authenticated;

create table public.datasets (
    id uuid primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    name text not null check (length(name) between 1 and 120),
    file_name text not null default '' check (length(file_name) <= 1000),
    storage_bucket text not null,
    storage_path text not null check (length(storage_path) <= 1000),
    bytes bigint not null check (bytes >= 0),
    sha256 text not null default '' check (length(sha256) <= 64 and sha256 ~ '^[0-9a-f]*$'),
    rows bigint not null default 0 check (rows >= 0),
    status text not null default 'uploaded'
        check (status in ('uploaded', 'checking', 'ready', 'needs_mapping', 'has_errors', 'unreadable')),
    format text not null default 'unknown' check (length(format) <= 40),
    mapping jsonb not null default '{}' check (length(mapping::text) <= 10000),
    report jsonb check (length(report::text) <= 2000000),
    parent_id uuid,
    -- People write this themselves and other people's machines read it: it has to be a time that every client can read.
    created_at timestamptz not null default now() check (created_at between '1970-01-01Z' and '9000-01-01Z'),
    -- What a job may read follows from this path, so it never leads into somebody else's folder.
    check (storage_bucket in ('lora-datasets', 'training-files')),
    check (starts_with(storage_path, user_id::text || '/') and storage_path !~ '(^|/)\.{1,2}(/|$)')
);
create index datasets_newest on public.datasets (user_id, created_at desc, id desc);

create table public.training_configs (
    id uuid primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    name text not null check (length(name) between 1 and 120),
    draft boolean not null default false,
    config jsonb not null check (length(config::text) <= 100000),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index training_configs_newest on public.training_configs (user_id, updated_at desc, id desc);

create table public.training_jobs (
    id uuid primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    name text not null check (length(name) between 1 and 120),
    dataset_id uuid not null,
    dataset_name text not null default '',
    validation_dataset_id uuid,
    config jsonb not null,
    target text not null default 'local' check (length(target) <= 100),
    gpus integer not null default 0 check (gpus between 0 and 64),
    gpu_memory_gb double precision not null default 0 check (gpu_memory_gb between 0 and 1e6),
    priority integer not null default 0 check (priority between -100 and 100),
    status text not null default 'queued'
        check (status in ('queued', 'initializing', 'running', 'paused', 'failed', 'cancelled', 'completed')),
    status_reason text not null default '',
    requested_action text check (requested_action in ('pause', 'cancel', 'checkpoint')),
    request_id text not null default '',
    phase text not null default '',
    progress double precision not null default 0 check (progress between 0 and 1),
    current_step bigint not null default 0,
    total_steps bigint not null default 0,
    epoch double precision not null default 0,
    train_loss double precision,
    eval_loss double precision,
    best_eval_loss double precision,
    best_step bigint,
    checkpoint_step bigint,
    tokens_per_second double precision,
    elapsed_seconds double precision not null default 0,
    remaining_seconds double precision,
    cost_usd double precision not null default 0,
    error text not null default '',
    attempt integer not null default 0,
    -- Failures in a row without a new checkpoint: lost runners, and what may pass by itself.
    lost_attempts integer not null default 0,
    imported boolean not null default false,
    created_at timestamptz not null default now() check (created_at between '1970-01-01Z' and '9000-01-01Z'),
    started_at timestamptz,
    ended_at timestamptz,
    updated_at timestamptz not null default now(),
    heartbeat_at timestamptz,
    archived_at timestamptz,
    not_before timestamptz check (not_before between '1970-01-01Z' and '9000-01-01Z'),
    -- While it is queued after a failure: no runner takes it earlier.
    retry_at timestamptz,
    estimated_seconds double precision check (estimated_seconds between 0 and 1e9),
    resume_from uuid,
    parent_job_id uuid,
    parent_artifact_id uuid
);
create index training_jobs_newest on public.training_jobs (user_id, created_at desc, id desc);
create index training_jobs_by_status on public.training_jobs (user_id, status, created_at desc, id desc);
create index training_jobs_by_dataset on public.training_jobs (user_id, dataset_id, created_at desc, id desc);
create index training_jobs_shown on public.training_jobs (user_id, created_at desc, id desc) where archived_at is null;
create index training_jobs_away on public.training_jobs (user_id, created_at desc, id desc) where archived_at is not null;
create index training_jobs_counted on public.training_jobs (user_id, status) where archived_at is null;
create index training_jobs_at_work on public.training_jobs (user_id) where status in ('initializing', 'running');
create index training_jobs_resume_from on public.training_jobs (resume_from) where resume_from is not null;
create index training_jobs_queue on public.training_jobs (priority desc, created_at, id) where status = 'queued';
-- For a runner of one person, which must not walk past everybody else's jobs at each claim.
create index training_jobs_queue_of_person on public.training_jobs (user_id, priority desc, created_at, id)
    where status = 'queued';

create table public.job_attempts (
    job_id uuid not null references public.training_jobs (id) on delete cascade,
    number integer not null,
    user_id uuid not null references auth.users (id) on delete cascade,
    runner_id text not null,
    runner_name text not null default '',
    registration_id uuid,
    phase text not null default '',
    start_step bigint not null default 0,
    -- Points of older attempts beyond this step are hidden, by and by: `hiding` until all are.
    hide_beyond bigint,
    hiding boolean not null default false,
    last_seq bigint not null default 0,
    elapsed_before double precision not null default 0,
    lease_until timestamptz,
    started_at timestamptz not null default now(),
    ended_at timestamptz,
    outcome text check (outcome in ('completed', 'paused', 'released', 'cancelled', 'failed', 'lost')),
    reason text not null default '',
    result jsonb not null default '{}',
    imported boolean not null default false,
    primary key (job_id, number)
);
create index job_attempts_leases on public.job_attempts (lease_until) where ended_at is null;
create index job_attempts_of_runner on public.job_attempts (runner_id) where ended_at is null;
create index job_attempts_of_person on public.job_attempts (user_id, started_at);

-- The audit trail outlives the job, so it has no foreign key.
create table public.job_events (
    seq bigint generated always as identity primary key,
    job_id uuid not null,
    user_id uuid not null,
    at timestamptz not null default now(),
    actor text not null,
    action text not null,
    from_status text,
    to_status text,
    reason text not null default ''
);
create index job_events_of_job on public.job_events (job_id, seq);
create index job_events_of_person on public.job_events (user_id);

-- Newest (attempt, seq) of a step wins; `hidden` are points beyond the step from which a newer attempt started.
-- user_id is copied from the job, so that the policy needs no join. It has no index: every question names the job.
create table public.metrics_points (
    job_id uuid not null references public.training_jobs (id) on delete cascade,
    kind text not null check (kind in ('train', 'eval', 'system')),
    step bigint not null check (step >= 0),
    user_id uuid not null,
    attempt integer not null,
    seq bigint not null,
    hidden boolean not null default false,
    recorded_at timestamptz not null,
    epoch double precision,
    tokens_seen bigint,
    loss double precision,
    eval_loss double precision,
    learning_rate double precision,
    grad_norm double precision,
    tokens_per_second double precision,
    samples_per_second double precision,
    data_wait_fraction double precision,
    elapsed_seconds double precision,
    remaining_seconds double precision,
    gpu_memory_allocated_gb double precision,
    gpu_memory_reserved_gb double precision,
    gpu_utilization double precision,
    gpu_temperature_c double precision,
    gpu_power_w double precision,
    extra jsonb,
    nonfinite jsonb,
    primary key (job_id, kind, step)
);

create table public.log_lines (
    job_id uuid not null references public.training_jobs (id) on delete cascade,
    attempt integer not null,
    seq bigint not null,
    user_id uuid not null,
    at timestamptz not null,
    level text not null check (level in ('debug', 'info', 'warning', 'error')),
    source text not null,
    text text not null,
    primary key (job_id, attempt, seq)
);

create table public.samples (
    job_id uuid not null references public.training_jobs (id) on delete cascade,
    attempt integer not null,
    seq bigint not null,
    user_id uuid not null,
    at timestamptz not null,
    step bigint not null default 0,
    data jsonb not null,
    primary key (job_id, attempt, seq)
);

create table public.predictions (
    job_id uuid not null references public.training_jobs (id) on delete cascade,
    attempt integer not null,
    row bigint not null,
    user_id uuid not null,
    step bigint not null default 0,
    data jsonb not null,
    primary key (job_id, attempt, row)
);

create table public.model_artifacts (
    id uuid primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    job_id uuid not null references public.training_jobs (id) on delete cascade,
    attempt integer not null,
    kind text not null check (kind in ('adapter', 'checkpoint', 'metrics', 'logs')),
    name text not null,
    version integer not null default 1,
    step bigint,
    bucket text not null,
    path text not null unique,
    files jsonb not null,
    bytes bigint not null default 0,
    best boolean not null default false,
    eval_loss double precision,
    pinned boolean not null default false,
    created_at timestamptz not null default now()
);
create index model_artifacts_of_job
    on public.model_artifacts (job_id, kind, attempt desc, step desc nulls last, created_at desc);
create index model_artifacts_of_person on public.model_artifacts (user_id);
alter table public.training_jobs
    add foreign key (resume_from) references public.model_artifacts (id) on delete set null;

create table public.cost_records (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null,
    job_id uuid not null,
    attempt integer not null,
    kind text not null,
    rate_usd_per_hour double precision not null default 0,
    seconds double precision not null default 0,
    usd double precision not null default 0,
    source text not null default '',
    at timestamptz not null default now()
);
create index cost_records_of_person on public.cost_records (user_id, at);
create index cost_records_of_job on public.cost_records (job_id);

create table public.budgets (
    user_id uuid primary key references auth.users (id) on delete cascade,
    usd_per_month double precision check (usd_per_month >= 0),
    updated_at timestamptz not null default now()
);

-- Set by the operator; an empty column does not limit.
create table public.quotas (
    user_id uuid primary key references auth.users (id) on delete cascade,
    max_live_jobs integer check (max_live_jobs >= 0),
    running_jobs integer check (running_jobs >= 0),
    gpu_hours_per_month double precision check (gpu_hours_per_month >= 0),
    storage_bytes bigint check (storage_bytes >= 0),
    usd_per_month double precision check (usd_per_month >= 0),
    updated_at timestamptz not null default now()
);

create table public.notifications (
    id uuid primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    job_id uuid,
    kind text not null,
    title text not null,
    body text not null default '',
    created_at timestamptz not null default now(),
    read_at timestamptz,
    imported boolean not null default false  -- history of elsewhere: shown, and sent to nobody
);
create index notifications_newest on public.notifications (user_id, created_at desc, id desc);
create index notifications_unread on public.notifications (user_id) where read_at is null;

create table public.notification_routes (
    id uuid primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    name text not null check (length(name) between 1 and 120),
    shown text not null default '' check (length(shown) <= 200),
    ciphertext text not null check (length(ciphertext) <= 10000),
    key_id text not null check (length(key_id) <= 100),
    events jsonb not null default '[]' check (length(events::text) <= 10000),
    created_at timestamptz not null default now()
);
create index notification_routes_of_person on public.notification_routes (user_id);

create table public.provider_secrets (
    id uuid primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    provider text not null check (provider in ('runpod', 'huggingface')),
    ciphertext text not null check (length(ciphertext) <= 10000),
    key_id text not null check (length(key_id) <= 100),
    last_four text not null check (length(last_four) <= 4),
    created_at timestamptz not null default now(),
    unique (user_id, provider)
);

create table public.cloud_deployments (
    id uuid primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    job_id uuid not null,
    attempt integer not null,
    name text not null unique,
    pod_id text,
    gpu text not null default '',
    cloud text not null default '',
    quoted_usd_per_hour double precision,
    actual_usd_per_hour double precision,
    status text not null default 'creating',
    url text not null default '',
    budget_usd double precision,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    ended_at timestamptz
);
create index cloud_deployments_of_person on public.cloud_deployments (user_id, created_at desc);
create index cloud_deployments_of_job on public.cloud_deployments (job_id, attempt);

-- What a runner token stands for. The token itself is shown once; only its sha256 is kept, in private.runner_tokens.
create table public.runner_registrations (
    id uuid primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    name text not null check (length(name) between 1 and 80),
    scope text not null check (scope in ('mine', 'team')),
    created_at timestamptz not null default now(),
    revoked_at timestamptz
);
create index runner_registrations_of_person on public.runner_registrations (user_id, created_at desc);

-- Runner processes as they describe themselves; several machines may hold one token.
create table public.runners (
    id text primary key check (length(id) <= 100),
    registration_id uuid not null references public.runner_registrations (id) on delete cascade,
    user_id uuid not null references auth.users (id) on delete cascade,
    scope text not null check (scope in ('mine', 'team')),
    name text not null,
    version text not null,
    roles jsonb not null default '[]',
    cpus integer not null,
    memory_gb double precision not null,
    gpus jsonb not null default '[]',
    gpu_memory_gb double precision not null,
    state text not null,
    started_at timestamptz not null,
    seen_at timestamptz not null,
    slots integer not null default 1 check (slots between 1 and 1000)
);
create index runners_of_person on public.runners (user_id, seen_at desc);
create index runners_of_team on public.runners (seen_at desc) where scope = 'team';
create index runners_of_registration on public.runners (registration_id);

create table public.tasks (
    id uuid primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    kind text not null check (kind in (
        'check_dataset', 'measure_dataset', 'drop_bad_rows', 'convert_dataset', 'import_dataset', 'fetch_model'
    )),
    subject_id text not null check (length(subject_id) <= 300),
    arguments jsonb not null default '{}' check (jsonb_typeof(arguments) = 'object'),
    status text not null default 'waiting' check (status in ('waiting', 'running', 'done', 'failed')),
    progress double precision not null default 0,
    message text not null default '',
    error text not null default '',
    runner_id text,
    lease_until timestamptz,
    tries integer not null default 0,
    created_at timestamptz not null default now() check (created_at between '1970-01-01Z' and '9000-01-01Z'),
    updated_at timestamptz not null default now()
);
create unique index tasks_one_open on public.tasks (user_id, kind, subject_id) where status in ('waiting', 'running');
create index tasks_of_subject on public.tasks (user_id, subject_id, created_at desc);
create index tasks_open on public.tasks (status, created_at) where status in ('waiting', 'running');
create index tasks_queue on public.tasks (created_at, id) where status in ('waiting', 'running');
create index tasks_queue_of_person on public.tasks (user_id, created_at, id) where status in ('waiting', 'running');

create table public.chat_turns (
    id uuid primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    artifact_id uuid,
    conversation_id uuid not null,
    request jsonb not null,
    answer jsonb,
    status text not null default 'waiting' check (status in ('waiting', 'running', 'done', 'failed')),
    created_at timestamptz not null default now()
);
create index chat_turns_of_person on public.chat_turns (user_id, conversation_id, created_at);

-- Secrets of machines, as sha256 only. The schema is not exposed and nobody but the definer functions reads it.
create table private.runner_tokens (
    token_sha256 bytea primary key,
    registration_id uuid not null unique references public.runner_registrations (id) on delete cascade,
    created_at timestamptz not null default now()
);
create table private.job_tokens (
    token_sha256 bytea primary key,
    job_id uuid not null references public.training_jobs (id) on delete cascade,
    attempt integer not null,
    registration_id uuid references public.runner_registrations (id) on delete cascade,
    runner_id text,
    expires_at timestamptz not null
);
create unique index job_tokens_of_attempt on private.job_tokens (job_id, attempt);
create table private.task_tokens (
    token_sha256 bytea primary key,
    task_id uuid not null references public.tasks (id) on delete cascade,
    registration_id uuid not null references public.runner_registrations (id) on delete cascade,
    runner_id text not null,
    tries integer not null,
    expires_at timestamptz not null
);
-- A token stands for one try of the task, as a job token does for one attempt: the newest try alone may write.
create unique index task_tokens_of_try on private.task_tokens (task_id, tries);

create table private.invitations (
    id uuid primary key,
    email text not null,
    code_sha256 bytea not null unique,
    created_by uuid,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    accepted_at timestamptz
);
create index invitations_by_email on private.invitations (lower(email));

create table private.studio_settings (
    only_row boolean primary key default true check (only_row),
    open_sign_up boolean not null default false
);
insert into private.studio_settings default values;

-- The transitions of lora_core/lifecycle.py; a test compares the two.
create table private.job_transitions (
    from_status text not null,
    to_status text not null,
    primary key (from_status, to_status)
);
insert into private.job_transitions (from_status, to_status) values
    ('queued', 'initializing'), ('queued', 'paused'), ('queued', 'cancelled'), ('queued', 'failed'),
    ('initializing', 'running'), ('initializing', 'queued'), ('initializing', 'paused'),
    ('initializing', 'failed'), ('initializing', 'cancelled'),
    ('running', 'completed'), ('running', 'queued'), ('running', 'paused'), ('running', 'failed'), ('running', 'cancelled'),
    ('paused', 'queued'), ('paused', 'cancelled'),
    ('failed', 'queued'),
    ('cancelled', 'queued');

create function private.check_job_transition() returns trigger
    language plpgsql security definer set search_path = '' as $$
begin
    if tg_op = 'INSERT' then
        if new.status <> 'queued' then
            raise sqlstate 'PT422' using message = 'A new job starts as queued.';
        end if;
    elsif new.status <> old.status and not exists (
        select 1 from private.job_transitions t where t.from_status = old.status and t.to_status = new.status
    ) then
        raise sqlstate 'PT422' using message = format('A job that is %s cannot become %s.', old.status, new.status);
    end if;
    return new;
end $$;
create trigger training_jobs_lifecycle before insert or update on public.training_jobs
    for each row execute function private.check_job_transition();

create function private.refuse_change() returns trigger
    language plpgsql set search_path = '' as $$
begin
    raise sqlstate 'PT403' using message = format('%s is append-only.', tg_table_name);
end $$;
create trigger job_events_append_only before update or delete or truncate on public.job_events
    for each statement execute function private.refuse_change();
create trigger cost_records_append_only before update or delete or truncate on public.cost_records
    for each statement execute function private.refuse_change();

-- Row-level security: a person reads own rows. `(select auth.uid())` is evaluated once a query, not once a row.
do $$
declare
    name text;
begin
    foreach name in array array[
        'datasets', 'training_configs', 'training_jobs', 'job_attempts', 'job_events', 'metrics_points', 'log_lines',
        'samples', 'predictions', 'model_artifacts', 'cost_records', 'budgets', 'quotas', 'notifications',
        'notification_routes', 'provider_secrets', 'cloud_deployments', 'runner_registrations', 'runners', 'tasks',
        'chat_turns'
    ] loop
        execute format('alter table public.%I enable row level security', name);
        execute format('revoke all on public.%I from public, anon, authenticated', name);
        execute format('grant select on public.%I to authenticated', name);
        execute format('grant all on public.%I to service_role', name);
        if name <> 'runners' then
            execute format(
                'create policy read_own on public.%I for select to authenticated using ((select auth.uid()) = user_id)', name
            );
        end if;
    end loop;
    -- What people write themselves. Columns that decide about money or state are in none of these.
    foreach name in array array['datasets', 'training_configs', 'notification_routes', 'provider_secrets'] loop
        execute format(
            'create policy insert_own on public.%I for insert to authenticated with check ((select auth.uid()) = user_id)', name
        );
        execute format(
            'create policy change_own on public.%I for update to authenticated'
            ' using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id)', name
        );
        execute format(
            'create policy remove_own on public.%I for delete to authenticated using ((select auth.uid()) = user_id)', name
        );
        execute format('grant insert, delete on public.%I to authenticated', name);
    end loop;
end $$;

-- The ciphertext of a secret is read by a dispatcher only (through a function of its own), never by a browser's session.
revoke select on public.provider_secrets, public.notification_routes from authenticated;
grant select (id, user_id, provider, key_id, last_four, created_at) on public.provider_secrets to authenticated;
grant select (id, user_id, name, shown, key_id, events, created_at) on public.notification_routes to authenticated;

grant update (name, file_name, sha256, rows, status, format, mapping, report) on public.datasets to authenticated;
grant update (name, draft, config, updated_at) on public.training_configs to authenticated;
grant update (name, events) on public.notification_routes to authenticated;
grant update (read_at) on public.notifications to authenticated;
create policy mark_own on public.notifications for update to authenticated
    using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);

create policy read_own_and_team on public.runners for select to authenticated
    using ((select auth.uid()) = user_id or scope = 'team');
