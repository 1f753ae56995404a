"""A real stack, a real callback receiver and the machine's processes: for the demo, the benchmarks and the tests."""
