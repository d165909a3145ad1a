"""What a person can do. Pages and the command line call only these; each action validates and writes through the store."""
