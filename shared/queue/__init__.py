"""The job queue. Nothing outside this package knows Procrastinate."""
