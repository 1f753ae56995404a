"""Upscaling: one video, enlarged frame by frame."""
