"""Frame interpolation: a multiple of the frame rate, never across a cut."""
