"""Base models: which there are, which of their layers LoRA goes on, and where their weights lie on this machine."""
