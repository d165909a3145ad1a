"""Frozen data classes of the domain. Each field's title and description is the only place where its text is written."""
