"""Restoring a face: a network repairs what was swapped, or only what is there."""
