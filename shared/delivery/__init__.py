"""The delivery of callbacks: one HTTP request, and the worker that repeats it until it is taken."""
