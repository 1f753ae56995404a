"""The state of tasks: rows, lists, callbacks, heartbeats, and how a task survives what was killed."""
