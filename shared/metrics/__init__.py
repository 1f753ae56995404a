"""What Prometheus is told of a service: counted in its process, asked of the database, measured on the machine."""
