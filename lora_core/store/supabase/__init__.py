"""The team's store over a Supabase project. What a person needs is in `store.py`, what a runner needs in its ports.

This package imports nothing by itself: a runner's process never loads supabase-py.
"""
