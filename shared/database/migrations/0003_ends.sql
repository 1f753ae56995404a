-- What has ended since a moment, which every scrape of /metrics asks.

CREATE INDEX IF NOT EXISTS kinora_tasks_ended ON kinora_tasks (service, finished_at) WHERE finished_at IS NOT NULL;
