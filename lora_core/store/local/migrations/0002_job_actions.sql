-- Archive, earliest start, a chosen checkpoint to go on from, and jobs that start from another job's checkpoint.

ALTER TABLE training_jobs ADD COLUMN archived_at TEXT;
ALTER TABLE training_jobs ADD COLUMN not_before TEXT;
ALTER TABLE training_jobs ADD COLUMN resume_from TEXT;
ALTER TABLE training_jobs ADD COLUMN parent_job_id TEXT;
ALTER TABLE training_jobs ADD COLUMN parent_artifact_id TEXT;

-- Until now any number was taken.
UPDATE training_jobs SET priority = max(-100, min(100, priority)) WHERE priority NOT BETWEEN -100 AND 100;

CREATE INDEX training_jobs_shown ON training_jobs (user_id, created_at DESC, id DESC) WHERE archived_at IS NULL;
CREATE INDEX training_jobs_away ON training_jobs (user_id, created_at DESC, id DESC) WHERE archived_at IS NOT NULL;
CREATE INDEX training_jobs_counted ON training_jobs (user_id, status) WHERE archived_at IS NULL;
DROP INDEX training_jobs_queue;
CREATE INDEX training_jobs_queue ON training_jobs (priority DESC, created_at, id, target, gpus, gpu_memory_gb, not_before)
    WHERE status = 'queued';

-- The choice holds for as many attempts as it takes to get to a checkpoint: that one is the newest then.
CREATE TRIGGER model_artifacts_end_choice AFTER INSERT ON model_artifacts
WHEN NEW.kind = 'checkpoint'
BEGIN
    UPDATE training_jobs SET resume_from = NULL
    WHERE id = NEW.job_id AND resume_from IS NOT NULL AND status IN ('initializing', 'running');
END;
