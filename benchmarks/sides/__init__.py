"""The sides of comparisons: small programs, each run in a process of its own so that memory and warm-up are its own."""
