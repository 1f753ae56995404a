"""Inputs that a request names by URL: which addresses are allowed, and how a file is fetched, bounded and resumable."""
