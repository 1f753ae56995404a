"""The console's server side: sessions, tasks of all services, events, files of the media roots, the system's state."""
