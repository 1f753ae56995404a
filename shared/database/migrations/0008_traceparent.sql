-- Where in a trace a task was accepted: its waiting, its attempts and its callbacks are told as parts of that.

ALTER TABLE kinora_tasks ADD COLUMN IF NOT EXISTS traceparent text; -- W3C Trace Context; NULL: not traced
ALTER TABLE kinora_tasks ADD COLUMN IF NOT EXISTS requeued_at timestamptz; -- when it last began to wait again; NULL: never
