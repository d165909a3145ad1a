-- First schema of the embedded store. Times are UTC ISO text, documents are JSON text, ids are UUIDs made by the client.

CREATE TABLE datasets (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    file_name TEXT NOT NULL DEFAULT '',
    storage_bucket TEXT NOT NULL,
    storage_path TEXT NOT NULL,
    bytes INTEGER NOT NULL CHECK (bytes >= 0),
    sha256 TEXT NOT NULL DEFAULT '',
    rows INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL CHECK (status IN ('uploaded', 'checking', 'ready', 'needs_mapping', 'has_errors', 'unreadable')),
    format TEXT NOT NULL,
    mapping TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(mapping)),
    report TEXT CHECK (report IS NULL OR json_valid(report)),
    parent_id TEXT,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX datasets_newest ON datasets (user_id, created_at DESC, id DESC);

CREATE TABLE training_configs (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    draft INTEGER NOT NULL DEFAULT 0 CHECK (draft IN (0, 1)),
    config TEXT NOT NULL CHECK (json_valid(config)),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX training_configs_newest ON training_configs (user_id, updated_at DESC, id DESC);

CREATE TABLE training_jobs (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    dataset_id TEXT NOT NULL,
    dataset_name TEXT NOT NULL DEFAULT '',
    validation_dataset_id TEXT,
    config TEXT NOT NULL CHECK (json_valid(config)),
    target TEXT NOT NULL,
    gpus INTEGER NOT NULL DEFAULT 0,
    gpu_memory_gb REAL NOT NULL DEFAULT 0,
    priority INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'initializing', 'running', 'paused', 'failed', 'cancelled', 'completed')),
    status_reason TEXT NOT NULL DEFAULT '',
    requested_action TEXT CHECK (requested_action IN ('pause', 'cancel', 'checkpoint')),
    request_id TEXT NOT NULL DEFAULT '',
    phase TEXT NOT NULL DEFAULT '',
    progress REAL NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
    current_step INTEGER NOT NULL DEFAULT 0,
    total_steps INTEGER NOT NULL DEFAULT 0,
    epoch REAL NOT NULL DEFAULT 0,
    train_loss REAL,
    eval_loss REAL,
    best_eval_loss REAL,
    best_step INTEGER,
    checkpoint_step INTEGER,
    tokens_per_second REAL,
    elapsed_seconds REAL NOT NULL DEFAULT 0,
    remaining_seconds REAL,
    cost_usd REAL NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    attempt INTEGER NOT NULL DEFAULT 0,
    lost_attempts INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT,
    updated_at TEXT NOT NULL,
    heartbeat_at TEXT
) STRICT;
CREATE INDEX training_jobs_newest ON training_jobs (user_id, created_at DESC, id DESC);
CREATE INDEX training_jobs_by_status ON training_jobs (user_id, status, created_at DESC, id DESC);
CREATE INDEX training_jobs_by_dataset ON training_jobs (user_id, dataset_id, created_at DESC, id DESC);
CREATE INDEX training_jobs_queue ON training_jobs (priority DESC, created_at, id, target, gpus, gpu_memory_gb)
    WHERE status = 'queued';

-- The transitions of lora_core/lifecycle.py; a test compares the two.
CREATE TABLE job_transitions (
    from_status TEXT NOT NULL,
    to_status TEXT NOT NULL,
    PRIMARY KEY (from_status, to_status)
) STRICT, WITHOUT ROWID;
INSERT INTO job_transitions (from_status, to_status) VALUES
    ('queued', 'initializing'), ('queued', 'paused'), ('queued', 'cancelled'), ('queued', 'failed'),
    ('initializing', 'running'), ('initializing', 'queued'), ('initializing', 'paused'),
    ('initializing', 'failed'), ('initializing', 'cancelled'),
    ('running', 'completed'), ('running', 'queued'), ('running', 'paused'), ('running', 'failed'), ('running', 'cancelled'),
    ('paused', 'queued'), ('paused', 'cancelled'),
    ('failed', 'queued'),
    ('cancelled', 'queued');

CREATE TRIGGER training_jobs_start_queued BEFORE INSERT ON training_jobs
WHEN NEW.status <> 'queued'
BEGIN
    SELECT RAISE(ABORT, 'a job starts as queued');
END;

CREATE TRIGGER training_jobs_transition BEFORE UPDATE OF status ON training_jobs
WHEN NEW.status <> OLD.status AND NOT EXISTS (
    SELECT 1 FROM job_transitions WHERE from_status = OLD.status AND to_status = NEW.status
)
BEGIN
    SELECT RAISE(ABORT, 'a job cannot make this transition');
END;

CREATE TABLE job_attempts (
    job_id TEXT NOT NULL REFERENCES training_jobs (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    runner_id TEXT NOT NULL,
    runner_name TEXT NOT NULL DEFAULT '',
    phase TEXT NOT NULL DEFAULT '',
    start_step INTEGER NOT NULL DEFAULT 0,
    last_seq INTEGER NOT NULL DEFAULT 0,
    elapsed_before REAL NOT NULL DEFAULT 0,
    lease_until TEXT,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    outcome TEXT CHECK (outcome IN ('completed', 'paused', 'released', 'cancelled', 'failed', 'lost')),
    reason TEXT NOT NULL DEFAULT '',
    result TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(result)),
    PRIMARY KEY (job_id, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_attempts_leases ON job_attempts (lease_until) WHERE ended_at IS NULL;

-- The audit trail outlives the job, so it has no foreign key.
CREATE TABLE job_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    from_status TEXT,
    to_status TEXT,
    reason TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX job_events_of_job ON job_events (job_id, seq);

CREATE TRIGGER job_events_never_change BEFORE UPDATE ON job_events
BEGIN
    SELECT RAISE(ABORT, 'job_events is append-only');
END;

CREATE TRIGGER job_events_never_go BEFORE DELETE ON job_events
BEGIN
    SELECT RAISE(ABORT, 'job_events is append-only');
END;

-- Newest (attempt, seq) of a step wins; `hidden` are points beyond the step from which a newer attempt started.
CREATE TABLE metrics_points (
    job_id TEXT NOT NULL REFERENCES training_jobs (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('train', 'eval', 'system')),
    step INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hidden INTEGER NOT NULL DEFAULT 0 CHECK (hidden IN (0, 1)),
    recorded_at TEXT NOT NULL,
    epoch REAL,
    tokens_seen INTEGER,
    loss REAL,
    eval_loss REAL,
    learning_rate REAL,
    grad_norm REAL,
    tokens_per_second REAL,
    samples_per_second REAL,
    data_wait_fraction REAL,
    elapsed_seconds REAL,
    remaining_seconds REAL,
    gpu_memory_allocated_gb REAL,
    gpu_memory_reserved_gb REAL,
    gpu_utilization REAL,
    gpu_temperature_c REAL,
    gpu_power_w REAL,
    extra TEXT,
    nonfinite TEXT,
    PRIMARY KEY (job_id, kind, step)
) STRICT, WITHOUT ROWID;

-- A cache of visible points as float64 arrays, one row per column of 1,000 points; the steps are the column 'step'.
-- A block covers from_step <= step < to_step; blocks of a series touch, and a column without values has no row.
-- Ids are never used twice, so a reader that keeps blocks knows them again by their id.
CREATE TABLE metrics_blocks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES training_jobs (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    from_step INTEGER NOT NULL,
    to_step INTEGER NOT NULL,
    points INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX metrics_blocks_key ON metrics_blocks (job_id, kind, name, from_step, to_step, points);

CREATE TABLE log_lines (
    job_id TEXT NOT NULL REFERENCES training_jobs (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at TEXT NOT NULL,
    level TEXT NOT NULL CHECK (level IN ('debug', 'info', 'warning', 'error')),
    source TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (job_id, attempt, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE samples (
    job_id TEXT NOT NULL REFERENCES training_jobs (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at TEXT NOT NULL,
    step INTEGER NOT NULL DEFAULT 0,
    data TEXT NOT NULL CHECK (json_valid(data)),
    PRIMARY KEY (job_id, attempt, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE model_artifacts (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL,
    job_id TEXT NOT NULL REFERENCES training_jobs (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('adapter', 'checkpoint', 'metrics', 'logs')),
    name TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    step INTEGER,
    bucket TEXT NOT NULL,
    path TEXT NOT NULL,
    files TEXT NOT NULL CHECK (json_valid(files)),
    bytes INTEGER NOT NULL DEFAULT 0,
    best INTEGER NOT NULL DEFAULT 0 CHECK (best IN (0, 1)),
    eval_loss REAL,
    pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1)),
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX model_artifacts_of_job ON model_artifacts (job_id, kind, attempt DESC, step DESC, created_at DESC);

CREATE TABLE notifications (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL,
    job_id TEXT,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    read_at TEXT
) STRICT;
CREATE INDEX notifications_newest ON notifications (user_id, created_at DESC, id DESC);
CREATE INDEX notifications_unread ON notifications (user_id) WHERE read_at IS NULL;

CREATE TABLE runners (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    roles TEXT NOT NULL CHECK (json_valid(roles)),
    cpus INTEGER NOT NULL,
    memory_gb REAL NOT NULL,
    gpus TEXT NOT NULL CHECK (json_valid(gpus)),
    gpu_memory_gb REAL NOT NULL,
    state TEXT NOT NULL,
    started_at TEXT NOT NULL,
    seen_at TEXT NOT NULL
) STRICT;
CREATE INDEX runners_seen ON runners (seen_at DESC);

CREATE TABLE tasks (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    arguments TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(arguments)),
    status TEXT NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'running', 'done', 'failed')),
    progress REAL NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    runner_id TEXT,
    lease_until TEXT,
    tries INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX tasks_one_open ON tasks (user_id, kind, subject_id) WHERE status IN ('waiting', 'running');
CREATE INDEX tasks_of_subject ON tasks (user_id, subject_id, created_at DESC);
CREATE INDEX tasks_open ON tasks (status, created_at) WHERE status IN ('waiting', 'running');
