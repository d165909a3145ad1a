"""Data sets: read files of any supported kind, detect and check their rows, and make the tokens a model learns from."""
