"""Measures seconds and megabytes, always as a ratio to something else in the same run. `python -m benchmarks` runs all."""
