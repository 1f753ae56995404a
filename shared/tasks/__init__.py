"""The state of tasks: rows, lists, callbacks, heartbeats, and how tasks are recovered after crashes."""
