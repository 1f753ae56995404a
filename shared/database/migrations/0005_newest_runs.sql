-- Which run of a job is the newest: the task list shows only those, however often a job was run again. A trigger keeps
-- it, so that an older version that still accepts tasks keeps it too. A generation is one job a task, a preview one a body.

ALTER TABLE kinora_tasks ADD COLUMN IF NOT EXISTS newest boolean NOT NULL DEFAULT true;

UPDATE kinora_tasks run SET newest = false FROM (
    SELECT id, row_number() OVER (
        PARTITION BY service, task_id, kind, CASE WHEN kind = 'preview' THEN fingerprint END ORDER BY created_at DESC
    ) AS place FROM kinora_tasks
) ranked WHERE ranked.id = run.id AND ranked.place > 1;

CREATE INDEX IF NOT EXISTS kinora_tasks_listed ON kinora_tasks (service, created_at DESC) WHERE newest;
CREATE INDEX IF NOT EXISTS kinora_tasks_listed_in_state ON kinora_tasks (service, state, created_at DESC) WHERE newest;
CREATE INDEX IF NOT EXISTS kinora_tasks_listed_of_task ON kinora_tasks (service, task_id, created_at DESC) WHERE newest;
CREATE INDEX IF NOT EXISTS kinora_tasks_newest_of ON kinora_tasks (service, task_id, kind, fingerprint) WHERE newest;

CREATE OR REPLACE FUNCTION kinora_note_newest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE kinora_tasks SET newest = false
    WHERE service = NEW.service AND task_id = NEW.task_id AND kind = NEW.kind AND newest AND id <> NEW.id
        AND (kind = 'generate' OR fingerprint = NEW.fingerprint);
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER kinora_tasks_newest_run AFTER INSERT ON kinora_tasks
    FOR EACH ROW EXECUTE FUNCTION kinora_note_newest();
