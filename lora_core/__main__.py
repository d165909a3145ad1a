"""`python -m lora_core ...`: the studio from the command line."""

from lora_core.cli import app

app()
