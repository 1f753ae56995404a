"""The contract with the backend: what callers send, what they get back, what a value means."""
