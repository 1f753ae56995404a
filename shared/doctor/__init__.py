"""Looking an installation over: every check says in plain words what is well, and what to do about what is not."""
