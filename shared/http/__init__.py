"""What every HTTP face has in common: the contract around each answer, access, logs, task routes, OpenAPI."""
