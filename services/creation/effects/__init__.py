"""What is done to pixels without a model: camera paths, line art, pixel art, grading, stabilising."""
