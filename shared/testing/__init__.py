"""A real stack, a callback receiver, several hosts, the machine's processes: for demo, benchmarks and tests."""
