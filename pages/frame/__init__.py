"""The frame around all pages, and the routes beside them."""
