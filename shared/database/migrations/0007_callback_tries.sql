-- Every try to deliver a callback, the newest of each, for whoever asks why one has not arrived. They go with their task.

CREATE TABLE kinora_callback_tries (
    callback uuid NOT NULL REFERENCES kinora_callbacks (id) ON DELETE CASCADE,
    number   bigint GENERATED ALWAYS AS IDENTITY,
    at       timestamptz NOT NULL DEFAULT now(), -- when it had ended
    outcome  text NOT NULL CHECK (outcome IN ('delivered', 'refused', 'unreachable')),
    status   integer,                            -- of the answer; NULL: there was none
    error    text NOT NULL DEFAULT '',
    seconds  real NOT NULL,
    PRIMARY KEY (callback, number)
);

CREATE INDEX kinora_callback_tries_lately ON kinora_callback_tries (at);
