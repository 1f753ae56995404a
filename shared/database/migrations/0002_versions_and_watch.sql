-- Which version runs a task, which versions have runners that live, and how long the storage has been watched.

ALTER TABLE kinora_tasks ADD COLUMN IF NOT EXISTS runs_on text; -- the version whose runners may take it; NULL: accepted by 0.1.0

CREATE TABLE kinora_versions (
    service    text NOT NULL,
    kind       text NOT NULL,
    version    text NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now(),  -- the latest of these is the newest version
    beat_at    timestamptz NOT NULL DEFAULT now(),  -- last heartbeat of any of its runners that takes tasks
    PRIMARY KEY (service, kind, version)
) WITH (fillfactor = 50);

CREATE TABLE kinora_watch (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    since timestamptz NOT NULL DEFAULT now(),       -- from then on somebody has looked all the time
    seen  timestamptz NOT NULL DEFAULT now()        -- last look
) WITH (fillfactor = 50);
INSERT INTO kinora_watch DEFAULT VALUES;
