-- Kinora's own two tables; the queue's tables are Procrastinate's. Every statement may run again on an existing schema:
-- databases of 0.1.0 have these tables and no record of migrations.

CREATE TABLE IF NOT EXISTS kinora_tasks (
    id              uuid PRIMARY KEY,
    service         text NOT NULL,
    kind            text NOT NULL,
    task_id         bigint NOT NULL,
    fingerprint     text NOT NULL,               -- the normalised body, and size and mtime of the inputs
    request         jsonb NOT NULL,
    context         jsonb NOT NULL DEFAULT '{}', -- what acceptance added, for the pipeline
    state           text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    cancel          boolean NOT NULL DEFAULT false,
    progress        real NOT NULL DEFAULT 0,     -- as shown: never falls
    pace            real NOT NULL DEFAULT 0,     -- of this attempt alone, for the ETA
    attempt         integer NOT NULL DEFAULT 0,  -- the fence: only the attempt that holds this number may write
    crashes         integer NOT NULL DEFAULT 0,  -- runs that ended with their runner
    job_id          bigint,                      -- of the queue
    version         text NOT NULL,               -- of Kinora, when it accepted
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(), -- of the insert: in the order of acceptance
    started_at      timestamptz,                 -- first attempt
    resumed_at      timestamptz,                 -- this attempt
    beat_at         timestamptz,                 -- last heartbeat of this attempt
    finished_at     timestamptz,
    result          json,                        -- the callback body, in its own order of keys
    details         jsonb NOT NULL DEFAULT '{}',
    memo            jsonb,                       -- what a preview leaves for later requests
    memo_key        text
);

CREATE UNIQUE INDEX IF NOT EXISTS kinora_tasks_one_generation ON kinora_tasks (service, task_id)
    WHERE kind = 'generate' AND state IN ('queued', 'running');
CREATE UNIQUE INDEX IF NOT EXISTS kinora_tasks_one_preview ON kinora_tasks (service, task_id, fingerprint)
    WHERE kind = 'preview' AND state IN ('queued', 'running');
CREATE INDEX IF NOT EXISTS kinora_tasks_active ON kinora_tasks (service, kind, job_id)
    WHERE state IN ('queued', 'running');
CREATE INDEX IF NOT EXISTS kinora_tasks_newest ON kinora_tasks (service, created_at DESC);
CREATE INDEX IF NOT EXISTS kinora_tasks_in_state ON kinora_tasks (service, state, created_at DESC);
CREATE INDEX IF NOT EXISTS kinora_tasks_by_task ON kinora_tasks (service, task_id, created_at DESC);
CREATE INDEX IF NOT EXISTS kinora_tasks_memo ON kinora_tasks (service, memo_key, finished_at DESC)
    WHERE memo IS NOT NULL;

CREATE TABLE IF NOT EXISTS kinora_callbacks (
    id           uuid PRIMARY KEY,               -- the idempotency key
    task         uuid NOT NULL REFERENCES kinora_tasks (id) ON DELETE CASCADE,
    body         text NOT NULL,                  -- byte for byte what is signed and sent
    state        text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'parked')),
    attempts     integer NOT NULL DEFAULT 0,
    job_id       bigint,
    created_at   timestamptz NOT NULL DEFAULT now(),
    since        timestamptz NOT NULL DEFAULT now(), -- where the 72 hours of retries began: creation or last replay
    next_at      timestamptz,
    delivered_at timestamptz,
    last_error   text
);

CREATE INDEX IF NOT EXISTS kinora_callbacks_by_task ON kinora_callbacks (task, created_at DESC);
CREATE INDEX IF NOT EXISTS kinora_callbacks_open ON kinora_callbacks (state, next_at) WHERE state <> 'delivered';
