"""The job queue. Nothing outside this package imports Procrastinate."""
