"""PostgreSQL, external or embedded: its connections, its schema, its server."""
