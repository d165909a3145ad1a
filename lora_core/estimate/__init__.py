"""What a job will need before it is started: steps, memory, minutes, dollars. Arithmetic only: no torch, no store, no network."""
