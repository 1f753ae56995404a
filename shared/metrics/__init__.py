"""A service's metrics for Prometheus: counted in its process, read from the database, measured on the machine."""
