"""The trainer: the child process `python -m runner.train RUN_DIR`. Knows its run folder, but no store and no network."""
