-- Which callbacks found no receiver at their last try: they are sent as soon as it takes another one.

ALTER TABLE kinora_callbacks ADD COLUMN IF NOT EXISTS away_at timestamptz; -- when that was; NULL after any other answer
