"""One trace a task: spans that a task's processes hand on to each other, and what stages of a pipeline took.

Nothing but `recorder` knows OpenTelemetry, and it is imported only where an endpoint is set.
"""
