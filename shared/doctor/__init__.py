"""Checks of an installation: each says in plain words what is right, or what to do."""
