"""Parts of screens that pages share."""
