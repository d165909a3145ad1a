-- When a failed job is tried again, how long a job was expected to take, how many jobs a runner trains at once, and
-- since when it is known that a lease has run out.

ALTER TABLE training_jobs ADD COLUMN retry_at TEXT;
ALTER TABLE training_jobs ADD COLUMN estimated_seconds REAL CHECK (estimated_seconds >= 0);
ALTER TABLE runners ADD COLUMN slots INTEGER NOT NULL DEFAULT 1 CHECK (slots >= 1);
ALTER TABLE job_attempts ADD COLUMN lapsed_at TEXT;

DROP INDEX training_jobs_queue;
CREATE INDEX training_jobs_queue
    ON training_jobs (priority DESC, created_at, id, target, gpus, gpu_memory_gb, not_before, retry_at)
    WHERE status = 'queued';
CREATE INDEX training_jobs_at_work ON training_jobs (user_id) WHERE status IN ('initializing', 'running');
CREATE INDEX job_attempts_of_runner ON job_attempts (runner_id) WHERE ended_at IS NULL;
