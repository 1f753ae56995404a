-- Tasks with inputs that are fetched from elsewhere: few, and looked for every minute once they have ended.

CREATE INDEX IF NOT EXISTS kinora_tasks_fetched ON kinora_tasks (finished_at) WHERE context ? 'fetch';
