"""What a pipeline is given: inputs, outputs, progress and a way to stop."""
