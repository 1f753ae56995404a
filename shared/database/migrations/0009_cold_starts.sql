-- Runners that start only when tasks wait for them: which versions have a service that expects them, and how long it
-- takes until one works.

ALTER TABLE kinora_versions ADD COLUMN IF NOT EXISTS face_at timestamptz;    -- last heartbeat of a service whose runners start elsewhere; NULL: none
ALTER TABLE kinora_versions ADD COLUMN IF NOT EXISTS arrival_seconds real;   -- from a task that began to wait to the start of a runner's process
ALTER TABLE kinora_versions ADD COLUMN IF NOT EXISTS start_seconds real;     -- from there until it takes tasks
ALTER TABLE kinora_versions ADD COLUMN IF NOT EXISTS load_seconds real;      -- of its model
ALTER TABLE kinora_versions ADD COLUMN IF NOT EXISTS started_at timestamptz; -- when a runner last measured its start

ALTER TABLE kinora_tasks ADD COLUMN IF NOT EXISTS load_seconds real; -- of its attempt, for the model: as usual until it is loaded; NULL: none
