"""The process that owns a model and runs one task after another with it."""
