"""Watching a job: smoothing and down-sampling of its curves."""
