"""The delivery of callbacks: one HTTP request, and the worker that repeats it until the backend accepts it."""
