"""What the benchmark of face fusion measures, part by part."""
