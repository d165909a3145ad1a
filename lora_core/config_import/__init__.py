"""Reads configs of other tools: which of their lines mean the same here, which change meaning, and which are left out."""
