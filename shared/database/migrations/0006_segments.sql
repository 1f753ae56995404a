-- The segments of long results: what is being made, and what is finished and lies in the task's dist_dir.

CREATE TABLE kinora_segments (
    task        uuid NOT NULL REFERENCES kinora_tasks (id) ON DELETE CASCADE,
    number      integer NOT NULL,                -- from 0, in order of the source's time
    total       integer,                         -- of the task's segments; NULL: the source does not tell its length
    state       text NOT NULL CHECK (state IN ('running', 'done')),
    attempt     integer NOT NULL,                -- of the task; the fence, together with `begun`
    begun       integer NOT NULL DEFAULT 1,      -- how often it was begun: above 1 it was repeated
    crashes     integer NOT NULL DEFAULT 0,      -- deaths of a runner while it made this segment
    made_by     text NOT NULL,                   -- host and process
    helper      bigint,                          -- the queue's worker, of another runner than the task's own; NULL: its own
    beat_at     timestamptz NOT NULL DEFAULT now(), -- last heartbeat of a helper: its lease of the segment
    begun_at    timestamptz NOT NULL DEFAULT now(),
    done_at     timestamptz,
    bytes       bigint,
    sha256      text,
    frames      integer,
    fingerprint text,                            -- of everything that decides what it holds
    seconds     real,                            -- of work
    facts       jsonb NOT NULL DEFAULT '{}',     -- the rest of its record
    task_crashes integer NOT NULL DEFAULT 0,     -- those of the task when it was finished: later ones came behind it
    PRIMARY KEY (task, number)
);
