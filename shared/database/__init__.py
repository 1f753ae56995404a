"""PostgreSQL, external or embedded: connections, schema, server."""
