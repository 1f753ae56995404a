"""What every HTTP face shares: the contract around each answer, access, logs, task routes, OpenAPI."""
